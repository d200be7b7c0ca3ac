"""The copy's tables, as replay must know them to write into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockkeeper.postgres.connection import Connection, execute, fetch_all, named_query

PACKAGE = "lockkeeper.recovery.replay"


@dataclass(frozen=True)
class CopyColumn:
    """A column of the copy.

    Attributes:
        name: its name, ``quoted`` the same for SQL.
        type_oid: of its type; typmod as in the catalogue.
        bare_type: the type's name without a length or precision, ``full_type`` with it.
        array_type: the type of an array of it; None where values go as text and are cast.
        delimiter: what separates the elements of such an array.
        is_generated: PostgreSQL computes it.
        is_comparable: whether its text is the same in every session.
    """

    name: str
    quoted: str
    type_oid: int
    typmod: int
    bare_type: str
    full_type: str
    array_type: str | None
    delimiter: str
    is_generated: bool
    is_comparable: bool


@dataclass(frozen=True)
class KeyColumn:
    """A column of the key and the operator that its index knows as equality."""

    name: str
    equals: str


@dataclass(frozen=True)
class CopyTable:
    """A table of the copy. Without a key a row is found by all its values."""

    schema_name: str
    name: str
    identity: str
    is_root: bool
    columns: dict[str, CopyColumn]
    key: tuple[KeyColumn, ...]


Catalogue = dict[tuple[str, str], CopyTable]


def read_catalogue(connection: Connection) -> Catalogue:
    """Read the copy's tables, by schema and name. Names of types come out qualified."""
    execute(connection, "SELECT pg_catalog.set_config('search_path', '', false)")
    try:
        rows = fetch_all(connection, named_query("copy_tables", PACKAGE))
    finally:
        execute(connection, "RESET search_path")
    return {(row[0], row[1]): _table(*row) for row in rows}


def _table(schema: str, name: str, identity: str, is_root: bool, columns: Any, key: Any) -> CopyTable:
    return CopyTable(
        schema,
        name,
        identity,
        is_root,
        {column["name"]: CopyColumn(**column) for column in columns or ()},
        tuple(KeyColumn(**column) for column in key or ()),
    )
