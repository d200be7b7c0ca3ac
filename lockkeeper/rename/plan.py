"""What is on the old column, and what becomes of it: carried over to the new one, or refused by name.

The catalogue's own dependencies are read (pg_depend), so nothing is overlooked; what this module does not
know is refused, never ignored. Reading changes nothing and takes no lock beyond that of a SELECT on
catalogues.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lockkeeper.errors import PlanRefusedError
from lockkeeper.online import catalog
from lockkeeper.online.catalog import Relation
from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.ledger import entries, named_query
from lockkeeper.rename.transitions import OVER, Stage

FOREIGN_KEY_NOT_VALID_ON_PARTITIONED = 180000

CARRIED = {
    "class i": "index",
    "class I": "index",
    "constraint c": "check",
    "constraint u": "unique constraint",
    "constraint p": "primary key",
    "constraint f": "foreign key",
    "constraint incoming f": "foreign key that points here",
    "rule v": "view",
    "class S": "sequence",
    "pg_statistic_ext": "statistics",
}
ON_THE_TABLE = frozenset(CARRIED) - {"rule v", "class S"}
"""What is made a second time for the new column, and goes with the old one."""
IGNORED = frozenset({"default", "ours", "constraint n"})  # NOT NULL and DEFAULT are facts of the column
WHY = {
    "rule m": "a materialized view cannot be replaced online: drop it first, make it again afterwards",
    "trigger": "a trigger of yours names the column: drop it first, make it for both columns",
    "generated": "a generated column is computed from it: drop that first, add it again afterwards",
    "pg_policy": "a row security policy names it: rewrite the policy first",
    "pg_publication_rel": "a publication lists the column or filters by it: alter the publication first",
    "pg_proc": "a function with a parsed body names it: drop it first, make it again afterwards",
    "constraint x": "an exclusion constraint cannot be added online",
    "constraint t": "a constraint trigger names the column: drop it first",
}


class Node(NamedTuple):
    """A table of the tree: the table itself, a partition, or one that inherits."""

    relation: Relation
    kind: str
    is_partition: bool
    rows: int
    size_bytes: int


class Dependent(NamedTuple):
    """Something that depends on the column."""

    kind: str
    oid: int
    words: str


@dataclass(frozen=True)
class RenamePlan:
    """What a change would do. ``refused`` must be empty before anything is touched."""

    change: ColumnChange
    table: str
    old_type: str
    new_type: str
    rows_estimate: int
    size_bytes: int
    carried: tuple[str, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    dependents: tuple[Dependent, ...] = ()

    def refuse(self) -> None:
        """Raise PlanRefusedError when something is in the way."""
        if self.refused:
            raise PlanRefusedError(self.change.subject, self.refused)

    def oids(self, *kinds: str) -> list[int]:
        """Return the numbers of the dependents of these kinds."""
        return [each.oid for each in self.dependents if each.kind in kinds]


def make_plan(session: Session, change: ColumnChange) -> RenamePlan:
    """Read the catalogue and decide.

    Raises:
        PlanRefusedError: the table or the column does not exist.
        OnlineOperationError: the same, of the table.
    """
    table = catalog.relation(session, change.table_name, change.schema_name)
    facts = column_facts(session, table.oid, change.old)
    if facts is None:
        raise PlanRefusedError(change.subject, [f"table {table.sql} has no column {quote(change.old)}"])
    nodes = tree(session, table)
    dependents = dependents_of(session, table.oid, change.old)
    carried, refused = _judge_dependents(change, dependents)
    new_type = change.new_type or str(facts["type"])
    refused += _refused_by_facts(session, change, table, facts) + _refused_by_tree(
        session, change, nodes, dependents
    )
    refused += _refused_by_neighbours(session, change, table, dependents)
    return RenamePlan(
        change=change, table=table.sql, old_type=str(facts["type"]), new_type=new_type,
        rows_estimate=sum(node.rows for node in nodes), size_bytes=sum(node.size_bytes for node in nodes),
        carried=tuple(carried + _carried_facts(facts)), refused=tuple(refused),
        notes=tuple(_notes(session, table, change)), nodes=tuple(nodes), facts=facts,
        dependents=tuple(dependents),
    )  # fmt: skip


def column_facts(session: Session, oid: int, column: str) -> dict[str, Any] | None:
    """Return what the catalogue says of a column, or None."""
    rows = session.rows(named_query("column_facts", oid=str(oid), column=literal(column)))
    return dict(json.loads(rows[0][0])) if rows else None


def tree(session: Session, table: Relation) -> list[Node]:
    """Return the table and all below it."""
    rows = session.rows(named_query("tree", oid=str(table.oid)))
    return [
        Node(Relation(int(oid), schema, name, kind == "p"), kind, is_partition, int(rows_), int(size))
        for oid, schema, name, kind, is_partition, rows_, size in rows
    ]


def dependents_of(session: Session, oid: int, column: str) -> list[Dependent]:
    """Return what depends on a column."""
    rows = session.rows(named_query("dependents", oid=str(oid), column=literal(column)))
    return [Dependent(kind, int(number), words) for kind, number, words in rows]


def _judge_dependents(change: ColumnChange, dependents: list[Dependent]) -> tuple[list[str], list[str]]:
    carried, refused = [], []
    for each in dependents:
        if each.kind in IGNORED:
            continue
        if each.kind == "rule v" and not change.is_plain:
            refused.append(
                f"{each.words}: a view's column cannot change its type; drop it, make it again afterwards"
            )
        elif each.kind in CARRIED:
            carried.append(f"{CARRIED[each.kind]}: {each.words}")
        else:
            refused.append(
                f"{each.words}: {WHY.get(each.kind, 'nobody has taught Lockkeeper to carry this over')}"
            )
    return carried, refused


def _carried_facts(facts: dict[str, Any]) -> list[str]:
    found = ["NOT NULL"] if facts["not_null"] else []
    found += [
        f"{name} {facts[name]}" for name in ("default", "comment", "collation", "storage") if facts[name]
    ]
    found += [f"identity with {facts['sequence']}"] if facts["identity"] else []
    return found + [f"grant {str(grant).split(' (')[0]}" for grant in facts["grants"] or ()]


def _refused_by_facts(
    session: Session, change: ColumnChange, table: Relation, facts: dict[str, Any]
) -> list[str]:
    refused = []
    if facts["generated"]:
        refused.append(f"{quote(change.old)} is a generated column: nobody can write it")
    if facts["partition_key"]:
        refused.append(f"{quote(change.old)} is part of the partition key, which is fixed")
    if facts["inherited"]:
        refused.append(f"{quote(change.old)} comes from a parent table: change it there")
    for name in {change.working_name, change.hidden_name}:
        if catalog.find_column(session, table.sql, name) is not None:
            refused.append(f"table {table.sql} has a column {quote(name)} already")
    return refused


def _refused_by_tree(
    session: Session, change: ColumnChange, nodes: list[Node], dependents: list[Dependent]
) -> list[str]:
    refused = [
        f"{node.relation.sql} is a foreign table: no trigger can keep it in step with its partitions"
        for node in nodes
        if node.kind == "f"
    ]
    kinds = {each.kind for each in dependents}
    if len(nodes) > 1 and kinds & {"constraint u", "constraint p", "constraint incoming f"}:
        refused.append(
            "a unique constraint of a table with partitions or children cannot be made from an index"
        )
    version = session.server_version_num
    if nodes[0].kind == "p" and "constraint f" in kinds and version < FOREIGN_KEY_NOT_VALID_ON_PARTITIONED:
        refused.append(
            "a foreign key of a partitioned table can be added NOT VALID from PostgreSQL 18 on only"
        )
    for node in nodes[1:]:
        refused += [
            f"{each.words}: it is on {node.relation.sql} alone; make it on the parent, or drop it first"
            for each in dependents_of(session, node.relation.oid, change.old)
            if each.kind not in IGNORED and not _comes_from_parent(session, each)
        ]
    return refused


def _refused_by_neighbours(
    session: Session, change: ColumnChange, table: Relation, dependents: list[Dependent]
) -> list[str]:
    """Name what another change of the table, which is not over, has in common with this one.

    Each makes an index or constraint of both columns again for its own new one, and none for both new ones:
    it would be gone with the two old columns.
    """
    refused, mine = [], {change.old, change.working_name, change.hidden_name}
    where = f"schema_name = {literal(table.schema)} AND table_name = {literal(table.name)}"
    for each in entries(session, where):
        other = each.change
        if each.stage in (*OVER, Stage.PLANNED) or other.old == change.old:
            continue  # of one column the ledger lets only one change go on
        subject = f"{other.subject} (change {each.id}, {each.stage})"
        if taken := mine & {other.old, other.new, other.working_name, other.hidden_name}:
            refused.append(f"{', '.join(sorted(taken))} belongs to {subject}: drop or abort that first")
        theirs = {
            (one.kind, one.oid)
            for name in (other.old, other.working_name, other.hidden_name)
            for one in dependents_of(session, table.oid, name)
        }
        refused += [
            f"{one.words} is on the columns of {subject}, too: drop or abort that first"
            for one in dependents
            if one.kind in ON_THE_TABLE and (one.kind, one.oid) in theirs
        ]
    return refused


def _comes_from_parent(session: Session, each: Dependent) -> bool:
    if each.kind.startswith("class"):
        query = f"SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = {each.oid})"
    elif each.kind.startswith("constraint"):
        query = (
            f"SELECT coninhcount > 0 OR conparentid <> 0 FROM pg_catalog.pg_constraint WHERE oid = {each.oid}"
        )
    else:
        return False
    return bool(session.rows(query)[0][0])


def _notes(session: Session, table: Relation, change: ColumnChange) -> list[str]:
    publications = session.rows(
        "SELECT pubname::text FROM pg_catalog.pg_publication_tables WHERE "
        f"schemaname = {literal(table.schema)} AND tablename = {literal(table.name)} "
        "AND pubname NOT LIKE 'lockkeeper%'"
    )
    notes = [
        f"publication {name} sends every column: add {quote(change.working_name)} on its subscribers first, "
        "or they stop at the first row"
        for (name,) in publications
    ]
    functions = session.rows(
        named_query("functions_naming", table=literal(table.name), column=literal(change.old))
    )
    notes += [
        f"function {name} has {change.old} in its text: look whether it means this column"
        for (name,) in functions
    ]
    return notes
