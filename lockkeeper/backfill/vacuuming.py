"""VACUUM between batches, so that new row versions go where old ones were and the table stays small.

Only the heap is cleaned (INDEX_CLEANUP OFF): that frees the space and costs a fraction; the pointers left
are autovacuum's, later. It is skipped while an old snapshot still needs the dead rows: then it would free
nothing.
"""

from __future__ import annotations

from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

PACKAGE = "lockkeeper.backfill"
LEAST_ROWS = 20_000
GENTLE_DELAY_MS = 2


class Vacuuming:
    """Counts what a worker has written to one table."""

    def __init__(self, session: Session, table: str, rows: int) -> None:
        self._session, self._table, self._rows = session, table, rows
        self._since = 0
        self._mark = self._next_xid()

    def _next_xid(self) -> str:
        return str(
            self._session.rows("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text")[
                0
            ][0]
        )

    def after(self, written: int, percent: float, *, gently: bool = False) -> bool:
        """Count a batch; vacuum when it pays. SHARE UPDATE EXCLUSIVE: blocks nobody, and waits for nobody.

        ``gently`` it rests in between, as autovacuum does.
        """
        self._since += written
        if not percent or self._since < max(LEAST_ROWS, self._rows * percent / 100):
            return False
        self._since = 0
        mark, self._mark = self._mark, self._next_xid()
        if self._session.rows(named_query("old_snapshots", PACKAGE, mark=mark))[0][0]:
            return False
        if gently:
            self._session.run(f"SET vacuum_cost_delay = {GENTLE_DELAY_MS}")
        self._session.run(f"VACUUM (INDEX_CLEANUP OFF, TRUNCATE OFF, SKIP_LOCKED) {self._table}")
        if gently:
            self._session.run("RESET vacuum_cost_delay")
        return True
