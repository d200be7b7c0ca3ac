"""One migration per database at a time: an advisory lock that dies with its holder.

The lock is taken in the maintenance database, so that it outlives the swap of a restore, and by polling
``pg_try_advisory_lock``: a session that waits *inside* ``pg_advisory_lock`` keeps its snapshot open, and a
CREATE INDEX CONCURRENTLY of the holder would wait for it for ever. A row in a table would survive a kill
and travel inside backups; a session's lock does neither (PostgreSQL manual, "Advisory Locks").
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError, LockHeldError
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    connect,
    execute,
    fetch_all,
    fetch_value,
    named_query,
)

LOCK_CLASS = 0x4C4B  # "LK"; the second key is the hash of the database's name
POLL_INTERVAL_S = 0.25
END_LEFTOVERS_TIMEOUT_S = 30.0
_TRY_LOCK = "SELECT pg_catalog.pg_try_advisory_lock(%s, pg_catalog.hashtext(%s))"


class MigrationLock:
    """A lock that is held; ``check`` proves that it still is."""

    def __init__(self, connection: Connection, database: str) -> None:
        self._connection = connection
        self.database = database

    def check(self) -> None:
        """Raise ConnectionLostError when the session that holds the lock is gone."""
        try:
            fetch_value(self._connection, "SELECT 1")
        except DatabaseError as error:
            raise ConnectionLostError(
                f"The session that holds the migration lock of {self.database!r} was lost; "
                "another migration could start, so this one stops."
            ) from error


def lock_holder(connection: Connection, database: str) -> str | None:
    """Say who holds the lock of ``database``, or None. ``connection`` is to the maintenance database.

    Since when, PostgreSQL tells only of the caller's own sessions, or to a member of pg_read_all_stats.
    """
    rows = fetch_all(connection, named_query("lock_holder"), {"lock_class": LOCK_CLASS, "database": database})
    if not rows:
        return None
    pid, name, user, since = rows[0]
    session = f"session {pid} of {user or 'an unknown user'}, {name or 'without a name'}"
    return session if since is None else f"{session}, since {since:%Y-%m-%d %H:%M:%S %Z}"


@contextlib.contextmanager
def migration_lock(
    maintenance_url: URL, database: str, run_id: str, *, wait_s: float = 0
) -> Iterator[MigrationLock]:
    """Hold the migration lock of ``database`` for the length of the block.

    Raises:
        LockHeldError: somebody else still holds it after ``wait_s``; the message names the holder.
    """
    with connect(maintenance_url, "lock", run_id=run_id) as connection:
        # The idle session must live as long as the run, whatever the server thinks of idle sessions.
        execute(connection, "SET idle_session_timeout = 0")
        deadline = time.monotonic() + wait_s
        while not fetch_value(connection, _TRY_LOCK, (LOCK_CLASS, database)):
            if time.monotonic() >= deadline:
                raise LockHeldError(database, lock_holder(connection, database) or "it has just ended")
            time.sleep(POLL_INTERVAL_S)
        yield MigrationLock(connection, database)


def end_leftover_sessions(
    maintenance_url: URL, database: str, run_id: str, *, timeout_s: float = END_LEFTOVERS_TIMEOUT_S
) -> int:
    """End sessions that a killed run left in ``database``; returns how many there were.

    Only for the holder of the migration lock: no other run can then be alive. A statement outlives its
    client until it next talks to it, so a migration that was killed may still be changing the schema.

    Raises:
        DatabaseError: one is still there after ``timeout_s``.
    """
    values = {
        "database": database,
        "pattern": application_name("migrate").replace("_", r"\_") + ":%",
        "own": application_name("migrate", run_id),
    }
    ended: set[int] = set()
    deadline = time.monotonic() + timeout_s
    with connect(maintenance_url, "leftovers", run_id=run_id) as connection:
        while left := [pid for pid, _ in fetch_all(connection, named_query("end_leftovers"), values)]:
            ended.update(left)
            if time.monotonic() >= deadline:
                raise DatabaseError(f"Sessions of an earlier run cannot be ended: {left}. End them by hand.")
            time.sleep(POLL_INTERVAL_S)
    return len(ended)
