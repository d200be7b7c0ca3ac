"""What a revision costs others, seen from its own session: the locks that it holds, and for how long.

The session's own locks are read after each statement that can have taken a strong one and once more right
before each COMMIT, when every lock of the transaction is still held: so none is missed, however short. A lock
counts from the beginning of the statement after which it was first seen until the COMMIT has returned
(deferred constraints are checked in it) or the transaction was rolled back: that is never too little.

Only catalogues are read, on the session itself, and not where a query could disturb: nothing is read before
a transaction's first statement proper, so that SET TRANSACTION still works, nor after one that failed. What
runs outside of any transaction has let go of its locks before it can be asked: the parent looks for those.
"""

import time
from typing import Any, Dict, List, Optional, Tuple

from .statements import is_harmless, is_plain_dml

TRANSACTION, COUNTED = "lockkeeper_transaction", "lockkeeper_counted"
READ_INTERVAL_S = 0.05
"""After INSERT, UPDATE, DELETE and SELECT the locks are read this often at most: there may be many."""
RECORDED_STATEMENTS, RECORDED_CHARACTERS = 2000, 200_000
OUTSIDE_CHARACTERS = 2000


class Transaction:
    """The strong locks that one session's transaction is known to hold."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.unread_since: Optional[float] = None
        self.read_at = 0.0
        self.held: Dict[Tuple[str, str], Tuple[Optional[str], float]] = {}


class Cost:
    """What one attempt at a revision cost; the parent gets ``facts``."""

    def __init__(self, locks_sql: str, scans_sql: str, record: bool) -> None:
        self._locks_sql = locks_sql
        self._scans_sql = scans_sql
        self._record = record
        self._started = 0.0
        self._characters = 0
        self.locks: List[Dict[str, Any]] = []
        self.scans: Dict[str, int] = {}
        self.written: List[Dict[str, Any]] = []
        self.statements: List[Dict[str, Any]] = []
        self.outside: List[Dict[str, Any]] = []

    @property
    def facts(self) -> Dict[str, Any]:
        """Everything, for the parent."""
        complete = len(self.statements) < RECORDED_STATEMENTS and self._characters < RECORDED_CHARACTERS
        recorded = self.statements if self._record and complete else None
        return {
            "locks": self.locks,
            "scans": self.scans,
            "written": self.written,
            "outside": self.outside,
            "statements": recorded,
        }

    def begins(self, info: Dict[str, Any], statement: str, in_transaction: bool) -> None:
        """Note the beginning of a statement."""
        self._started = time.monotonic()
        if self._record and len(self.statements) < RECORDED_STATEMENTS:
            self._characters += len(statement)
            if self._characters < RECORDED_CHARACTERS:
                self.statements.append({"text": statement, "in_transaction": in_transaction})
        if in_transaction and not is_harmless(statement):
            transaction = info.setdefault(TRANSACTION, Transaction())
            if transaction.unread_since is None:
                transaction.unread_since = self._started

    def ended_outside(self, statement: str) -> None:
        """Note the end, good or bad, of a statement outside of any transaction."""
        duration_s = time.monotonic() - self._started
        self.outside.append({"text": statement[:OUTSIDE_CHARACTERS], "duration_s": duration_s})

    def ended(self, raw: Any, info: Dict[str, Any], statement: str) -> None:
        """Read the locks after a statement that can have taken some."""
        transaction = info.get(TRANSACTION)
        if transaction is None or transaction.unread_since is None:
            return
        lately = time.monotonic() - transaction.read_at < READ_INTERVAL_S
        if not (lately and is_plain_dml(statement)):
            self._read(raw, transaction)

    def committing(self, raw: Any, info: Dict[str, Any]) -> None:
        """Read the locks for the last time before they go; ``let_go`` ends them."""
        transaction = info.get(TRANSACTION)
        if transaction is not None:
            self._read(raw, transaction)
            counted: Dict[str, int] = {}
            for table, read, written in _all(raw, self._scans_sql):
                self.scans[table] = self.scans.get(table, 0) + int(read)
                counted[table] = int(written)
            self._note_rows(counted, info.get(COUNTED, {}), time.monotonic() - transaction.began)
            info[COUNTED] = counted

    def _note_rows(self, counted: Dict[str, int], before: Dict[str, int], held_s: float) -> None:
        """Note the rows that the transaction has locked; the count may still hold those of an earlier one."""
        for table, rows in counted.items():
            own = rows - before.get(table, 0) if rows >= before.get(table, 0) else rows
            if own > 0:
                self.written.append({"table": table, "rows": own, "held_s": held_s})

    def let_go(self, info: Dict[str, Any]) -> None:
        """Note that the transaction has ended; harmless when there is none."""
        transaction = info.pop(TRANSACTION, None)
        if transaction is not None:
            for key in list(transaction.held):
                self._released(transaction, key)

    def _read(self, raw: Any, transaction: Transaction) -> None:
        now = time.monotonic()
        since = now if transaction.unread_since is None else transaction.unread_since
        seen = {(str(oid), str(mode)): table for oid, table, mode in _all(raw, self._locks_sql)}
        for key in [key for key in transaction.held if key not in seen]:
            self._released(transaction, key)  # rolled back to a savepoint
        for key, table in seen.items():
            known, acquired = transaction.held.get(key, (None, since))
            transaction.held[key] = (known or table, acquired)  # a table that is dropped has no name any more
        transaction.unread_since, transaction.read_at = None, time.monotonic()

    def _released(self, transaction: Transaction, key: Tuple[str, str]) -> None:
        table, acquired = transaction.held.pop(key)
        held_s = time.monotonic() - acquired
        self.locks.append({"oid": key[0], "table": table, "mode": key[1], "held_s": held_s})


def _all(connection: Any, statement: str) -> List[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        return list(cursor.fetchall())
    finally:
        cursor.close()
