"""Takes note of what a statement changes, so that the next one is judged by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.known import Check, Column, Index, Known, never_null, shown
from lockkeeper.lint.names import Name, of_parts, of_relation
from lockkeeper.lint.parsing import Node, Parsed
from lockkeeper.lint.types import of_type_name

# Actions of ALTER TABLE that take less than ACCESS EXCLUSIVE on the table itself.
_WEAKER = frozenset({
    pb.AT_ValidateConstraint, pb.AT_SetStatistics, pb.AT_ClusterOn, pb.AT_DropCluster, pb.AT_AttachPartition,
    pb.AT_SetRelOptions, pb.AT_ResetRelOptions, pb.AT_SetOptions, pb.AT_ResetOptions,
    pb.AT_EnableTrig, pb.AT_EnableAlwaysTrig, pb.AT_EnableReplicaTrig, pb.AT_EnableTrigAll,
    pb.AT_EnableTrigUser, pb.AT_DisableTrig, pb.AT_DisableTrigAll, pb.AT_DisableTrigUser,
})  # fmt: skip


def made_by(statements: Iterable[Parsed], known: Known) -> set[tuple[str, Name]]:
    """Return what a revision makes: views, functions, types ("any") and policies by their table."""
    made: set[tuple[str, Name]] = set()
    for parsed in statements:
        node, kind = parsed.node, parsed.kind
        names: list[Name] = []
        if kind == "view_stmt":
            names = [of_relation(node.view)]
        elif kind == "create_table_as_stmt":
            names = [of_relation(node.into.rel)]
        elif kind in ("create_stmt", "create_foreign_table_stmt"):
            names = [of_relation(node.relation if kind == "create_stmt" else node.base_stmt.relation)]
        elif kind == "create_function_stmt":
            names = [of_parts(node.funcname)]
        elif kind in ("create_enum_stmt", "create_range_stmt"):
            names = [of_parts(node.type_name)]
        elif kind == "create_domain_stmt":
            names = [of_parts(node.domainname)]
        elif kind == "create_policy_stmt":
            made.add(("policy", known.key(of_relation(node.table))))
        elif kind == "rename_stmt" and node.rename_type in (pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_TYPE):
            names = [Name(node.relation.schemaname, node.newname)]
        made.update(("any", known.key(name)) for name in names)
    return made


def learn(parsed: Parsed, known: Known) -> None:
    """Update ``known`` by one statement."""
    handler = _HANDLERS.get(parsed.kind)
    if handler is not None:
        handler(parsed.node, known, " ".join(parsed.text.split())[:80])


def _table_made(node: Node, known: Known, _text: str) -> None:
    table = known.key(of_relation(node.relation))
    if node.if_not_exists and table in known.columns:
        return  # it is there already, so nothing is made
    known.new_tables.add(table)
    columns = known.columns.setdefault(table, {})
    for element in node.table_elts:
        if element.WhichOneof("node") == "column_def":
            columns[element.column_def.colname] = _column(element.column_def)


def _column(definition: Node) -> Column:
    kinds = {each.constraint.contype for each in definition.constraints}
    strict = bool(kinds & {pb.CONSTR_NOTNULL, pb.CONSTR_PRIMARY, pb.CONSTR_IDENTITY})
    return Column(of_type_name(definition.type_name), strict)


def _query_made(node: Node, known: Known, _text: str) -> None:
    known.new_tables.add(known.key(of_relation(node.into.rel)))


def _selected_into(node: Node, known: Known, _text: str) -> None:
    if node.HasField("into_clause"):
        known.new_tables.add(known.key(of_relation(node.into_clause.rel)))


def _index_made(node: Node, known: Known, _text: str) -> None:
    if node.idxname:
        name = Name(node.relation.schemaname, node.idxname)
        known.new_indexes[known.key(name)] = of_relation(node.relation)
        columns = tuple(each.index_elem.name for each in node.index_params if each.index_elem.name)
        known.indexes[known.key(name)] = Index(of_relation(node.relation), columns)


def _table_changed(node: Node, known: Known, text: str) -> None:
    table = known.key(of_relation(node.relation))
    if node.objtype != pb.OBJECT_TABLE:
        return
    for each in node.cmds:
        command = each.alter_table_cmd
        if not (command.subtype in _WEAKER or _is_foreign_key(command)) and table not in known.new_tables:
            known.exclusive.setdefault(table, text)
        _column_changed(table, command, known)
        if command.subtype == pb.AT_AddConstraint:
            _constraint_added(table, getattr(command, "def").constraint, known)
        elif command.subtype == pb.AT_ValidateConstraint:
            for check in known.checks.get(table, ()):
                check.validated |= check.name == command.name
        elif command.subtype == pb.AT_DropConstraint:
            known.checks[table] = [one for one in known.checks.get(table, ()) if one.name != command.name]


def _is_foreign_key(command: Node) -> bool:
    """ADD FOREIGN KEY takes SHARE ROW EXCLUSIVE only."""
    if command.subtype != pb.AT_AddConstraint:
        return False
    return bool(getattr(command, "def").constraint.contype == pb.CONSTR_FOREIGN)


def _column_changed(table: Name, command: Node, known: Known) -> None:
    columns = known.columns.setdefault(table, {})
    definition = getattr(command, "def").column_def
    if command.subtype == pb.AT_AddColumn:
        columns[definition.colname] = replace(_column(definition), added=True)
    elif command.subtype == pb.AT_AlterColumnType:
        before = columns.get(command.name) or Column(None)
        columns[command.name] = replace(before, type=of_type_name(definition.type_name))
    elif command.subtype in (pb.AT_SetNotNull, pb.AT_DropNotNull):
        column = columns.setdefault(command.name, Column(None))
        column.not_null = command.subtype == pb.AT_SetNotNull
    elif command.subtype == pb.AT_DropColumn:
        columns.pop(command.name, None)


def _constraint_added(table: Name, constraint: Node, known: Known) -> None:
    if constraint.skip_validation:
        known.added.add((table, constraint.conname))
    if constraint.contype == pb.CONSTR_CHECK:
        expression, columns = shown(constraint.raw_expr), never_null(constraint.raw_expr)
    elif constraint.contype == pb.CONSTR_NOTNULL:
        columns = frozenset(each.string.sval for each in constraint.keys)
        expression = ""
    else:
        return
    check = Check(constraint.conname, columns, not constraint.skip_validation, expression)
    known.checks.setdefault(table, []).append(check)


def _renamed(node: Node, known: Known, text: str) -> None:
    table = of_relation(node.relation)
    if node.rename_type == pb.OBJECT_TABLE:
        known.rename_table(table, Name(table.schema, node.newname))
    elif node.rename_type == pb.OBJECT_COLUMN:
        columns = known.columns.get(known.key(table), {})
        if node.subname in columns:
            columns[node.newname] = columns.pop(node.subname)
    if node.rename_type in (pb.OBJECT_TABLE, pb.OBJECT_COLUMN):
        known.exclusive.setdefault(known.key(table), text)


def _enum_changed(node: Node, known: Known, _text: str) -> None:
    made_here = ("any", known.key(of_parts(node.type_name))) in known.made_in_revision
    if node.new_val and not node.old_val and not made_here:
        known.new_enum_values.add(node.new_val)


def _domain_made(node: Node, known: Known, _text: str) -> None:
    kinds = {each.constraint.contype for each in node.constraints}
    if kinds & {pb.CONSTR_CHECK, pb.CONSTR_NOTNULL}:
        known.domains.add(known.key(of_parts(node.domainname)))


def _locked(node: Node, known: Known, text: str) -> None:
    for each in node.relations:
        known.exclusive.setdefault(known.key(of_relation(each.range_var)), text)


_HANDLERS = {
    "create_stmt": _table_made,
    "create_table_as_stmt": _query_made,
    "select_stmt": _selected_into,
    "index_stmt": _index_made,
    "alter_table_stmt": _table_changed,
    "rename_stmt": _renamed,
    "alter_enum_stmt": _enum_changed,
    "create_domain_stmt": _domain_made,
    "truncate_stmt": _locked,
}
