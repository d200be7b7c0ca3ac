"""Replica identities: FULL while changes are captured, what they were afterwards.

With FULL every change comes with the whole row as it was, so that replay can tell what the application
changed from what the migration had changed before. Each ALTER TABLE takes ACCESS EXCLUSIVE for a moment,
with a short ``lock_timeout`` that is tried again, so that nobody queues behind us for long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from psycopg2 import sql

from lockkeeper.errors import DatabaseError, LockTimeoutError
from lockkeeper.postgres.connection import Connection, execute, fetch_all, named_query
from lockkeeper.recovery.capture.models import CapturedTable
from lockkeeper.recovery.capture.tables import PACKAGE

LOCK_TIMEOUT_MS = 200
ATTEMPTS = 15
PAUSE_S = 0.2
_FOUND = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relreplident
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid =
"""
_NAMED, _NUMBERED = f"{_FOUND} pg_catalog.to_regclass(%s)", f"{_FOUND} %s"


def set_full(connection: Connection, tables: Iterable[CapturedTable]) -> list[int]:
    """Give tables REPLICA IDENTITY FULL; returns the OIDs of those whose lock was not to be had in time.

    Can run twice. ``connection`` is autocommit.
    """
    refused = []
    for table in tables:
        if table.full and table.former_identity != "FULL" and not _alter(connection, table.identity, "FULL"):
            refused.append(table.oid)
    return refused


def reset(
    connection: Connection, tables: Iterable[CapturedTable], lock_timeout_ms: int = LOCK_TIMEOUT_MS
) -> list[str]:
    """Give tables their former identity back, where it is still the FULL that we had set.

    Tables are found by name, so that it serves a restored copy too, and those that a migration has renamed or
    made by what the publication's comment says and by their OIDs; can run twice.

    Args:
        connection: autocommit.
        tables: as they were captured.
        lock_timeout_ms: for each try. An autovacuum gives way only after ``deadlock_timeout`` (a second),
            so a copy, where nobody queues behind us, is waited for longer than a database that serves.

    Returns:
        The tables that could not be reset: a lock was not to be had, or their index is gone.
    """
    changed = [table for table in tables if table.full and table.former_identity != "FULL"]
    names = {table.identity for table in changed}
    left = []
    for table in changed:
        present = fetch_all(connection, _NAMED, (table.identity,))
        # An OID means nothing in a copy, where every one belongs to a table that is known by its name.
        renamed = [row for row in fetch_all(connection, _NUMBERED, (table.oid,)) if row[0] not in names]
        for identity in {str(name) for name, kind in (*present, *renamed) if kind == "f"}:
            if not _reset_one(connection, identity, table.former_identity, lock_timeout_ms):
                left.append(identity)
    return left


def reset_as_noted(connection: Connection, publication: str) -> list[str]:
    """Do the same from what the publication's comment says, where nothing else is known; can run twice.

    Also for a database that was restored from a backup made while a capture ran.
    """
    return reset_noted(connection, read_noted(connection, publication))


def read_noted(connection: Connection, publication: str) -> list[tuple[str, str]]:
    """Return table and former identity of what the publication's comment says and is still FULL."""
    rows = fetch_all(connection, named_query("noted_identities", PACKAGE), {"publication": publication})
    return [(str(table), str(former)) for table, former in rows]


def reset_noted(
    connection: Connection, noted: Iterable[tuple[str, str]], lock_timeout_ms: int = LOCK_TIMEOUT_MS
) -> list[str]:
    """Give these tables their former identity back; returns those that could not be reset."""
    return [table for table, former in noted if not _reset_one(connection, table, former, lock_timeout_ms)]


def _reset_one(
    connection: Connection, table: str, former: str, lock_timeout_ms: int = LOCK_TIMEOUT_MS
) -> bool:
    try:
        return _alter(connection, table, former, lock_timeout_ms)
    except DatabaseError:
        # The migration has dropped the index that it was; the default is what PostgreSQL itself falls back
        # to.
        return _alter(connection, table, "DEFAULT", lock_timeout_ms)


def _alter(connection: Connection, identity: str, to: str, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> bool:
    statement = sql.SQL("ALTER TABLE ONLY {} REPLICA IDENTITY {}").format(sql.SQL(identity), sql.SQL(to))
    execute(connection, "SELECT pg_catalog.set_config('lock_timeout', %s, false)", (f"{lock_timeout_ms}ms",))
    for attempt in range(ATTEMPTS):
        try:
            execute(connection, statement)
            return True
        except LockTimeoutError:
            time.sleep(PAUSE_S * min(attempt + 1, 5))
    return False
