"""What a capture asks of a migration before its commits is run then, and at no other time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lockkeeper.alembic_project.runner.database import IDENTITY, Attempt, Connections

OPENING = {
    "identity": ["shop", "1", "2", "host", "port"],
    "identity_sql": "SELECT 1",
    "counts_writes": False,
    "own_sessions": [],
    "own_transaction": None,
    "own_commit": ["SELECT 'first'", "SELECT 'second'"],
}


class Session:
    """A connection of SQLAlchemy over a driver's: notes what is run; has a transaction id, or none."""

    def __init__(self, *, autocommit: bool = False, xid: str | None = "7") -> None:
        self.ran: list[str] = []
        self.info: dict[str, Any] = {IDENTITY: OPENING["identity"]}
        self.autocommit = autocommit
        self._xid = xid
        self.connection = SimpleNamespace(cursor=lambda: self, dbapi_connection=self)

    def execute(self, statement: str) -> None:
        self.ran.append(statement)

    def fetchall(self) -> list[list[str | None]]:
        return [[self._xid]]

    def close(self) -> None:
        """Nothing is open."""

    @property
    def own(self) -> list[str]:
        return [statement for statement in self.ran if statement in OPENING["own_commit"]]


@pytest.fixture
def connections() -> Connections:
    watched = Connections(OPENING, SimpleNamespace(send=lambda *_, **__: None))
    watched.read_only, watched.attempt = False, Attempt()
    return watched


def test_it_runs_before_a_commit_that_commits_something(connections: Connections) -> None:
    session, idle = Session(), Session(xid=None)
    connections._before_commit(session)
    connections._before_commit(idle)
    assert (session.own, idle.own) == (OPENING["own_commit"], [])


@pytest.mark.parametrize(
    ("statement", "runs"),
    [
        ("CREATE TABLE made (id int)", True),
        ("DO $$BEGIN END$$", True),
        ("UPDATE made SET id = 1", False),
        ("SELECT 1", False),
        ("COMMIT", False),
    ],
)
def test_it_runs_after_what_may_make_tables_outside_of_a_transaction(
    connections: Connections, statement: str, runs: bool
) -> None:
    session = Session(autocommit=True)
    connections._after_ddl_outside(session, None, statement, None, None, False)
    assert session.own == (OPENING["own_commit"] if runs else [])
    inside = Session()
    connections._after_ddl_outside(inside, None, statement, None, None, False)
    assert inside.own == [], "its commit comes later"


def test_it_never_runs_in_a_session_that_only_reads(connections: Connections) -> None:
    connections.read_only, session = True, Session(autocommit=True)
    connections._after_ddl_outside(session, None, "CREATE TABLE made (id int)", None, None, False)
    assert session.ran == []
