"""What was on the old column, made again for the new one: indexes, constraints, statistics.

Definitions are the server's own words. To find the column in them without parsing, the old column is renamed
for a moment, in the transaction of the expand, to a word that occurs nowhere else: then a replacement of that
word is the definition for any other name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from lockkeeper.online import catalog, constraints, ddl, indexes, not_null
from lockkeeper.online.ddl import literal, quote, quote_table
from lockkeeper.online.session import Session
from lockkeeper.rename.change import CARRIED, ColumnChange
from lockkeeper.rename.ledger import named_query
from lockkeeper.rename.plan import RenamePlan


@dataclass(frozen=True)
class Carried:
    """One thing on the old column; in the definitions the column is called ``marker``."""

    kind: str
    schema: str
    name: str
    table: str
    table_schema: str
    definition: str
    unique: bool
    index_definition: str | None
    validated: bool
    incoming: bool
    no_inherit: bool
    comment: str | None
    replica_identity: bool
    marker: str

    @property
    def relation(self) -> str:
        """The table it is on, as SQL."""
        return quote_table(self.table, self.table_schema)

    def new_name(self, change: ColumnChange) -> str:
        """Return its name beside the old one, with the column's name in it replaced where it has that."""
        if not change.keeps_name and change.old in self.name:
            return ddl.derived_name(self.name.replace(change.old, change.new))
        return ddl.derived_name(self.name, CARRIED if change.keeps_name else change.new)

    def for_column(self, column: str, definition: str | None = None) -> str:
        """Return a definition for another column."""
        return (definition or self.definition).replace(self.marker, quote(column))

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)


def read(session: Session, plan: RenamePlan) -> list[Carried]:
    """Read the definitions in the open transaction. ACCESS EXCLUSIVE, for milliseconds."""
    marker = f"lockkeeper_marker_{secrets.token_hex(8)}"
    table, column = plan.table, quote(plan.change.old)
    session.run(f"ALTER TABLE {table} RENAME COLUMN {column} TO {marker}")
    rows = session.rows(
        named_query(
            "carried",
            oid=str(plan.nodes[0].relation.oid),
            column=literal(marker),
            indexes=_array(plan.oids("class i", "class I")),
            constraints=_array(
                plan.oids(*(f"constraint {kind}" for kind in ("c", "u", "p", "f", "incoming f")))
            ),
            statistics=_array(plan.oids("pg_statistic_ext")),
        )
    )
    session.run(f"ALTER TABLE {table} RENAME COLUMN {marker} TO {column}")
    return [_carried(row, marker) for row in rows]


def _array(oids: list[int]) -> str:
    return f"ARRAY[{', '.join(map(str, oids))}]"


def _carried(row: Any, marker: str) -> Carried:
    kind, schema, name, table, table_schema, definition, unique, index, flags, comment, identity = row
    validated, _, _, incoming, no_inherit = (flag == "true" for flag in flags or ("true", "", "", "", ""))
    return Carried(
        kind=kind, schema=schema, name=name, table=table, table_schema=table_schema, definition=definition,
        unique=bool(unique), index_definition=index, validated=validated, incoming=incoming,
        no_inherit=no_inherit, comment=comment, replica_identity=bool(identity), marker=marker,
    )  # fmt: skip


def make_all(
    session: Session, change: ColumnChange, carried: list[Carried], column: str, required: bool
) -> None:
    """Make everything for ``column``, each found again when it is there. Blocks nobody for long.

    Indexes first: foreign keys that point here need one.
    """
    order = {
        "index": 0,
        "constraint p": 1,
        "constraint u": 1,
        "statistics": 2,
        "constraint c": 3,
        "constraint f": 4,
    }
    if required:
        table = carried_table(session, change)
        not_null.set_not_null(session, table.name, column, table.schema)
    for each in sorted(carried, key=lambda one: order[one.kind]):
        _MAKERS[each.kind](session, each, each.new_name(change), column)


def carried_table(session: Session, change: ColumnChange) -> catalog.Relation:
    """Return the changed table."""
    return catalog.relation(session, change.table_name, change.schema_name)


def _make_index(session: Session, each: Carried, name: str, column: str) -> None:
    _build(session, each, name, each.for_column(column))
    if each.comment:
        comment = f"COMMENT ON INDEX {quote_table(name, each.schema)} IS {literal(each.comment)}"
        session.short(each.relation, comment)


def _build(session: Session, each: Carried, name: str, definition: str) -> None:
    """Build an index from a definition of pg_get_indexdef, under another name."""
    head, _, tail = definition.partition(" ON ")
    unique = "UNIQUE " if head.startswith("CREATE UNIQUE ") else ""
    table = catalog.relation(session, each.table, each.table_schema)
    indexes.build(session, table, name, f"CREATE {unique}INDEX CONCURRENTLY {quote(name)} ON {tail}")


def _make_unique(session: Session, each: Carried, name: str, column: str) -> None:
    if catalog.find_constraint(session, each.relation, name) is not None:
        return
    _build(session, each, name, each.for_column(column, each.index_definition))
    _, _, timing = each.definition.partition(")")
    statement = f"ALTER TABLE {each.relation} ADD CONSTRAINT {quote(name)} UNIQUE USING INDEX {quote(name)}"
    session.short(each.relation, f"{statement}{_timing(timing)}", *_comment(each, name))


def _make_primary(session: Session, each: Carried, name: str, column: str) -> None:
    """Only the index: a table has one primary key, and which column it is, the contract decides."""
    _build(session, each, name, each.for_column(column, each.index_definition))


def _timing(rest: str) -> str:
    return (
        " DEFERRABLE INITIALLY DEFERRED"
        if "INITIALLY DEFERRED" in rest
        else (" DEFERRABLE" if "DEFERRABLE" in rest else "")
    )


def _comment(each: Carried, name: str) -> list[str]:
    if not each.comment:
        return []
    return [f"COMMENT ON CONSTRAINT {quote(name)} ON {each.relation} IS {literal(each.comment)}"]


def _make_constraint(session: Session, each: Carried, name: str, column: str) -> None:
    """A check or a foreign key: NOT VALID, then validated beside readers and writers."""
    found = catalog.find_constraint(session, each.relation, name)
    definition = each.for_column(column).removesuffix(" NOT VALID")
    statement = f"ALTER TABLE {each.relation} ADD CONSTRAINT {quote(name)} {definition} NOT VALID"
    constraints.add_not_valid_then_validate(
        session, each.relation, name, statement, present=found is not None,
        valid=not each.validated or (found is not None and found.validated),
        finds=f"SELECT * FROM {each.relation}",
    )  # fmt: skip
    if each.comment:
        session.short(each.relation, *_comment(each, name))


def _make_statistics(session: Session, each: Carried, name: str, column: str) -> None:
    there = f"SELECT to_regclass({literal(each.relation)}) IS NOT NULL AND EXISTS ("
    there += "SELECT FROM pg_catalog.pg_statistic_ext "
    there += (
        f"WHERE stxname = {literal(name)} AND stxnamespace = {literal(quote(each.schema))}::regnamespace)"
    )
    if session.rows(there)[0][0]:
        return
    definition = each.for_column(column)
    before = f"CREATE STATISTICS {quote_table(each.name, each.schema)}"
    session.short(
        each.relation, definition.replace(before, f"CREATE STATISTICS {quote_table(name, each.schema)}", 1)
    )


_MAKERS: dict[str, Callable[[Session, Carried, str, str], None]] = {
    "index": _make_index,
    "constraint u": _make_unique,
    "constraint p": _make_primary,
    "constraint c": _make_constraint,
    "constraint f": _make_constraint,
    "statistics": _make_statistics,
}
