"""Remembers what the rows of a database were, so that it can be said later which of them are not any more.

Guarantees: no content is kept but the key's, and of that the beginning; memory is bounded by ``max_bytes``
whatever the tables' sizes. Of a table that does not fit a share of the rows is kept, chosen by the hashes of
their keys, so that the same rows are looked at again wherever they lie then; how large the share is, is told.
Only ACCESS SHARE is taken, while rows are read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import encodings

from lockkeeper.models import DataFingerprint, TableFingerprint
from lockkeeper.postgres.connection import Connection, fetch_all, fetch_one, named_query
from lockkeeper.postgres.fingerprint.data import (
    LARGE_OBJECT_COLUMNS,
    LARGE_OBJECTS,
    SEEN_LARGE_OBJECTS,
    Table,
    large_objects_query,
    list_tables,
)
from lockkeeper.postgres.fingerprint.hashing import (
    PACKED_BYTES,
    Column,
    hashed_rows,
    packed,
    row_hash,
    value_hash,
    value_text,
)
from lockkeeper.postgres.fingerprint.row_differences import RowDifferences, Rows, compare_rows
from lockkeeper.postgres.fingerprint.session import pinned_settings

MAX_BYTES = 64 << 20
BUCKETS = 1 << 14
SHOWN_CHARACTERS = 60
_ROW_BYTES = 750  # what a row takes, beside its hashes, while it is fetched; afterwards a third of that
_TABLES_AT_ONCE = 40
# As it lies there: what cannot be read as text in the database's encoding, SQL_ASCII above all, is no error.
_NAME = "pg_catalog.encode(pg_catalog.convert_to(name, pg_catalog.getdatabaseencoding()), 'hex')"


@dataclass(frozen=True)
class _Kept:
    """Rows as they were when ``fingerprint`` was taken; ``share`` is how many of the buckets they fill."""

    fingerprint: TableFingerprint
    share: int
    rows: Rows


@dataclass(frozen=True)
class _Reading:
    """What to read of one table: ``columns`` in this order, rows of the first ``share`` buckets."""

    table: Table
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    share: int

    def query(self, number: int) -> sql.Composable:
        """Return a query for ``number``, the row's name in hexadecimal digits and its packed hashes."""
        return sql.SQL("SELECT {}, {}, {} FROM {}").format(
            sql.SQL(str(number)),
            sql.SQL(_NAME),
            packed([f"h{i}" for i in range(len(self.columns))]),
            hashed_rows(self.columns, self._source, also=[sql.SQL("{} AS name").format(self._name)]),
        )

    @property
    def _name(self) -> sql.Composable:
        parts = [
            sql.SQL("{} || pg_catalog.left({}, {})").format(
                sql.Literal(f"{', ' if number else ''}{column.name}="),
                value_text(column),
                sql.Literal(SHOWN_CHARACTERS),
            )
            for number, column in enumerate(self.key)
        ]
        return sql.SQL(" || ").join(parts) if parts else sql.SQL("''::text")

    @property
    def _source(self) -> sql.Composable:
        if self.share == BUCKETS:
            return self.table.source
        hashes = [value_hash(column).string for column in self.key or self.columns]
        return sql.SQL("{} WHERE ({} & {}) < {}").format(
            self.table.source, row_hash(hashes), sql.Literal(BUCKETS - 1), sql.Literal(self.share)
        )


class RowMemory:
    """Rows of one database.

    Args:
        connection: an idle autocommit connection to it, or one in a transaction.
        max_bytes: about how much memory to use at most.
    """

    def __init__(self, connection: Connection, *, max_bytes: int = MAX_BYTES) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._kept: dict[str, _Kept] = {}

    def remember(self, data: DataFingerprint) -> None:
        """Keep the rows as they are now; reads only tables whose fingerprint is not that of the last time.

        Args:
            data: the fingerprint of this moment, by columns; other tables than those in it are left out.

        Raises:
            DatabaseError: a table cannot be read.
        """
        wanted = {name: table for name, table in data.tables.items() if table.rows}
        if data.large_objects is not None and data.large_objects.rows:
            wanted[LARGE_OBJECTS] = data.large_objects
        shares = _shares(wanted, self._max_bytes)
        self._kept = {
            name: kept
            for name, kept in self._kept.items()
            if name in wanted and (kept.fingerprint, kept.share) == (wanted[name], shares[name])
        }
        new = {name: shares[name] for name in wanted if name not in self._kept}
        if new:
            with pinned_settings(self._connection):
                for name, rows in self._read(new):
                    self._kept[name] = _Kept(wanted[name], shares[name], rows)

    def differences(self, name: str) -> RowDifferences | None:
        """Say how the rows of one table differ now: one question of ``look_closer``."""
        return self.look_closer()(name)

    def look_closer(
        self, left_out: Mapping[str, Collection[str]] | None = None
    ) -> Callable[[str], RowDifferences | None]:
        """Return what says how the rows of a table (or ``large objects``) differ now.

        It is for one round of questions, while the schema stays as it is: it reads the catalogue once. It
        says None when nothing can be said: of a table that had no rows, and of one that fits into memory in
        part only and has no key, or has lost it: the same rows cannot be found again then. It raises
        DatabaseError when the table cannot be read.

        Args:
            left_out: table -> columns that are not looked at, since their values are written in another way.
        """
        listed = functools.cache(lambda: {table.name: table for table in list_tables(self._connection)})

        def differences(name: str) -> RowDifferences | None:
            kept = self._kept.get(name)
            if kept is None:
                return None
            before = kept.rows.without((left_out or {}).get(name, ()))
            with pinned_settings(self._connection):
                now = self._read_again(name, before, kept.share, listed)
            return None if now is None else compare_rows(before, now, rows=kept.fingerprint.rows)

        return differences

    def _read(self, shares: Mapping[str, int]) -> Iterator[tuple[str, Rows]]:
        if LARGE_OBJECTS in shares:
            yield LARGE_OBJECTS, self._large_objects(shares[LARGE_OBJECTS])
        tables = [table for table in list_tables(self._connection) if table.name in shares]
        parameters = {"tables": [table.name for table in tables]}
        keys: dict[str, list[str]] = dict(
            fetch_all(self._connection, named_query("fingerprint/row_keys"), parameters)
        )
        readings = []
        for table in tables:
            key = _named(table, keys.get(table.name, ()))
            readings.append(_Reading(table, table.columns, key, shares[table.name]))
        for start in range(0, len(readings), _TABLES_AT_ONCE):
            yield from self._rows(readings[start : start + _TABLES_AT_ONCE])

    def _read_again(
        self, name: str, before: Rows, share: int, listed: Callable[[], Mapping[str, Table]]
    ) -> Rows | None:
        if name == LARGE_OBJECTS:
            return self._large_objects(share)
        table = listed().get(name)
        if table is None:
            return Rows(before.columns, before.key, ())
        there = {column.name for column in table.columns}
        if share < BUCKETS and not (before.key and there.issuperset(before.key)):
            return None
        columns = _named(table, [column for column in before.columns if column in there])
        key = _named(table, [column for column in before.key if column in there])
        ((_, rows),) = self._rows([_Reading(table, columns, key, share)])
        return rows

    def _rows(self, readings: Sequence[_Reading]) -> Iterator[tuple[str, Rows]]:
        query = sql.SQL(" UNION ALL ").join(reading.query(i) for i, reading in enumerate(readings))
        found: list[list[tuple[str, bytes]]] = [[] for _ in readings]
        encoding = _python_encoding(self._connection)
        for number, name, hashes in fetch_all(self._connection, query):
            shown = bytes.fromhex(name).decode(encoding, errors="replace")
            found[number].append((shown, bytes(hashes)))
        for reading, rows in zip(readings, found, strict=True):
            columns, key = _names(reading.columns), _names(reading.key)
            yield reading.table.name, Rows(columns, key, rows)

    def _large_objects(self, share: int) -> Rows:
        _, may_read = fetch_one(self._connection, SEEN_LARGE_OBJECTS)
        query = sql.SQL(named_query("fingerprint/large_object_rows")).format(
            objects=large_objects_query(may_read), buckets=sql.Literal(BUCKETS), share=sql.Literal(share)
        )
        found = [(str(name), bytes(hashes)) for name, hashes in fetch_all(self._connection, query)]
        return Rows(("oid", *LARGE_OBJECT_COLUMNS), ("oid",), found)


def _shares(tables: Mapping[str, TableFingerprint], max_bytes: int) -> dict[str, int]:
    """Return how many buckets of each table fit: all of the small ones; the others share what is left."""
    needs = sorted(
        (table.rows * (_ROW_BYTES + PACKED_BYTES * (1 + len(table.columns))), name)
        for name, table in tables.items()
    )
    shares = {}
    left = max_bytes
    for number, (need, name) in enumerate(needs):
        allowed = left // (len(needs) - number)
        share = BUCKETS
        while share > 1 and need * share > allowed * BUCKETS:
            share //= 2  # a power of two, so that it seldom changes
        shares[name] = share
        left -= need * share // BUCKETS
    return shares


def _python_encoding(connection: Connection) -> str:
    """Return Python's name of the database's encoding; bytes of no encoding are most likely UTF-8."""
    name = connection.info.parameter_status("server_encoding") or ""
    return "utf-8" if name == "SQL_ASCII" else encodings.get(name, "utf-8")


def _named(table: Table, names: Sequence[str]) -> tuple[Column, ...]:
    by_name = {column.name: column for column in table.columns}
    return tuple(by_name[name] for name in names)


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)
