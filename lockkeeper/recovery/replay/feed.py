"""Takes spooled messages, puts transactions together, and has them applied in batches.

Guarantees: a batch and how far it goes are one transaction of the copy, so that a kill at any point repeats
nothing and forgets nothing; transactions that the copy has are skipped by their position; the order of
commits is kept wherever it can be seen. A transaction whose end never came (a crash cut it off) is not
applied.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from psycopg2 import sql

from lockkeeper.errors import ConnectionLostError, DatabaseError, DecodingError
from lockkeeper.postgres.connection import Connection, execute
from lockkeeper.recovery import pgoutput
from lockkeeper.recovery.capture.models import CaptureRecord
from lockkeeper.recovery.replay.apply import NO_TABLE, Applier
from lockkeeper.recovery.replay.bookkeeping import Progress, park, parked_write, write_progress
from lockkeeper.recovery.replay.catalogue import Catalogue
from lockkeeper.recovery.replay.changes import DELETE, INSERT, UPDATE, Change, TableChanges, Transaction
from lockkeeper.recovery.replay.mapping import Mapper, TableMap
from lockkeeper.recovery.spool import NOTE

BATCH_CHANGES = 4000
BATCH_AGE_S = 0.25
LARGE_TRANSACTION = 20_000
_ROWS = b"IUD"


class Feed:
    """Replays into one copy through one session. ``progress`` is what the copy has, committed."""

    def __init__(
        self, connection: Connection, record: CaptureRecord, catalogue: Catalogue, progress: Progress
    ) -> None:
        self._connection = connection
        self._mapper = Mapper(record, catalogue)
        self._applier = Applier(connection)
        self.progress = progress
        self._relations: dict[int, pgoutput.Relation] = {}
        self._notes: dict[int, dict[str, Any]] = {}
        self._maps: dict[int, TableMap] = {}
        self._batches: dict[int, TableChanges] = {}
        self._waiting: list[bytes] = []
        self._transaction: Transaction | None = None
        self._skipping = False
        self._large = False
        self._open = False
        self._end_lsn = progress.end_lsn
        self._transactions = self._changes = self._in_batch = 0
        self._oldest: float | None = None

    def take_all(self, messages: Iterable[bytes]) -> None:
        """Take messages; applies and commits whenever a batch is full."""
        for message in messages:
            self._take(message)
            if self._transaction is None and self._is_due():
                self.commit()

    def _is_due(self) -> bool:
        if self._oldest is None:
            return False
        return self._in_batch >= BATCH_CHANGES or time.monotonic() - self._oldest >= BATCH_AGE_S

    def _take(self, message: bytes) -> None:
        kind = message[0]
        if kind == pgoutput.BEGIN:
            self._begin(message)
        elif kind == pgoutput.COMMIT:
            self._finish(message)
        elif kind in (pgoutput.RELATION, NOTE, pgoutput.TYPE) and (
            self._skipping or self._transaction is None
        ):
            self._handle(message)
        elif self._skipping:
            return
        elif self._large:
            self._handle(message)
            if self._in_batch >= BATCH_CHANGES:
                self._apply()
        else:
            self._waiting.append(message)
            if len(self._waiting) >= LARGE_TRANSACTION and self._transaction is not None:
                self._become_large()

    def _begin(self, message: bytes) -> None:
        self._discard_open()
        begin = pgoutput.parse_begin(message)
        self._transaction = Transaction(begin.commit_lsn, begin.xid, begin.committed_at)
        self._skipping = begin.commit_lsn < self._end_lsn

    def _discard_open(self) -> None:
        """A transaction is open whose end was cut off by a crash: it comes again, in full."""
        if self._large:
            self._rollback()
        for message in self._waiting:
            if message[0] in (pgoutput.RELATION, NOTE):
                self._handle(message)
        self._waiting.clear()
        self._large = False

    def _become_large(self) -> None:
        """Apply a large transaction as it is read, after all before it was committed."""
        transaction, waiting = self._transaction, self._waiting
        self._waiting = []
        self.commit()
        self._transaction, self._large = transaction, True
        for message in waiting:
            self._handle(message)
            if self._in_batch >= BATCH_CHANGES:
                self._apply()

    def _finish(self, message: bytes) -> None:
        commit = pgoutput.parse_commit(message)
        if not self._skipping:
            for waiting in self._waiting:
                self._handle(waiting)
            self._transactions += 1
            self._end_lsn = commit.end_lsn
            if self._oldest is None:
                self._oldest = time.monotonic()
        self._waiting.clear()
        was_large = self._large
        self._transaction, self._skipping, self._large = None, False, False
        if was_large:
            self.commit()

    def _handle(self, message: bytes) -> None:
        kind = message[0]
        if kind in _ROWS:
            self._row(message, kind)
        elif kind == pgoutput.RELATION:
            self._relation(pgoutput.parse_relation(message))
        elif kind == NOTE:
            note = json.loads(message[1:])
            self._notes[note["relation"]] = note
        elif kind == pgoutput.TRUNCATE:
            self._truncate(pgoutput.parse_truncate(message))
        elif kind not in (pgoutput.TYPE, pgoutput.MESSAGE):
            raise DecodingError(f"message of unknown kind {kind:#x} in the spool")

    def _relation(self, relation: pgoutput.Relation) -> None:
        if self._relations.get(relation.oid) == relation and relation.oid in self._maps:
            return
        batch = self._batches.pop(relation.oid, None)
        if batch is not None:
            self._apply_batches([batch])
        self._relations[relation.oid] = relation
        self._maps[relation.oid] = self._mapper.map(relation, self._notes.get(relation.oid))

    def _row(self, message: bytes, kind: int) -> None:
        if self._transaction is None:
            raise DecodingError("a row change outside of a transaction in the spool")
        change: Change
        if kind == pgoutput.INSERT:
            insert = pgoutput.parse_insert(message)
            oid, change = insert.relation, Change(INSERT, None, insert.new, self._transaction)
        elif kind == pgoutput.UPDATE:
            update = pgoutput.parse_update(message)
            oid, change = update.relation, Change(UPDATE, update.old, update.new, self._transaction)
        else:
            delete = pgoutput.parse_delete(message)
            oid, change = delete.relation, Change(DELETE, delete.old, None, self._transaction)
        self._changes += 1
        self._in_batch += 1
        batch = self._batches.get(oid)
        if batch is None:
            batch = self._batches[oid] = TableChanges(self._map_of(oid))
        if batch.accepts(change):
            batch.add(change)
        else:
            del self._batches[oid]
            self._apply_batches([batch])
            self._applier.change_key(batch.map, change)

    def _map_of(self, oid: int) -> TableMap:
        try:
            return self._maps[oid]
        except KeyError:
            raise DecodingError(f"the spool does not say what relation {oid} looks like") from None

    def _truncate(self, truncate: pgoutput.Truncate) -> None:
        self._apply()
        names = []
        for oid in truncate.relations:
            table_map = self._map_of(oid)
            if table_map.table is not None:
                names.append(f"ONLY {table_map.table.identity}")
            elif self._transaction is not None:
                self._applier.parked.append(
                    parked_write(self._transaction, table_map.source, "truncate", {}, {}, NO_TABLE)
                )
        if not names:
            return
        self._begin_copy_transaction()
        restart = "RESTART IDENTITY" if truncate.restart_sequences else "CONTINUE IDENTITY"
        execute(self._connection, "SAVEPOINT lockkeeper_truncate")
        try:
            execute(self._connection, f"TRUNCATE {', '.join(names)} {restart}")
        except ConnectionLostError:
            raise
        except DatabaseError:
            # A table that refers to one of them was empty, or is not captured: its rows stay as they are.
            execute(self._connection, "ROLLBACK TO SAVEPOINT lockkeeper_truncate")
            for name in names:
                execute(self._connection, sql.SQL("DELETE FROM {}").format(sql.SQL(name)))

    # -- the copy's transaction ----------------------------------------------------------------------------

    def _begin_copy_transaction(self) -> None:
        if not self._open:
            execute(self._connection, "BEGIN")
            self._open = True

    def _apply(self) -> None:
        batches, self._batches = list(self._batches.values()), {}
        self._in_batch = 0
        self._apply_batches(batches)

    def _apply_batches(self, batches: Iterable[TableChanges]) -> None:
        for batch in batches:
            self._begin_copy_transaction()
            self._applier.apply(batch)
        if self._applier.parked:
            self._begin_copy_transaction()
            park(self._connection, self._applier.parked)
            self._applier.parked = []

    def commit(self) -> None:
        """Apply and commit every complete transaction that was taken; does nothing when there is none."""
        if self._oldest is None:
            return
        self._apply()
        self._begin_copy_transaction()
        now = self.progress
        progress = Progress(
            self._end_lsn,
            now.transactions + self._transactions,
            now.changes + self._changes,
        )
        write_progress(self._connection, progress)
        execute(self._connection, "COMMIT")
        self._open = False
        self.progress = progress
        self._transactions = self._changes = 0
        self._oldest = None

    def _rollback(self) -> None:
        if self._open:
            execute(self._connection, "ROLLBACK")
            self._open = False
        self._batches.clear()
        self._applier.parked = []
        self._transactions = self._changes = self._in_batch = 0
        self._oldest = None
