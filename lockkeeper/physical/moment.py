"""The moment that a physical backup is brought back to, and what production held at that moment.

A new logical slot starts at a position of the log, and its snapshot holds exactly what was committed before
it (manual, "Logical Decoding Concepts"). Recovery that stops before that position therefore has the same
rows, and the two can be compared. The slot is a temporary one: it ends with its connection, whatever dies.
Without ``wal_level = logical`` there is no such pair, and the moment is only a position.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from psycopg2.extras import LogicalReplicationConnection

from lockkeeper.backup.counters import WriteCounters, read_counters
from lockkeeper.backup.snapshot import ExportedSnapshot, SnapshotFacts, keeping_snapshot
from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError
from lockkeeper.physical.cluster import Cluster
from lockkeeper.postgres.connection import Connection, connect, converting_errors, execute, fetch_value
from lockkeeper.recovery.capture.slot import replication_connection

SLOT_TIMEOUT_S = 60.0
_EMIT = "SELECT pg_catalog.pg_logical_emit_message(true, 'lockkeeper', 'physical backup')::text"
_FLUSHED = "SELECT pg_catalog.pg_current_wal_flush_lsn()::text"


class Moment(NamedTuple):
    """One moment of production, with a session that sees it.

    Attributes:
        lsn: recovery stops before the first record at or after it.
        end_lsn: the log must be received up to here, so that recovery can see that it has to stop.
        at_snapshot: the session sees exactly what recovery leads to.
        keeper: the session; its snapshot's name is in the facts.
        facts: what was read there.
    """

    lsn: str
    end_lsn: str
    at_snapshot: bool
    keeper: Connection
    facts: SnapshotFacts


@contextlib.contextmanager
def agreed_moment(target: Target, cluster: Cluster, run_id: str) -> Iterator[Moment]:
    """Choose a moment now and hold its snapshot open for the length of the block.

    Waits up to ``SLOT_TIMEOUT_S`` for the transactions that are writing now; where one of them does not end,
    the moment is one without a snapshot of its own. Writes one message into the log, and nothing else.
    """
    with contextlib.ExitStack() as stack:
        given = None
        if cluster.wal_level == "logical":
            given = stack.enter_context(_slot_snapshot(target, run_id))
        keeper, facts = stack.enter_context(keeping_snapshot(target, run_id, given))
        with connect(target.url, "physical-moment", run_id=run_id) as connection:
            lsn = given.lsn if given else str(fetch_value(connection, _FLUSHED))
            execute(connection, "SET synchronous_commit = local")
            # The commit comes behind it, and pg_receivewal ends only when it has more than asked for.
            end_lsn = str(fetch_value(connection, _EMIT))
        yield Moment(lsn, end_lsn, given is not None, keeper, facts)


@contextlib.contextmanager
def _slot_snapshot(target: Target, run_id: str) -> Iterator[ExportedSnapshot | None]:
    """Yield the snapshot of a temporary slot, valid during the block; None when it could not be made."""
    with connect(target.url, "physical-moment", run_id=run_id) as connection:
        counters = read_counters(connection)
    session = replication_connection(target.url, "physical-slot", run_id)
    try:
        yield _create_slot(session, counters)
    finally:
        session.close()


def _create_slot(session: LogicalReplicationConnection, counters: WriteCounters) -> ExportedSnapshot | None:
    watchdog = threading.Timer(SLOT_TIMEOUT_S, session.cancel)
    watchdog.start()
    name = f"lockkeeper_moment_{session.info.backend_pid}"
    try:
        with contextlib.suppress(DatabaseError), converting_errors(), session.cursor() as cursor:
            cursor.execute(f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT")
            if row := cursor.fetchone():
                return ExportedSnapshot(str(row[2]), str(row[1]), counters)
        return None
    finally:
        watchdog.cancel()
