"""Ends a capture: its slot, publication, origins and replica identities. Can run twice, and from any state.

What holds WAL back goes first. Whatever cannot be undone now is told, and the rest is undone all the same.
"""

from __future__ import annotations

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, connect, fetch_all
from lockkeeper.recovery.capture.identities import LOCK_TIMEOUT_MS, read_noted, reset, reset_noted
from lockkeeper.recovery.capture.models import CaptureRecord
from lockkeeper.recovery.capture.slot import drop_origin, drop_publication, drop_slot

_ORIGINS = r"""
SELECT roname FROM pg_catalog.pg_replication_origin WHERE roname LIKE %s ESCAPE '\'
"""
_IS_OPEN = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s AND datallowconn"


def remove_from_server(target: Target, record: CaptureRecord, database: str | None = None) -> list[str]:
    """Remove everything of a capture from the server; returns what could not be, as readable lines.

    Args:
        target: whose.
        record: the capture.
        database: where the captured database is now, when it has been renamed.

    Raises:
        DatabaseError: the slot could not be dropped: it may hold WAL back.
    """
    name = database or target.database
    with connect(target.maintenance_url, "capture-end", run_id=record.run_id) as server:
        drop_slot(server, record.slot)
        left = _drop_origins(server, record.slot)
        if not fetch_all(server, _IS_OPEN, (name,)):
            return left  # a quarantine lets nobody in, and what is left in it does nothing
    return left + tidy(target.url.set(database=name), record)


def tidy(url: URL, record: CaptureRecord, identity_lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> list[str]:
    """Drop the publication and give the replica identities back, in a captured database or a copy of it.

    Takes ACCESS EXCLUSIVE on one table at a time, waiting ``identity_lock_timeout_ms`` for it in each of a
    few tries. Can run twice, and then takes no lock. Returns what could not be done, as readable lines.
    """
    try:
        with connect(url, "capture-end", run_id=record.run_id, lock_timeout_ms=5000) as connection:
            known = {table.identity for table in record.tables}
            noted = read_noted(connection, record.publication)
            made = [(table, former) for table, former in noted if table not in known]
            drop_publication(connection, record.publication)
            left = reset_noted(connection, made, identity_lock_timeout_ms)
            left += reset(connection, record.tables, identity_lock_timeout_ms)
            return [
                f"table {table} still has REPLICA IDENTITY FULL: its lock was not to be had in time"
                for table in left
            ]
    except DatabaseError as error:
        return [f"publication {record.publication} and replica identities of {url.database} stay: {error}"]


def _drop_origins(connection: Connection, slot: str) -> list[str]:
    pattern = f"{slot}_".replace("\\", r"\\").replace("_", r"\_").replace("%", r"\%") + "%"
    left = []
    for (name,) in fetch_all(connection, _ORIGINS, (pattern,)):
        try:
            drop_origin(connection, name)
        except DatabaseError as error:
            left.append(f"replication origin {name} stays: {error}")
    return left
