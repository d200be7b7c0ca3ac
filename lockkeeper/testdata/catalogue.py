"""What rows a schema takes: tables with their columns, types, keys and conditions, from the catalogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lockkeeper.postgres.connection import Connection, Row, fetch_all, named_query

PACKAGE = "lockkeeper.testdata"
_TYPE_FACTS = ("name", "kind", "element", "base", "base_modifier", "not_null", "subtype")


@dataclass(frozen=True)
class Type:
    """One data type; ``element``, ``base``, ``subtype`` and ``parts`` are the oids of others, or nothing."""

    name: str
    kind: str
    element: int = 0
    base: int = 0
    base_modifier: int = -1
    not_null: bool = False
    subtype: int = 0
    labels: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column. ``own_value``: the database gives it."""

    name: str
    type: int
    modifier: int
    nullable: bool
    own_value: bool
    in_a_key: bool


@dataclass(frozen=True)
class ForeignKey:
    """Columns whose values must be found in ``parent`` (a quoted name)."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    deferrable: bool


@dataclass(frozen=True)
class Table:
    """One table; ``name`` is qualified and quoted by the server: it is SQL.

    A row must meet all ``conditions``, and one of ``partitions`` if there are any.
    """

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...]
    conditions: tuple[str, ...]
    partitions: tuple[str, ...]

    def nullable(self, key: ForeignKey) -> bool:
        """Whether a row need not have a parent."""
        return any(column.nullable for column in self.columns if column.name in key.columns)


@dataclass(frozen=True)
class Catalogue:
    """A schema at one moment."""

    tables: tuple[Table, ...]
    types: Mapping[int, Type]


def read_catalogue(connection: Connection, without: Collection[str] = ()) -> Catalogue:
    """Read what can be filled; ``without`` names tables (as the catalogue quotes them) to leave alone."""
    found = [(oid, name) for oid, name in _rows(connection, "tables") if name not in without]
    oids = [oid for oid, _ in found]
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, name, kind, modifier, not_null, *flags in _rows(connection, "columns", oids):
        columns[oid].append(Column(name, kind, modifier, not not_null, *flags))
    keys: dict[int, list[ForeignKey]] = defaultdict(list)
    for oid, names, parent, parent_names, deferrable in _rows(connection, "foreign_keys", oids):
        keys[oid].append(ForeignKey(tuple(names), parent, tuple(parent_names), deferrable))
    of_tables, of_types, of_partitions = _conditions(connection)
    return Catalogue(
        tuple(
            Table(name, *(tuple(facts[oid]) for facts in (columns, keys, of_tables, of_partitions)))  # type: ignore[arg-type]
            for oid, name in found
        ),
        _types(connection, of_types),
    )


def _conditions(connection: Connection) -> tuple[dict[int, list[str]], ...]:
    of_tables: dict[int, list[str]] = defaultdict(list)
    of_types: dict[int, list[str]] = defaultdict(list)
    of_partitions: dict[int, list[str]] = defaultdict(list)
    for table, kind, text in _rows(connection, "conditions"):
        if text is not None:
            (of_types[kind] if kind > 0 else of_partitions[table] if kind else of_tables[table]).append(text)
    return of_tables, of_types, of_partitions


def _types(connection: Connection, conditions: Mapping[int, list[str]]) -> dict[int, Type]:
    types: dict[int, Type] = {}
    for oid, *facts, labels, parts in _rows(connection, "types"):
        known: dict[str, Any] = dict(zip(_TYPE_FACTS, facts, strict=True))
        own = tuple(conditions.get(oid, ()))
        types[oid] = Type(**known, labels=tuple(labels or ()), parts=tuple(parts or ()), conditions=own)
    return types


def _rows(connection: Connection, query: str, oids: list[int] | None = None) -> list[Row]:
    return fetch_all(connection, named_query(query, PACKAGE), None if oids is None else (oids,))
