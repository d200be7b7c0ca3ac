"""The keeper: one transaction whose exported snapshot everything in a backup is made at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from psycopg2 import sql

from lockkeeper.backup.counters import WriteCounters, read_counters
from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError
from lockkeeper.models import DatabaseProperties
from lockkeeper.postgres.connection import (
    Connection,
    connect,
    execute,
    fetch_value,
)
from lockkeeper.postgres.fingerprint.data import read_sequences
from lockkeeper.postgres.layout import read_layout
from lockkeeper.postgres.properties import read_properties

_UNLIMITED = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_UNLIMITED_SINCE_17 = ("transaction_timeout",)


class ExportedSnapshot(NamedTuple):
    """A snapshot that another session has exported and holds open, such as a replication slot's.

    Attributes:
        name: its exported name.
        lsn: the write-ahead log's position that it stands for.
        counters: row counters read before it was taken, so that they hold no write that it lacks.
    """

    name: str
    lsn: str
    counters: WriteCounters


class SnapshotFacts(NamedTuple):
    """What is read of the database when its snapshot is taken.

    Attributes:
        snapshot: its exported name, valid while the keeper's block is open.
        lsn: the write-ahead log's position just before.
        counters: row counters read just before, so that they hold no write that the snapshot lacks.
        layout: table -> its file and column numbers, at the snapshot.
        sequences: where they stand. No snapshot holds them back, so they are read before pg_dump does: a
            copy's may be ahead of these, never behind.
    """

    snapshot: str
    lsn: str | None
    server_version_num: int
    system_identifier: str | None
    database_bytes: int
    properties: DatabaseProperties
    counters: WriteCounters
    layout: dict[str, str]
    sequences: dict[str, str]


@contextlib.contextmanager
def keeping_snapshot(
    target: Target, run_id: str, given: ExportedSnapshot | None = None
) -> Iterator[tuple[Connection, SnapshotFacts]]:
    """Hold a REPEATABLE READ snapshot open for the length of the block; yields its connection and facts.

    It holds no lock but holds back vacuum, as every dump does. ``given`` is imported and exported again, so
    that whoever made it may let go of it; default is a new one.
    """
    with connect(target.url, "backup", run_id=run_id) as connection:
        version = int(fetch_value(connection, "SHOW server_version_num"))
        for name in _UNLIMITED + (_UNLIMITED_SINCE_17 if version >= 170000 else ()):
            execute(connection, sql.SQL("SET {} = 0").format(sql.Identifier(name)))
        execute(connection, "SET search_path = pg_catalog")  # names come out qualified
        size = int(fetch_value(connection, "SELECT pg_database_size(current_database())"))
        properties = read_properties(connection, target.database)
        identifier = _optional(connection, "SELECT system_identifier::text FROM pg_control_system()")
        lsn = given.lsn if given else _optional(connection, "SELECT pg_current_wal_lsn()::text")
        counters = given.counters if given else read_counters(connection)
        execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if given:
            execute(connection, "SET TRANSACTION SNAPSHOT %s", (given.name,))
        snapshot = str(fetch_value(connection, "SELECT pg_export_snapshot()"))
        layout = read_layout(connection)
        sequences = read_sequences(connection)
        yield (
            connection,
            SnapshotFacts(snapshot, lsn, version, identifier, size, properties, counters, layout, sequences),
        )


def _optional(connection: Connection, query: str) -> str | None:
    """Return a fact that is good to have; None where the role may not see it or the server has none."""
    try:
        return str(fetch_value(connection, query))
    except DatabaseError:
        return None
