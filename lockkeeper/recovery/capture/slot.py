"""Publication and slot of a capture, made and dropped. The backup is made at the slot's snapshot."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extras import LogicalReplicationConnection
from sqlalchemy.engine import URL

from lockkeeper.backup.counters import read_counters
from lockkeeper.backup.snapshot import ExportedSnapshot
from lockkeeper.errors import CaptureError, DatabaseError
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    connect,
    converting_errors,
    execute,
    fetch_all,
    fetch_value,
    libpq_parameters,
)
from lockkeeper.recovery.capture.models import CaptureRecord

SLOT_TIMEOUT_S = 60.0
DROP_TIMEOUT_S = 15.0
_PINNED = {
    "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
    "timezone": "UTC", "lc_monetary": "C", "search_path": "", "xmloption": "content",
    "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
}  # fmt: skip
_GENERATED_SINCE = 180000
_OBJECT_IN_USE, _UNDEFINED_OBJECT = "55006", "42704"
_DROP = """
SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name =
%s
"""
_END_READER = """
SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND active_pid IS NOT NULL
"""
_DROP_ORIGIN = """
SELECT pg_catalog.pg_replication_origin_drop(roname) FROM pg_catalog.pg_replication_origin WHERE roname = %s
"""
_RETAINED = """
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""


def replication_connection(url: URL, role: str, run_id: str) -> LogicalReplicationConnection:
    """Connect for logical replication, with the settings that decide how values are written pinned."""
    options = " ".join(f"-c {name}={value}" for name, value in _PINNED.items())
    parameters: dict[str, Any] = {
        "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        **libpq_parameters(url),
        "client_encoding": "UTF8",
        "options": options,
        "application_name": application_name(role, run_id),
    }  # fmt: skip
    with converting_errors():
        connection: LogicalReplicationConnection = psycopg2.connect(
            **parameters, connection_factory=LogicalReplicationConnection
        )
    return connection


def create_publication(connection: Connection, record: CaptureRecord) -> None:
    """Publish the record's tables; SHARE UPDATE EXCLUSIVE on each until it is done.

    Its comment says whose it is and what the replica identities were, so that it can be undone without the
    capture's folder.
    """
    options = "publish = 'insert, update, delete, truncate'"
    if record.server_version_num >= _GENERATED_SINCE:
        # A full identity that holds an unpublished generated column would make every UPDATE fail.
        options += ", publish_generated_columns = stored"
    tables = sql.SQL(" FOR TABLE " + ", ".join(record.published)) if record.published else sql.SQL("")
    statement = sql.SQL("CREATE PUBLICATION {}{} WITH ({})")
    name = sql.Identifier(record.publication)
    execute(connection, statement.format(name, tables, sql.SQL(options)))
    note = {
        "lockkeeper": "capture",
        "run_id": record.run_id,
        "identities": {table.identity: table.former_identity for table in record.tables if table.full},
    }
    comment = sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(name, sql.Literal(json.dumps(note)))
    execute(connection, comment)


@contextlib.contextmanager
def created_slot(url: URL, record: CaptureRecord) -> Iterator[ExportedSnapshot]:
    """Create the slot, and hold its snapshot open in a session of ours for the length of the block.

    Waits until every transaction that is writing now has ended, at most ``SLOT_TIMEOUT_S``. When the block
    fails the slot stays: dropping it is the caller's.

    Raises:
        CaptureError: a transaction did not end in time.
        DatabaseError: not permitted, or no free slot.
    """
    with connect(url, "capture-snapshot", run_id=record.run_id) as keeper:
        counters = read_counters(keeper)
        with _slot_creator(url, record) as (lsn, name):
            for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
                execute(keeper, sql.SQL("SET {} = 0").format(sql.Identifier(timeout)))
            execute(keeper, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            execute(keeper, "SET TRANSACTION SNAPSHOT %s", (name,))
            exported = str(fetch_value(keeper, "SELECT pg_catalog.pg_export_snapshot()"))
        yield ExportedSnapshot(exported, lsn, counters)


@contextlib.contextmanager
def _slot_creator(url: URL, record: CaptureRecord) -> Iterator[tuple[str, str]]:
    """Yield where the slot starts and the name of its snapshot, which ends with the block."""
    connection = replication_connection(url, "capture-slot", record.run_id)
    expired = threading.Event()

    def give_up() -> None:
        expired.set()
        connection.cancel()

    watchdog = threading.Timer(SLOT_TIMEOUT_S, give_up)
    try:
        with converting_errors(), connection.cursor() as cursor:
            watchdog.start()
            try:
                cursor.create_replication_slot(record.slot, output_plugin="pgoutput")
            except psycopg2.Error as error:
                if expired.is_set():
                    raise CaptureError(
                        f"The replication slot could not be made within {SLOT_TIMEOUT_S:.0f} s: a "
                        "transaction that writes does not end. Look in pg_stat_activity for the oldest "
                        "backend_xid."
                    ) from error
                raise
            finally:
                watchdog.cancel()
            row = cursor.fetchone()
            if row is None:
                raise CaptureError(f"The server has not told where slot {record.slot} begins.")
            yield str(row[1]), str(row[2])
    finally:
        connection.close()


def walsender_pid(connection: Connection, slot: str) -> int | None:
    """Return the process id of the session that reads from the slot, or None."""
    query = "SELECT active_pid FROM pg_catalog.pg_replication_slots WHERE slot_name = %s"
    rows = fetch_all(connection, query, (slot,))
    return rows[0][0] if rows else None


def retained_wal_bytes(connection: Connection, slot: str) -> int | None:
    """Return how much WAL the slot keeps back; None when there is no slot, or the server has lost its WAL."""
    rows = fetch_all(connection, _RETAINED, (slot,))
    return None if not rows or rows[0][0] is None else int(rows[0][0])


def slot_exists(connection: Connection, slot: str) -> bool:
    """Whether the server (still) has the slot, with its WAL."""
    query = "SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND restart_lsn IS NOT NULL"
    return bool(fetch_all(connection, query, (slot,)))


def drop_slot(connection: Connection, slot: str) -> bool:
    """Drop the slot, from any database of its server, ending its reader; False when there is none.

    Raises:
        DatabaseError: not permitted, or its reader does not leave within ``DROP_TIMEOUT_S``.
    """
    deadline = time.monotonic() + DROP_TIMEOUT_S
    while True:
        try:
            if not fetch_all(connection, _DROP, (slot,)):
                return False
        except DatabaseError as error:
            if error.sqlstate == _UNDEFINED_OBJECT:
                return False
            if error.sqlstate != _OBJECT_IN_USE or time.monotonic() > deadline:
                raise
            fetch_all(connection, _END_READER, (slot,))
            time.sleep(0.05)
        else:
            return True


def drop_origin(connection: Connection, origin: str) -> None:
    """Drop a replication origin as soon as no session uses it, within ``DROP_TIMEOUT_S``; can run twice.

    A session of a migration that was killed or cancelled goes on for a moment after its program.

    Raises:
        DatabaseError: it stays in use, or may not be dropped.
    """
    deadline = time.monotonic() + DROP_TIMEOUT_S
    while True:
        try:
            return execute(connection, _DROP_ORIGIN, (origin,))
        except DatabaseError as error:
            if error.sqlstate != _OBJECT_IN_USE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def drop_publication(connection: Connection, publication: str) -> None:
    """DROP PUBLICATION IF EXISTS."""
    execute(connection, sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(publication)))
