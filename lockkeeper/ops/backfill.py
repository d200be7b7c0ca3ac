"""Rows filled in short batches by key, each its own transaction, while the application goes on.

No cursor is stored: the condition excludes rows that are done, so a run that was killed is continued by
running it again. A batch waits for a locked row no longer than for any lock; then it lets all its rows go,
and comes back smaller. It also shrinks when it takes longer than ``TARGET_MS``, and grows again.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError

from lockkeeper.ops import catalog, ddl
from lockkeeper.ops.errors import (
    LOCK_NOT_AVAILABLE,
    InvalidDataError,
    LockWaitError,
    NotOnlineError,
    sqlstate_of,
)
from lockkeeper.ops.session import Session

BATCH_ROWS = 1_000
TARGET_MS = 100
PASSES = 3
BATCH_PAGES = 32
_BATCH_LIMIT_MS = 60_000


class Batches(NamedTuple):
    """Which table, and the most rows at a time."""

    table_name: str
    schema: str | None
    batch_rows: int = BATCH_ROWS


class _Key(NamedTuple):
    """The columns that order the table, as SQL, and their types."""

    columns: tuple[str, ...]
    types: tuple[str, ...]

    def row(self) -> str:
        return self.columns[0] if len(self.columns) == 1 else f"({', '.join(self.columns)})"

    def values(self, texts: tuple[str, ...]) -> str:
        casts = [f"{ddl.literal(text)}::{kind}" for text, kind in zip(texts, self.types, strict=True)]
        return casts[0] if len(casts) == 1 else f"({', '.join(casts)})"


def run(session: Session, batches: Batches, assignment: str, where: str) -> int:
    """Run ``UPDATE ... SET assignment WHERE where`` in batches; return the number of rows written.

    Raises:
        NotOnlineError: the table has no key.
        LockWaitError: some rows stayed locked by another session.
        InvalidDataError: after three passes rows still match ``where``.
    """
    if session.offline:
        session.context.impl.static_output(_block(batches, assignment, where))
        return 0
    table = catalog.relation(session, batches.table_name, batches.schema)
    key = _key(session, table)
    written = 0
    for _ in range(PASSES):
        written += _one_pass(session, table.sql, key, batches.batch_rows, assignment, where)
        if not session.rows(f"SELECT EXISTS (SELECT FROM {table.sql} WHERE {where})")[0][0]:
            return written
    raise InvalidDataError(
        f"After {PASSES} passes over {table.sql} ({written} rows written) some rows still match {where!r}: "
        f"either SET {assignment} does not make it false for them, or the application goes on writing such "
        "rows.",
        table=table.sql,
        query=f"SELECT * FROM {table.sql} WHERE {where}",
    )


def _key(session: Session, table: catalog.Relation) -> _Key:
    rows = session.rows(catalog.named_query("key_columns", oid=str(table.oid)))
    if not rows:
        raise NotOnlineError(
            f"{table.sql} has no primary key and no unique index over NOT NULL columns: batches need one.",
            table=table.sql,
        )
    return _Key(tuple(ddl.quote(name) for name, _ in rows), tuple(kind for _, kind in rows))


def _one_pass(session: Session, table: str, key: _Key, most_rows: int, assignment: str, where: str) -> int:
    written, failures, rows = 0, 0, most_rows
    last: tuple[str, ...] | None = None
    while upper := _upper_bound(session, table, key, last, rows, where):
        batch = [f"{key.row()} <= {key.values(upper)}", f"({where})"]
        if last is not None:
            batch.insert(0, f"{key.row()} > {key.values(last)}")
        sql = f"UPDATE {table} SET {assignment} WHERE {' AND '.join(batch)}"
        started = time.monotonic()
        count = _try_batch(session, sql)
        slow = (time.monotonic() - started) * 1000 > TARGET_MS
        if count is None:
            failures += 1
            if failures >= session.policy.attempts:
                raise _locked_rows(session, table, key, last, upper, failures)
            rows = max(1, rows // 2)
            session.pause(failures)
            continue
        written, failures, last = written + count, 0, upper
        rows = max(most_rows // 16, 1, rows // 2) if slow else min(most_rows, rows * 2)
        session.progress(f"{table}: {written} rows written")
    return written


def _upper_bound(
    session: Session, table: str, key: _Key, last: tuple[str, ...] | None, rows: int, where: str
) -> tuple[str, ...] | None:
    """Return the key of the last row of the next batch, as text, or None when no row is left."""
    after = f"{key.row()} > {key.values(last)} AND " if last is not None else ""
    columns = ", ".join(key.columns)
    texts = ", ".join(f"{column}::text" for column in key.columns)
    descending = ", ".join(f"{column} DESC" for column in key.columns)
    found = session.rows(
        f"SELECT {texts} FROM (SELECT {columns} FROM {table} WHERE {after}({where}) "
        f"ORDER BY {columns} LIMIT {rows}) AS batch ORDER BY {descending} LIMIT 1"
    )
    return tuple(found[0]) if found else None


def _try_batch(session: Session, sql: str) -> int | None:
    """Run one batch in its own transaction; None when a row stayed locked."""
    try:
        with session.transaction():
            session.run(session.limits(session.lock_timeout_ms, _BATCH_LIMIT_MS))
            return session.run(sql)
    except DBAPIError as error:
        if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
            raise
        return None


def _locked_rows(
    session: Session,
    table: str,
    key: _Key,
    last: tuple[str, ...] | None,
    upper: tuple[str, ...],
    failures: int,
) -> LockWaitError:
    after = f"after {key.values(last)} " if last is not None else ""
    return LockWaitError(
        f"Backfill, rows with {key.row()} {after}up to {key.values(upper)}",
        table=table,
        attempts=failures,
        blockers=session.blockers(table),
    )


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
