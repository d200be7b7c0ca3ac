"""Which tables a capture publishes, with which replica identity, and which it must leave out.

The decision is a pure function of what the catalogue says (``choose_tables``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lockkeeper.postgres.connection import Connection, fetch_all, named_query
from lockkeeper.recovery.capture.models import (
    CapturedColumn,
    CapturedTable,
    CaptureRecord,
    OutsideTable,
)

PACKAGE = "lockkeeper.recovery.capture"


class TableFacts(NamedTuple):
    """What the catalogue says of a table; a root is a partitioned table, whose rows are in its leaves."""

    oid: int
    schema_name: str
    name: str
    identity: str
    is_root: bool
    is_unlogged: bool
    is_owned: bool
    former_identity: str
    has_primary_key: bool
    root_oid: int | None
    has_virtual_columns: bool
    columns: tuple[Mapping[str, Any], ...]


def tables_not_captured(connection: Connection, record: CaptureRecord) -> list[str]:
    """Return the tables that are there now, and whose changes the publication does not have; reads only.

    Those that were left out from the beginning, and those made since that could not be adopted.

    Raises:
        DatabaseError: the publication is gone.
    """
    query = named_query("not_captured", PACKAGE)
    return [str(table) for (table,) in fetch_all(connection, query, {"publication": record.publication})]


class Choice(NamedTuple):
    """``published`` names what the publication lists; ``tables`` are those with rows that it covers."""

    tables: tuple[CapturedTable, ...]
    published: tuple[str, ...]
    outside: tuple[OutsideTable, ...]


def read_tables(connection: Connection) -> list[TableFacts]:
    """Read the catalogue; takes no lock on any table."""
    rows = fetch_all(connection, named_query("capture_tables", PACKAGE))
    return [TableFacts._make([*row[:-1], tuple(row[-1] or ())]) for row in rows]


def choose_tables(facts: Iterable[TableFacts], refused_full: Iterable[int] = ()) -> Choice:
    """Decide for every table.

    A root is published as a whole when new partitions of it will have a key; without one, an UPDATE in a new
    partition would fail, so its present leaves are listed instead.

    Args:
        facts: all tables.
        refused_full: tables that could not be given REPLICA IDENTITY FULL (a lock was not to be had in time).
    """
    known = list(facts)
    refused = set(refused_full)
    roots = {
        table.oid: table
        for table in known
        if table.is_root and table.root_oid is None and table.has_primary_key and table.is_owned
    }
    tables, published, outside = [], [root.identity for root in roots.values()], []
    for table in known:
        if table.is_root:
            continue
        reason = _reason_outside(table, table.oid in refused)
        if reason:
            outside.append(OutsideTable(table=table.identity, reason=reason))
            continue
        tables.append(_captured(table, full=_may_be_full(table) and table.oid not in refused))
        if table.root_oid not in roots:
            published.append(f"ONLY {table.identity}")
    return Choice(tuple(tables), tuple(published), tuple(outside))


def _may_be_full(table: TableFacts) -> bool:
    """PostgreSQL 18 refuses every UPDATE of a table whose full identity has a virtual generated column."""
    return not table.has_virtual_columns


def _reason_outside(table: TableFacts, refused_full: bool) -> str | None:
    if table.is_unlogged:
        return "it is unlogged: its changes are not in the write-ahead log"
    if not table.is_owned:
        return "the role does not own it, so it cannot publish it"
    has_identity = table.has_primary_key and table.former_identity in ("DEFAULT", "FULL")
    has_identity = has_identity or table.former_identity.startswith("USING INDEX")
    if not _may_be_full(table) and not has_identity:
        return "it has a virtual generated column and no primary key: published, its UPDATEs would fail"
    if refused_full and not has_identity:
        return (
            "it has no primary key, and REPLICA IDENTITY FULL could not be set behind other sessions' locks"
        )
    return None


def _captured(table: TableFacts, full: bool) -> CapturedTable:
    return CapturedTable(
        oid=table.oid,
        schema_name=table.schema_name,
        name=table.name,
        identity=table.identity,
        former_identity=table.former_identity,
        full=full,
        columns=tuple(CapturedColumn(**column) for column in table.columns),
    )
