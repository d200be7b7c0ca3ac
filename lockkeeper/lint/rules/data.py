"""Writes to many rows, and reads of whole tables while others are locked out."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.known import shown
from lockkeeper.lint.names import Name, of_parts, of_relation, quoted
from lockkeeper.lint.parsing import Node, descendants, rewrite
from lockkeeper.lint.verdicts import Scene, Verdict, cleared, judges, steps, warning


class Reach(Enum):
    """How many rows a WHERE can leave, as far as its text tells."""

    FEW = "few"
    UNCLEAR = "unclear"
    ALL = "all"


@judges("update_stmt", "delete_stmt", "merge_stmt")
def write_rows(node: Node, scene: Scene) -> Iterator[Verdict]:
    """UPDATE and DELETE: row locks on all they touch until the end, and worse beside DDL."""
    table = of_relation(node.relation)
    if table.name == scene.known.context.version_table:
        return
    merging = scene.parsed.kind == "merge_stmt"
    reach = Reach.UNCLEAR if merging else reach_of(node.where_clause)
    if reach is Reach.UNCLEAR and _has_limit(node):
        reach = Reach.FEW
    if reach is Reach.FEW:
        yield cleared("whole-table-write", "its WHERE picks rows by key")
        return
    held = {key: text for key, text in scene.known.exclusive.items() if key not in scene.known.new_tables}
    if held:
        yield scene.unless_harmless(table, _beside_ddl(table, node, held, scene))
    else:
        yield scene.unless_harmless(table, _alone(table, node, reach, scene.parsed.kind))


def _beside_ddl(table: Name, node: Node, held: dict[Name, str], scene: Scene) -> Verdict:
    locked = ", ".join(str(scene.known.shown(key)) for key in held)
    return Verdict(
        "write-with-ddl",
        f"While the rows of {table} are written, the transaction still holds ACCESS EXCLUSIVE on {locked}: "
        f"nobody reads or writes that until the commit. From: {next(iter(held.values()))}",
        steps(
            "-- in a later revision, outside of a transaction, batch by batch:",
            _batch(table, node, scene.parsed.kind),
        ),
    )


def _alone(table: Name, node: Node, reach: Reach, kind: str) -> Verdict:
    verb = {"update_stmt": "UPDATE", "delete_stmt": "DELETE"}.get(kind, "MERGE")
    advice = steps("-- outside of a transaction, batch by batch:", _batch(table, node, kind))
    if reach is Reach.UNCLEAR:
        message = f"How many rows of {table} this {verb} locks at once cannot be told from its text."
        return warning("whole-table-write", message, advice)
    return Verdict(
        "whole-table-write",
        f"One {verb} over all of {table}: every row stays locked until the end, replicas lag and the table "
        "swells by its own size.",
        advice,
    )


def _batch(table: Name, node: Node, kind: str) -> str:
    """Return the statement, kept to a range of the table's key."""
    if kind == "merge_stmt":
        return f"-- MERGE INTO {table} for one range of keys after the other, with a pause"
    copy = type(node)()
    copy.CopyFrom(node)
    copy.ClearField("where_clause")
    also = f"({shown(node.where_clause)}) AND " if node.HasField("where_clause") else ""
    statement = rewrite(kind, copy)
    return (
        f"{statement} WHERE {also}id > :last AND id <= :last + 5000; -- id: the key of {table}; pause between"
    )


def reach_of(where: Node) -> Reach:
    """Judge a WHERE (a ``pb.Node``) by its text: keys and ranges with two ends pick few rows."""
    kind = where.WhichOneof("node")
    if kind is None or kind == "null_test" or kind == "boolean_test" or kind == "a_const":
        return Reach.ALL
    if kind == "bool_expr":
        return _reach_of_bool(where.bool_expr)
    if kind == "sub_link":
        limited = where.sub_link.subselect.select_stmt.HasField("limit_count")
        return Reach.FEW if limited else Reach.UNCLEAR
    if kind == "a_expr":
        return _reach_of_comparison(where.a_expr)
    return Reach.UNCLEAR


def _reach_of_bool(node: Node) -> Reach:
    reaches = [reach_of(each) for each in node.args]
    if node.boolop == pb.AND_EXPR:
        compared = [each.a_expr for each in node.args if each.WhichOneof("node") == "a_expr"]
        operators = {each.name[0].string.sval for each in compared if each.name}
        if Reach.FEW in reaches or (operators & {"<", "<="} and operators & {">", ">="}):
            return Reach.FEW
        return Reach.UNCLEAR if Reach.UNCLEAR in reaches else Reach.ALL
    if node.boolop == pb.OR_EXPR:
        return (
            Reach.FEW
            if set(reaches) == {Reach.FEW}
            else (Reach.ALL if Reach.ALL in reaches else Reach.UNCLEAR)
        )
    return Reach.ALL  # NOT: all but a few


def _reach_of_comparison(node: Node) -> Reach:
    if node.kind == pb.AEXPR_BETWEEN:
        return Reach.FEW
    operator = node.name[0].string.sval if node.name else ""
    if operator == "=" and node.kind in (pb.AEXPR_OP, pb.AEXPR_IN, pb.AEXPR_OP_ANY):
        sides = [side.column_ref.fields[-1].string.sval for side in (node.lexpr, node.rexpr)
                 if side.WhichOneof("node") == "column_ref"]  # fmt: skip
        if len(sides) == 1 and _is_key(sides[0]):
            return Reach.FEW
    if not any(kind == "column_ref" for kind, _ in descendants(node)):
        return Reach.ALL  # 1 = 1
    if operator in ("<>", "!=") or node.kind in (pb.AEXPR_DISTINCT, pb.AEXPR_NOT_DISTINCT):
        return Reach.ALL
    return Reach.UNCLEAR


def _has_limit(node: Node) -> bool:
    """Whether the statement, or a query within it, says LIMIT."""
    queries = [each for _, each in descendants(node) if each.DESCRIPTOR.name == "SelectStmt"]
    return any(each.HasField("limit_count") for each in queries)


def _is_key(column: str) -> bool:
    return column in {"id", "uuid", "guid", "ctid", "key", "pk", "slug", "email", "code", "name"} or (
        column.endswith(("_id", "_uuid", "_key"))
    )


@judges("select_stmt", "insert_stmt", "create_table_as_stmt")
def read_while_locked(node: Node, scene: Scene) -> Iterator[Verdict]:
    """A query over a table that the transaction has locked others out of."""
    held = scene.known.exclusive
    if not held or _has_limit(node):
        return
    tables = {of_relation(each) for kind, each in descendants(node) if kind in ("range_var",)}
    for table in tables:
        key = scene.known.key(table)
        if key in held:
            yield scene.unless_harmless(table, Verdict(
                "lock-held-while-scanning",
                f"Reads {table} while the transaction still holds ACCESS EXCLUSIVE on it, from: {held[key]}",
                "-- before it, or in a revision of its own",
            ))  # fmt: skip


@judges("variable_set_stmt")
def session_setting(node: Node, scene: Scene) -> Iterator[Verdict]:
    """Settings that switch protection off."""
    value = ""
    if node.args and node.args[0].WhichOneof("node") == "a_const":
        constant = node.args[0].a_const
        value = constant.sval.sval or (
            "" if constant.WhichOneof("val") != "ival" else str(constant.ival.ival)
        )
    if node.name == "session_replication_role" and value.lower() not in ("origin", ""):
        yield Verdict(
            "session-replication-role",
            f"With session_replication_role = {value} no trigger fires: foreign keys are not checked and "
            "dual writes are lost.",
            "-- leave it, and let the triggers do their work",
        )
    elif node.name == "lock_timeout" and value in ("0", "0s", "0ms"):
        yield warning(
            "no-lock-timeout",
            "lock_timeout = 0 takes away the limit that Lockkeeper sets: a waiting ALTER TABLE then holds up "
            "everybody behind it for as long as it waits.",
            "SET LOCAL lock_timeout = '1s';",
        )


@judges("alter_seq_stmt")
def restart_sequence(node: Node, scene: Scene) -> Iterator[Verdict]:
    """A sequence set back gives numbers out twice."""
    sequence = of_relation(node.sequence)
    if any(each.def_elem.defname == "restart" for each in node.options):
        yield warning(
            "sequence-restart",
            f"{sequence} may give out numbers that are in use already.",
            f"SELECT setval('{sequence}', (SELECT max(id) FROM ...));",
        )


@judges("alter_domain_stmt", "create_domain_stmt")
def domain_constraint(node: Node, scene: Scene) -> Iterator[Verdict]:
    """Constraints of domains are checked on every table that uses the domain, all of them locked."""
    rule = "domain-constraint"
    if scene.parsed.kind == "create_domain_stmt":
        name = of_parts(node.domainname)
        kinds = {each.constraint.contype for each in node.constraints}
        if kinds & {pb.CONSTR_CHECK, pb.CONSTR_NOTNULL}:
            yield Verdict(
                rule,
                f"The constraints of the domain {name} can later only be changed with all its tables locked.",
                f"-- a CHECK of the table instead of the domain {name}",
            )
        return
    name = of_parts(node.type_name)
    constraint = getattr(node, "def").constraint
    if ("any", scene.known.key(name)) in scene.known.made_in_revision:
        yield cleared(rule, f"{name} is made by the same revision")
    elif node.subtype == "C" and constraint.skip_validation:
        yield cleared(rule, "NOT VALID reads no row")
    elif node.subtype in ("C", "O") or (node.subtype == "V" and scene.known.version < 180000):
        check = quoted(constraint.conname or node.name or f"{name.name}_check")
        yield Verdict(
            rule,
            f"Every table with a column of the domain {name} is read under SHARE: nobody writes it then.",
            steps(
                f"ALTER DOMAIN {name} ADD CONSTRAINT {check} CHECK (...) NOT VALID;",
                f"-- outside of busy hours: ALTER DOMAIN {name} VALIDATE CONSTRAINT {check};",
            ),
        )
