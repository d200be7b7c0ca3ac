"""A migration's backfill: rows filled in short batches, each its own transaction, beside the application.

The loop is that of ``lockkeeper.backfill``. No cursor is stored: the condition excludes rows that are done,
so a run that was killed is continued by running it again. By key where there is one, since the application
may move rows behind a page that was visited and nothing watches its writes here; else by pages. A row that
somebody has locked is tried again by itself; a row whose values fail ends the run, by name.
"""

from __future__ import annotations

from typing import NamedTuple

from lockkeeper.backfill.batches import Fault, Work, fill, fill_row
from lockkeeper.backfill.steering import Steering
from lockkeeper.backfill.walks import KeyWalk, PageWalk, Place, Row, Walk, find_key, page_count
from lockkeeper.online import catalog, ddl
from lockkeeper.online.errors import InvalidDataError, LockWaitError, NotOnlineError
from lockkeeper.online.session import Session

BATCH_ROWS = 1_000
TARGET_MS = 100
PASSES = 3
BATCH_PAGES = 32
_ROWS_PER_PAGE = 50.0


class Batches(NamedTuple):
    """Which table, and the most rows at a time."""

    table_name: str
    schema: str | None
    batch_rows: int = BATCH_ROWS


class _Keeper:
    """Keeps nothing but the count; patient with locked rows, and with nothing else."""

    def __init__(self, session: Session, table: str, walk: Walk, work: Work) -> None:
        self._session, self._table, self._walk, self._work = session, table, walk, work
        self.written = 0

    def keep(self, place: Place | None, written: int) -> None:
        """Nothing to do: the condition is the memory."""

    def park(self, row: Row, fault: Fault) -> None:
        """Try a locked row as often as the policy says.

        Raises:
            InvalidDataError: it is the row's values that fail.
            LockWaitError: somebody keeps it locked.
        """
        session, tried = self._session, 1
        found: Fault | None = fault
        while found is not None:
            if not found.may_pass:
                raise InvalidDataError(
                    f"Backfill of {self._table}, row with {row.shown}: {found.message}.", table=self._table,
                    query=f"SELECT * FROM {self._table} WHERE {row.condition}", sqlstate=found.sqlstate,
                )  # fmt: skip
            if tried >= session.policy.attempts:
                raise LockWaitError(
                    f"Backfill, row with {row.shown}", table=self._table, attempts=tried,
                    blockers=session.blockers(self._table),
                )  # fmt: skip
            session.pause(tried)
            tried += 1
            found = fill_row(session, self._walk, self._work, row)
        self.written += 1

    def between(self, written: int) -> None:
        """Tell how far it is."""
        self.written += written
        self._session.progress(f"{self._table}: {self.written} rows written")


def run(session: Session, batches: Batches, assignment: str, where: str) -> int:
    """Run ``UPDATE ... SET assignment WHERE where`` in batches; return the number of rows written.

    Raises:
        NotOnlineError: a partitioned table without a key.
        LockWaitError: a row stayed locked by another session.
        InvalidDataError: a row's values fail, or after three passes rows still match ``where``.
    """
    if session.offline:
        session.context.impl.static_output(_block(batches, assignment, where))
        return 0
    # Here, since lockkeeper.backfill is built upon this package.
    table = catalog.relation(session, batches.table_name, batches.schema)
    walk, work = _walk(session, table), Work(assignment, where, bound_by_where=True)
    keeper = _Keeper(session, table.sql, walk, work)
    for _ in range(PASSES):
        fill(session, walk, work, Steering(batches.batch_rows, batches.batch_rows, TARGET_MS), keeper, None)
        if not session.rows(f"SELECT EXISTS (SELECT FROM {table.sql} WHERE {where})")[0][0]:
            return keeper.written
    raise InvalidDataError(
        f"After {PASSES} passes over {table.sql} ({keeper.written} rows written) some rows still match "
        f"{where!r}: either SET {assignment} does not make it false for them, or the application goes on "
        "writing such rows.",
        table=table.sql,
        query=f"SELECT * FROM {table.sql} WHERE {where}",
    )


def _walk(session: Session, table: catalog.Relation) -> Walk:
    key = find_key(session, table.oid)
    if key is not None:
        return KeyWalk(session, table.sql, key)
    if table.partitioned:
        raise NotOnlineError(
            f"{table.sql} is partitioned and has no primary key and no unique index over NOT NULL columns: "
            "fill its partitions one by one.",
            table=table.sql,
        )
    return PageWalk(session, table.sql, page_count(session, table.sql), _ROWS_PER_PAGE)


def _block(batches: Batches, assignment: str, where: str) -> str:
    """Return a DO block that fills the table page range by page range, committing after each.

    Offline nobody knows the key; the place of a row on disk is always there. Rows that move meanwhile are
    caught by the next pass. COMMIT inside DO is refused in a transaction block: do not use psql -1.
    """
    table = ddl.quote_table(batches.table_name, batches.schema)
    tag = "$lockkeeper$"
    return f"""DO {tag}
DECLARE
  pages bigint;
  first bigint;
BEGIN
  FOR pass IN 1..{PASSES} LOOP
    SELECT coalesce(max(pg_relation_size(relid)), 0) / current_setting('block_size')::bigint INTO pages
      FROM (SELECT relid FROM pg_partition_tree({ddl.literal(table)}::regclass)
            UNION SELECT {ddl.literal(table)}::regclass) AS tables;
    first := 0;
    WHILE first <= pages LOOP
      UPDATE {table} SET {assignment}
        WHERE ctid >= format('(%s,0)', first)::tid AND ctid < format('(%s,0)', first + {BATCH_PAGES})::tid
          AND ({where});
      COMMIT;
      first := first + {BATCH_PAGES};
    END LOOP;
    EXIT WHEN NOT EXISTS (SELECT FROM {table} WHERE {where});
  END LOOP;
  IF EXISTS (SELECT FROM {table} WHERE {where}) THEN
    RAISE EXCEPTION 'rows still match after {PASSES} passes';
  END IF;
END {tag};"""
