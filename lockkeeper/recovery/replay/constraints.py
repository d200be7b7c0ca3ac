"""Foreign keys and checks of a copy, which replay does not check as it writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_one, named_query
from lockkeeper.recovery.replay.catalogue import PACKAGE

_QUERY_CANCELED = "57014"


class Constraint(NamedTuple):
    """A foreign key or a check, and the query that counts the rows that break it."""

    table: str
    name: str
    query: str


class Checked(NamedTuple):
    """What was found, as readable lines, and what there was no time for."""

    findings: list[str]
    unchecked: list[Constraint]


def check_constraints(
    url: URL, run_id: str, *, budget_s: float | None = None, only: Sequence[Constraint] | None = None
) -> Checked:
    """Check foreign keys and checks of a database; reads each referencing table once, under ACCESS SHARE.

    Args:
        url: the copy, or the database that it has become.
        run_id: the run that does it.
        budget_s: how long all of it may take; what is not done by then is returned as unchecked. None: as
            long as it takes.
        only: these; None: all that are valid.

    Raises:
        DatabaseError: not permitted, or the connection was lost.
    """
    deadline = None if budget_s is None else time.monotonic() + budget_s
    findings, unchecked = [], []
    with connect(url, "constraints", run_id=run_id) as connection:
        if only is None:
            only = [
                Constraint(*row) for row in fetch_all(connection, named_query("constraint_checks", PACKAGE))
            ]
        for constraint in only:
            count = _count(connection, constraint, deadline)
            if count is None:
                unchecked.append(constraint)
            elif count:
                findings.append(
                    f"constraint {constraint.name} of {constraint.table}: {count} rows do not satisfy it"
                )
    return Checked(findings, unchecked)


def _count(connection: Connection, constraint: Constraint, deadline: float | None) -> int | None:
    """Return how many rows break it, or None when that takes longer than until ``deadline``."""
    if deadline is not None:
        left_ms = int(1000 * (deadline - time.monotonic()))
        if left_ms <= 0:
            return None
        execute(connection, "SELECT pg_catalog.set_config('statement_timeout', %s, false)", (f"{left_ms}ms",))
    try:
        return int(fetch_one(connection, sql.SQL(constraint.query))[0])
    except DatabaseError as error:
        if error.sqlstate != _QUERY_CANCELED:
            raise
        return None
