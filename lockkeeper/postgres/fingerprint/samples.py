"""Which rows of a table differ between two live databases: their keys, and in which columns.

Guarantees: no content except that of the key is read out of either database; memory is bounded by
``max_rows`` whatever the table's size. Both sides are read at a snapshot of their own, twice: once to compare
the sums of many buckets of rows, once to fetch keys and hashes of the rows in buckets that differ. Buckets
are made of the key's hash, so neither collations nor physical order matter.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, converting_errors, fetch_all, named_query
from lockkeeper.postgres.fingerprint.data import Table, list_tables, reading_session
from lockkeeper.postgres.fingerprint.hashing import Column, hashed_rows, row_hash, value_text

BUCKETS = 1 << 14
MAX_ROWS = 50_000
_Bucket = tuple[int, int]


@dataclass(frozen=True)
class SampleDifferences:
    """Rows that differ. Keys are written like ``id=7``, several columns like ``tenant=1, id=7``.

    Without a primary key or a unique one over NOT NULL columns (``key`` is empty) rows cannot be told apart:
    only their numbers are given.
    """

    table: str
    key: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Key -> columns whose values differ."""
    missing_rows: int = 0
    unexpected_rows: int = 0
    changed_rows: dict[str, int] = field(default_factory=dict)
    """Column -> number of rows in which it differs."""
    complete: bool = True
    """Whether the numbers are of the whole table; else there are at least so many."""

    def sentences(self) -> list[str]:
        """Tell the differences, one sentence for each kind."""
        least = "" if self.complete else "at least "
        told = []
        if self.missing_rows:
            told.append(f"{least}{self.missing_rows} rows are missing{_examples(self.missing)}")
        if self.unexpected_rows:
            told.append(f"{least}{self.unexpected_rows} rows are unexpected{_examples(self.unexpected)}")
        for column, rows in sorted(self.changed_rows.items()):
            keys = [key for key, columns in self.changed.items() if column in columns]
            told.append(f"column {column} differs in {least}{rows} rows{_examples(keys)}")
        return [f"table {self.table}: {text}" for text in told]


def sample_differences(
    before_url: URL,
    after_url: URL,
    table: str,
    *,
    limit: int = 10,
    max_rows: int = MAX_ROWS,
    before_snapshot: str | None = None,
    after_snapshot: str | None = None,
    run_id: str | None = None,
) -> SampleDifferences:
    """Name up to ``limit`` differing rows of each kind in ``table``.

    Columns that only one side has are not compared. Takes ACCESS SHARE on the table, on both sides.

    Args:
        before_url: the database as it must be.
        after_url: the database as it is.
        table: the table's name as fingerprints write it.
        limit: how many keys to name of each kind.
        max_rows: how many rows of differing buckets to fetch from each side, at most about so many.
        before_snapshot: exported snapshot to read the first database at.
        after_snapshot: exported snapshot to read the second one at.
        run_id: becomes part of ``application_name``.

    Raises:
        DatabaseError: a side does not have the table, or it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(reading_session(before_url, snapshot=before_snapshot, run_id=run_id))
        after = stack.enter_context(reading_session(after_url, snapshot=after_snapshot, run_id=run_id))
        sides = _Side(before, table), _Side(after, table)
        common = {column.name for column in sides[1].table.columns}
        columns = [column.name for column in sides[0].table.columns if column.name in common]
        key = [name for name in sides[0].key if name in common]
        if len(key) < len(sides[0].key):
            key = []
        buckets, complete = _differing(
            sides[0].buckets(columns, key), sides[1].buckets(columns, key), max_rows
        )
        rows = [side.rows(columns, key, buckets) for side in sides]
        return _compare(table, columns, key, rows[0], rows[1], limit=limit, complete=complete)


@dataclass
class _Rows:
    """Rows of differing buckets: key (or the row's hash) -> hashes of its columns, and how often."""

    hashes: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)


class _Side:
    def __init__(self, session: Connection, name: str) -> None:
        self._session = session
        found = [table for table in list_tables(session) if table.name == name]
        if not found:
            raise DatabaseError(f"Database {session.info.dbname!r} has no table {name} to compare.")
        self.table: Table = found[0]
        rows = fetch_all(session, named_query("fingerprint/row_key"), {"table": name})
        self.key = [str(column) for (column,) in rows]

    def _columns(self, names: Sequence[str]) -> list[Column]:
        by_name = {column.name: column for column in self.table.columns}
        return [by_name[name] for name in names]

    def _bucket(self, columns: Sequence[str], key: Sequence[str]) -> sql.Composable:
        names = [f"h{columns.index(name)}" for name in key] or [f"h{i}" for i in range(len(columns))]
        return sql.SQL("({} & {})::int").format(row_hash(names), sql.Literal(BUCKETS - 1))

    def buckets(self, columns: Sequence[str], key: Sequence[str]) -> dict[int, _Bucket]:
        """Bucket -> rows and the sum of their hashes."""
        query = sql.SQL("SELECT {}, count(*), sum({}) FROM {} GROUP BY 1").format(
            self._bucket(columns, key),
            row_hash([f"h{i}" for i in range(len(columns))]),
            hashed_rows(self._columns(columns), self.table.source),
        )
        return {bucket: (int(rows), int(total)) for bucket, rows, total in fetch_all(self._session, query)}

    def rows(self, columns: Sequence[str], key: Sequence[str], buckets: Sequence[int]) -> _Rows:
        """Fetch keys and hashes of the rows in ``buckets``."""
        found = _Rows()
        if not buckets:
            return found
        keys = [
            sql.SQL("{} AS k{}").format(value_text(column), sql.SQL(str(i)))
            for i, column in enumerate(self._columns(key))
        ]
        fetched = [f"k{i}" for i in range(len(key))] or [f"h{i}::text" for i in range(len(columns))]
        hashes = [f"h{i}" for i in range(len(columns))]
        query = sql.SQL("SELECT {} FROM {} WHERE {} = ANY ({})").format(
            sql.SQL(", ").join(map(sql.SQL, fetched + hashes)),
            hashed_rows(self._columns(columns), self.table.source, also=keys),
            self._bucket(columns, key),
            sql.Literal(list(buckets)),
        )
        with converting_errors(), self._session.cursor() as cursor:
            cursor.execute(query)
            for row in cursor:
                identity = tuple(map(str, row[: len(fetched)]))
                found.hashes[identity] = tuple(row[len(fetched) :])
                found.counts[identity] += 1
        return found


def _differing(
    before: dict[int, _Bucket], after: dict[int, _Bucket], max_rows: int
) -> tuple[list[int], bool]:
    """Return differing buckets of about ``max_rows`` rows together (at least one); is that all of them?"""
    chosen: list[int] = []
    rows = 0
    differing = sorted(
        bucket for bucket in before.keys() | after.keys() if before.get(bucket) != after.get(bucket)
    )
    for bucket in differing:
        rows += max(before.get(bucket, (0, 0))[0], after.get(bucket, (0, 0))[0])
        if chosen and rows > max_rows:
            break
        chosen.append(bucket)
    return chosen, len(chosen) == len(differing)


def _compare(
    table: str,
    columns: Sequence[str],
    key: Sequence[str],
    before: _Rows,
    after: _Rows,
    *,
    limit: int,
    complete: bool,
) -> SampleDifferences:
    missing, unexpected = before.counts - after.counts, after.counts - before.counts
    changed: dict[str, tuple[str, ...]] = {}
    changed_rows: Counter[str] = Counter()
    for identity, old in before.hashes.items() if key else ():
        new = after.hashes.get(identity)
        if new is None or new == old:
            continue
        names = tuple(name for name, was, now in zip(columns, old, new, strict=True) if was != now)
        changed_rows.update(names)
        if len(changed) < limit:
            changed[_written(key, identity)] = names
    return SampleDifferences(
        table=table,
        key=tuple(key),
        missing=tuple(_written(key, identity) for identity in sorted(missing)[:limit]) if key else (),
        unexpected=tuple(_written(key, identity) for identity in sorted(unexpected)[:limit]) if key else (),
        changed=changed,
        missing_rows=sum(missing.values()),
        unexpected_rows=sum(unexpected.values()),
        changed_rows=dict(changed_rows),
        complete=complete,
    )


def _written(key: Sequence[str], identity: Sequence[str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in zip(key, identity, strict=True))


def _examples(keys: Sequence[str]) -> str:
    return f", e.g. {'; '.join(keys)}" if keys else ""
