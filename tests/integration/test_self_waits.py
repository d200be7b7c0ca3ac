"""A migration that waits for itself is told with both sessions, and goes on in a fresh process if it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession, MigrationEvent
from lockkeeper.config import Policies
from lockkeeper.errors import MigrationError
from lockkeeper.postgres.connection import connect, execute, fetch_all
from tests.integration.conftest import MakeProject

PATIENT = Policies(lock_timeout_ms=400, lock_retries=3, retry_base_delay_s=0.05, retry_max_delay_s=0.1)
OPEN = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:migrate:%'"


@contextmanager
def opened(project: MakeProject, url: URL) -> Iterator[AlembicSession]:
    settings = project("blocks_itself")
    with AlembicSession(settings, url, role="migrate", run_id="r1", policies=PATIENT) as session:
        yield session


def test_a_session_left_open_by_an_earlier_revision_is_named_and_ended_and_the_migration_goes_on(
    project: MakeProject, database: URL
) -> None:
    events: list[MigrationEvent] = []
    with opened(project, database) as session:
        timings = {one.revision: one for one in session.upgrade(session.plan("head"), on_event=events.append)}
        assert session.current() == ("a5",)
    wait = timings["a3"].self_wait
    assert wait is not None
    assert (wait.wanted, wait.opened_by) == ("AccessExclusiveLock on accounts", "the upgrade of a2")
    assert wait.waiting_statement == "ALTER TABLE accounts ADD COLUMN email TEXT"
    assert wait.holder_statement == "SELECT count(*) FROM accounts"
    assert wait.leftover
    assert wait.hopeless
    assert wait.waiter != wait.holder
    assert [timings[name].self_wait for name in ("a1", "a2", "a4", "a5")] == [None] * 4
    assert [event.revision for event in events if event.kind == "lock_timeout"] == ["a3"]
    with connect(database, "tests") as connection:
        assert fetch_all(connection, OPEN) == []


def test_a_revision_that_waits_for_its_own_second_session_fails_at_once_and_says_who_waits_for_whom(
    project: MakeProject, database: URL
) -> None:
    with opened(project, database) as session:
        session.upgrade(session.plan("a4"))
        with pytest.raises(MigrationError) as caught:
            session.downgrade(["a3"])
        assert session.current() == ("a4",)
    error = caught.value
    assert error.sqlstate == "55P03"
    assert not error.left_partial
    text = str(error)
    assert "It waits for itself" in text
    assert "UPDATE accounts SET name = '' WHERE name IS NULL" in text
    assert "ALTER TABLE accounts DROP COLUMN phone" in text
    assert "opened by the downgrade of a4" in text
    assert "attempts" not in text, "the second attempt would have waited as vainly as the first"


def test_a_session_left_open_with_changes_in_it_is_not_ended_since_a_part_of_a_revision_would_be_undone(
    project: MakeProject, database: URL
) -> None:
    settings = project("blocks_itself")
    a2 = settings.folder / "alembic" / "versions" / "a2.py"
    a2.write_text(
        a2.read_text().replace("SELECT count(*) FROM accounts", "INSERT INTO accounts VALUES (1, 'x')")
    )
    with AlembicSession(settings, database, role="migrate", run_id="r1", policies=PATIENT) as session:
        with pytest.raises(MigrationError, match="changes are in it that were never committed") as caught:
            session.upgrade(session.plan("head"))
        assert session.current() == ("a2",)
    assert caught.value.revision == "a3"
    assert not caught.value.left_partial


def test_waiting_for_somebody_else_is_not_waiting_for_itself(project: MakeProject, database: URL) -> None:
    with opened(project, database) as session:
        session.upgrade(session.plan("a1"))
        with connect(database, "tests", autocommit=False) as other:
            execute(other, "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(MigrationError, match="in 4 attempts") as caught:
                session.upgrade(session.plan("a2"))
    assert "waits for itself" not in str(caught.value)
