"""The two ways through a table, both cut into ranges that need no memory of single rows.

*By key*: any unique key over NOT NULL columns (composite, uuid, text), in its order. *By pages*: ranges of
blocks (ctid), for tables without such a key, and for all that are not small: no index is read, no page is
visited again later, and a page's rows are written in shares, most of them without leaving it. A row that the
application moves behind the cursor has been written by it, and what watches the writes (a trigger) has then
done the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

PACKAGE = "lockkeeper.backfill"
Place = tuple[str, ...]
"""The last key of a range as text, or the number of a block."""

UNRELATED_CORRELATION = 0.3
_PAGES_AT_LEAST = 1_000
# A third of a page's rows moves away, the others find room where they are, also when they grow by a third.
_SHARES = ("(pg_catalog.hashtid(ctid) & 1023) < 342", "(pg_catalog.hashtid(ctid) & 1023) < 683", "")


@dataclass(frozen=True)
class Row:
    """One row: what finds it, and its name for people."""

    place: Place
    condition: str
    shown: str


class Walk(Protocol):
    """Ranges ``after < row <= upto`` of one table."""

    @property
    def table(self) -> str:
        """The table as SQL."""

    @property
    def shares(self) -> tuple[str, ...]:
        """Conditions that cut a range into transactions of about the same size; "" takes all that is left."""

    def bound(self, after: Place | None, rows: int, where: str | None) -> Place | None:
        """Return the end of the next range of about ``rows`` rows, or None when nothing is left."""

    def condition(self, after: Place | None, upto: Place) -> str:
        """Return the range as SQL."""

    def rows(self, after: Place | None, upto: Place, where: str) -> list[Row]:
        """Return the rows of a range one by one."""

    def row(self, place: Place) -> Row:
        """Return a row that was named before."""

    def shown(self, after: Place | None, upto: Place) -> str:
        """Return the range in words."""


@dataclass(frozen=True)
class Key:
    """The columns that order the table, as SQL, and their types."""

    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def row(self) -> str:
        """The columns as one value."""
        return self.columns[0] if len(self.columns) == 1 else f"({', '.join(self.columns)})"

    @property
    def texts(self) -> str:
        """The columns as text, to be kept."""
        return ", ".join(f"{column}::text" for column in self.columns)

    def values(self, texts: Sequence[str]) -> str:
        """Return kept texts as one value."""
        casts = [f"{literal(text)}::{kind}" for text, kind in zip(texts, self.types, strict=True)]
        return casts[0] if len(casts) == 1 else f"({', '.join(casts)})"


def find_key(session: Session, oid: int) -> Key | None:
    """Return the primary key, else the shortest unique key over NOT NULL columns, or None."""
    rows = session.rows(named_query("key_columns", oid=str(oid)))
    return Key(tuple(quote(name) for name, _ in rows), tuple(kind for _, kind in rows)) if rows else None


def goes_by_pages(session: Session, oid: int, key: Key | None) -> bool:
    """Whether pages are the better way: no key, or one that has nothing to do with the order on disk."""
    if key is None:
        return True
    query = named_query("key_correlation", PACKAGE, oid=str(oid), column=literal(key.columns[0]))
    rows = session.rows(query)
    return bool(rows) and rows[0][0] > _PAGES_AT_LEAST and abs(rows[0][1]) < UNRELATED_CORRELATION


def fills_by_pages(session: Session, oid: int, key: Key | None) -> bool:
    """Whether a backfill goes by pages: no key, or a table that is not small."""
    query = f"SELECT pg_catalog.pg_relation_size({oid}) / pg_catalog.current_setting('block_size')::bigint"
    return key is None or int(session.rows(query)[0][0]) > _PAGES_AT_LEAST


@dataclass(frozen=True)
class KeyWalk:
    """In the order of a unique key, up to ``end`` (None: to the last row there is)."""

    session: Session
    table: str
    key: Key
    end: Place | None = None

    @property
    def shares(self) -> tuple[str, ...]:
        """The range as a whole."""
        return ("",)

    def _after(self, after: Place | None) -> list[str]:
        return [f"{self.key.row} > {self.key.values(after)}"] if after is not None else []

    def bound(self, after: Place | None, rows: int, where: str | None) -> Place | None:
        """Return the key of the last row of the next range."""
        columns = ", ".join(self.key.columns)
        conditions = self._after(after)
        if self.end is not None:
            conditions.append(f"{self.key.row} <= {self.key.values(self.end)}")
        if where:
            conditions.append(f"({where})")
        condition = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        # Qualified: the texts that are selected have the columns' names, and would be sorted as text.
        descending = ", ".join(f"batch.{column} DESC" for column in self.key.columns)
        found = self.session.rows(
            f"SELECT {self.key.texts} FROM (SELECT {columns} FROM {self.table} {condition}"
            f"ORDER BY {columns} LIMIT {rows}) AS batch ORDER BY {descending} LIMIT 1"
        )
        return tuple(found[0]) if found else None

    def condition(self, after: Place | None, upto: Place) -> str:
        """Return the range as SQL."""
        return " AND ".join([*self._after(after), f"{self.key.row} <= {self.key.values(upto)}"])

    def rows(self, after: Place | None, upto: Place, where: str) -> list[Row]:
        """Return the rows of a range one by one."""
        ascending = ", ".join(f"t.{column}" for column in self.key.columns)
        found = self.session.rows(
            f"SELECT {self.key.texts} FROM {self.table} AS t "
            f"WHERE {self.condition(after, upto)} AND ({where}) ORDER BY {ascending}"
        )
        return [self.row(tuple(each)) for each in found]

    def row(self, place: Place) -> Row:
        """Return one row by its key."""
        named = ", ".join(f"{column} = {text}" for column, text in zip(self.key.columns, place, strict=True))
        return Row(place, f"{self.key.row} = {self.key.values(place)}", named)

    def shown(self, after: Place | None, upto: Place) -> str:
        """Return the range in words."""
        start = f"after {self.key.values(after)} " if after is not None else ""
        return f"rows with {self.key.row} {start}up to {self.key.values(upto)}"


@dataclass(frozen=True)
class PageWalk:
    """Block by block up to ``end``; places are block numbers, the first one after the range."""

    session: Session
    table: str
    end: int
    rows_per_page: float
    key: Key | None = None

    @property
    def shares(self) -> tuple[str, ...]:
        """Thirds of each page, told by a hash of a row's place (hash of tid: PostgreSQL 14 and later)."""
        return _SHARES

    def bound(self, after: Place | None, rows: int, where: str | None) -> Place | None:
        """Return the first block after the next range. ``where`` does not count: pages are what is read."""
        first = int(after[0]) if after else 0
        if first >= self.end:
            return None
        return (str(min(self.end, first + max(1, int(rows / max(self.rows_per_page, 1.0))))),)

    def condition(self, after: Place | None, upto: Place) -> str:
        """Return the range as SQL."""
        first = after[0] if after else "0"
        return f"ctid >= '({int(first)},0)'::tid AND ctid < '({int(upto[0])},0)'::tid"

    def rows(self, after: Place | None, upto: Place, where: str) -> list[Row]:
        """Return the rows of a range one by one, named by their key if there is one."""
        texts = f"{self.key.texts}" if self.key else "ctid::text"
        found = self.session.rows(
            f"SELECT {texts} FROM {self.table} WHERE {self.condition(after, upto)} AND ({where})"
        )
        return [self.row(tuple(each)) for each in found]

    def row(self, place: Place) -> Row:
        """Return one row by its key, or by its place on disk."""
        if self.key:
            return KeyWalk(self.session, self.table, self.key).row(place)
        return Row(place, f"ctid = {literal(place[0])}::tid", f"ctid = {place[0]}")

    def shown(self, after: Place | None, upto: Place) -> str:
        """Return the range in words."""
        return f"pages {after[0] if after else 0} to {int(upto[0]) - 1}"


def page_count(session: Session, table: str) -> int:
    """Return how many blocks the table has now."""
    size: Any = session.rows(
        f"SELECT pg_catalog.pg_relation_size({literal(table)}::regclass) "
        "/ pg_catalog.current_setting('block_size')::bigint"
    )
    return int(size[0][0])
