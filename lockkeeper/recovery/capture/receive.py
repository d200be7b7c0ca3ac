"""Receives changes and spools them: write, fdatasync, and only then confirm to the server.

What is confirmed is on disk; what is on disk and not confirmed comes again after a crash and is skipped.
Where nothing is pending and no transaction is open, the end of the server's log is confirmed too: a
database in which nobody writes would otherwise keep WAL. The migration's own transactions are not spooled.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from typing import Any

from psycopg2.extras import ReplicationCursor

from lockkeeper.postgres.connection import converting_errors
from lockkeeper.recovery import pgoutput
from lockkeeper.recovery.capture.models import CaptureRecord
from lockkeeper.recovery.capture.names import MESSAGE_PREFIX, own_content
from lockkeeper.recovery.spool import NOTE, SpoolWriter

FLUSH_INTERVAL_S = 0.05
FEEDBACK_INTERVAL_S = 1.0
_BURST = 500

NumberColumns = Callable[[int], dict[str, Any] | None]


class Receiver:
    """Turns the messages of one connection into spooled transactions; counts them.

    Args:
        record: the capture.
        spool: where to.
        describe: relation OID -> what the catalogue says of it now, for tables that are not as they were.
    """

    def __init__(self, record: CaptureRecord, spool: SpoolWriter, describe: NumberColumns) -> None:
        self._spool = spool
        self._describe = describe
        self._own_origin = record.slot + "_"
        self._own_message = own_content(record.run_id)
        self._known = {
            table.oid: [(column.name, column.type_oid, column.typmod) for column in table.columns]
            for table in record.tables
        }
        self._noted: dict[int, pgoutput.Relation] = {}
        self._inside = False
        self._skipping = False
        self._began: bytes | None = None
        self._unflushed_since: float | None = None
        self._urgent = False
        self._received_lsn = spool.end_lsn
        self.transactions = self.changes = self.own_transactions = 0

    def reconnected(self) -> None:
        """Forget the transaction that the lost connection was in the middle of: it comes again."""
        self._inside = self._skipping = False
        self._began = None

    def take(self, message: bytes) -> None:
        """Take one message."""
        kind = message[0]
        if kind in b"IUDT":
            if not self._skipping:
                self._open()
                self.changes += 1
                self._append(message)
        elif kind == pgoutput.BEGIN:
            self._inside = True
            self._began = message
            self._skipping = pgoutput.parse_begin(message).commit_lsn < self._spool.end_lsn
        elif kind == pgoutput.COMMIT:
            self._commit(message)
        elif kind == pgoutput.ORIGIN:
            if pgoutput.parse_origin(message).name.startswith(self._own_origin):
                self._skip_own()
        elif kind == pgoutput.MESSAGE:
            self._message(message)
        elif kind == pgoutput.RELATION:
            self._relation(message)
        else:
            self._append(message)

    def _append(self, message: bytes) -> None:
        self._spool.append(message)
        if self._unflushed_since is None:
            self._unflushed_since = time.monotonic()

    def _open(self) -> None:
        """Spool the beginning of a transaction when its first change comes: many have none."""
        if self._began is not None:
            self._append(self._began)
            self._began = None

    def _skip_own(self) -> None:
        if not self._skipping:
            self._skipping = True
            self.own_transactions += 1

    def _commit(self, message: bytes) -> None:
        commit = pgoutput.parse_commit(message)
        if self._began is None and not self._skipping:
            self._spool.commit(message, commit.end_lsn)
            self.transactions += 1
        self._received_lsn = commit.end_lsn
        self._inside = self._skipping = False
        self._began = None

    def _message(self, message: bytes) -> None:
        parsed = pgoutput.parse_message(message)
        if parsed.prefix != MESSAGE_PREFIX or self._skipping:
            return
        if parsed.content == self._own_message:
            self._skip_own()
        else:
            self._open()
            self._append(message)
            self._urgent = True

    def _relation(self, message: bytes) -> None:
        """Spool what a table looks like; where that has changed, also what tells renames from others."""
        relation = pgoutput.parse_relation(message)
        seen = [(column.name, column.type_oid, column.typmod) for column in relation.columns]
        known = self._known.get(relation.oid)
        if (known is None or any(each not in known for each in seen)) and self._noted.get(
            relation.oid
        ) != relation:
            self._noted[relation.oid] = relation
            now = self._describe(relation.oid)
            if now is not None:
                note = {"relation": relation.oid, **now}
                self._append(bytes([NOTE]) + json.dumps(note).encode())
        self._append(message)

    def flush_if_due(self, now: float) -> bool:
        """Write to disk what has waited long enough, is large or is waited for; says whether it did."""
        waited = self._unflushed_since is not None and now - self._unflushed_since >= FLUSH_INTERVAL_S
        done = not self._inside or self._began is not None
        if self._spool.has_full_block or waited or (self._urgent and done and self._spool.pending):
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Write to disk what has come."""
        self._spool.flush()
        self._unflushed_since = None
        self._urgent = False

    def confirmable_lsn(self, server_end_lsn: int) -> int:
        """Return up to where nothing is needed from the server any more."""
        if self._spool.pending:
            return self._spool.end_lsn
        if self._inside:
            return max(self._spool.end_lsn, self._received_lsn)
        return max(self._spool.end_lsn, self._received_lsn, server_end_lsn)


def stream(
    cursor: ReplicationCursor,
    receiver: Receiver,
    look_after: Callable[[], bool],
    interval_s: float = FEEDBACK_INTERVAL_S,
) -> None:
    """Receive until ``look_after``, asked every ``interval_s``, says no; all is then on disk and confirmed.

    Raises:
        DatabaseError: the connection or the slot was lost.
    """
    confirmed, looked_at = 0, 0.0
    while True:
        with converting_errors():
            idle = _take_burst(cursor, receiver)
            now = time.monotonic()
            flushed = receiver.flush_if_due(now)
            if flushed or now - looked_at >= interval_s:
                confirmed = max(confirmed, receiver.confirmable_lsn(cursor.wal_end))
                _confirm(cursor, confirmed)
        if now - looked_at >= interval_s:
            looked_at = now
            if not look_after():
                receiver.flush()
                with converting_errors():
                    _confirm(cursor, max(confirmed, receiver.confirmable_lsn(0)))
                return
        if idle:
            select.select([cursor], [], [], FLUSH_INTERVAL_S)


def _take_burst(cursor: ReplicationCursor, receiver: Receiver) -> bool:
    """Take what is there, up to a limit; says whether there was less."""
    for _ in range(_BURST):
        message = cursor.read_message()
        if message is None:
            return True
        receiver.take(message.payload)
    return False


def _confirm(cursor: ReplicationCursor, lsn: int) -> None:
    send: Callable[..., None] = cursor.send_feedback
    send(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)
