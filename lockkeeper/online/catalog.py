"""What is in the catalogue already: the ledger that makes every operation safe to run again.

Two definitions are compared by PostgreSQL's own words: the wanted object is made on an empty temporary copy
of the table, described by the server, and rolled back. So neither spelling nor spacing nor implicit casts
can make equal things look different. This needs the privilege TEMPORARY on the database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from lockkeeper.online.ddl import literal, quote, quote_table
from lockkeeper.online.errors import OnlineOperationError
from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

TEMPORARY_SCHEMA = "pg_temp"


class Relation(NamedTuple):
    """A table that exists. ``sql`` is its quoted name with its schema."""

    oid: int
    schema: str
    name: str
    partitioned: bool

    @property
    def sql(self) -> str:
        """The quoted name, always with its schema."""
        return quote_table(self.name, self.schema)


class Index(NamedTuple):
    """An index found under a name."""

    oid: int
    valid: bool
    on_our_table: bool
    definition: str
    building_pid: int | None
    parent_oid: int | None


class Constraint(NamedTuple):
    """A constraint found under a name; ``facts`` are a foreign key's, comparable as a whole."""

    validated: bool
    definition: str
    facts: tuple[object, ...]


class ColumnFacts(NamedTuple):
    """A column as the server describes it."""

    type: str
    default: str | None
    not_null: bool


def relation(session: Session, name: str, schema: str | None) -> Relation:
    """Return the table.

    Raises:
        OnlineOperationError: there is none of that name.
    """
    sql = quote_table(name, schema)
    rows = session.rows(named_query("relation", relation=literal(sql)))
    if not rows:
        raise OnlineOperationError(
            f"Table {sql} does not exist (search_path: see SHOW search_path).", table=sql
        )
    oid, found_schema, found_name, kind = rows[0]
    return Relation(oid, found_schema, found_name, kind == "p")


def partitions(session: Session, table: Relation) -> list[Relation]:
    """Return the partitions one level below, foreign tables left out."""
    rows = session.rows(named_query("partitions", oid=str(table.oid)))
    return [Relation(oid, schema, name, kind == "p") for oid, schema, name, kind in rows]


def find_index(session: Session, table: Relation, name: str) -> Index | None:
    """Return whatever has the index's name in the table's schema."""
    rows = session.rows(named_query("index", table=str(table.oid), name=literal(name)))
    return Index(*rows[0]) if rows else None


def find_constraint(session: Session, table: str, name: str) -> Constraint | None:
    """Return the table's constraint of that name."""
    rows = session.rows(named_query("constraint", relation=literal(table), name=literal(name)))
    if not rows:
        return None
    validated, definition, *facts = rows[0]
    return Constraint(validated, definition, tuple(facts))


def find_column(session: Session, table: str, name: str) -> ColumnFacts | None:
    """Return the table's column of that name."""
    rows = session.rows(named_query("column", relation=literal(table), name=literal(name)))
    return ColumnFacts(*rows[0]) if rows else None


def file_node(session: Session, table: str) -> int:
    """Return the number of the table's file: another one means that it was rewritten."""
    return int(
        session.rows(f"SELECT pg_catalog.pg_relation_filenode({literal(table)}::regclass)::bigint")[0][0]
    )


@contextlib.contextmanager
def empty_copy(session: Session, table: Relation) -> Iterator[Relation]:
    """Yield an empty temporary copy of the table (same name, same columns), gone at the block's end.

    ACCESS SHARE on the table, as any SELECT.
    """
    with session.transaction(keep=False):
        session.run(session.limits(session.lock_timeout_ms, session.policy.hold_limit_ms))
        session.run(f"CREATE TEMPORARY TABLE {quote(table.name)} (LIKE {table.sql})")
        yield relation(session, table.name, TEMPORARY_SCHEMA)._replace(schema=TEMPORARY_SCHEMA)
