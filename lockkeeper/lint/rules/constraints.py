"""Constraints: what checks existing rows does so while others wait, unless it is done in two steps."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.known import shown
from lockkeeper.lint.names import Name, of_relation, quoted
from lockkeeper.lint.parsing import Node, rewrite
from lockkeeper.lint.verdicts import AUTOCOMMIT, Scene, Verdict, cleared, steps

_AT = "in a later transaction (a revision of its own):"
_NOT_VALID = {
    pb.CONSTR_CHECK: "check-without-not-valid",
    pb.CONSTR_FOREIGN: "foreign-key-without-not-valid",
    pb.CONSTR_NOTNULL: "set-not-null-without-check",
}
_INDEXED = {pb.CONSTR_UNIQUE: "unique-without-index", pb.CONSTR_PRIMARY: "primary-key-without-index"}


def add_constraint(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """ADD CONSTRAINT of a table."""
    yield from fresh_constraint(table, getattr(command, "def").constraint, scene)


def fresh_constraint(table: Name, constraint: Node, scene: Scene, column: str = "") -> Iterator[Verdict]:
    """Judge a new constraint, of the table or of a ``column`` that is being added."""
    kind = constraint.contype
    if kind in _INDEXED:
        yield from _indexed(table, constraint, scene, column)
    elif kind == pb.CONSTR_EXCLUSION:
        yield scene.unless_harmless(table, Verdict(
            "exclusion-constraint",
            f"An EXCLUDE constraint builds its index under ACCESS EXCLUSIVE: nobody reads or writes {table} "
            "meanwhile, and there is no way to build it beside them.",
            f"-- make a new table with the constraint, fill it in batches, and let it take {table}'s place",
        ))  # fmt: skip
    elif kind in _NOT_VALID and not (column and kind == pb.CONSTR_NOTNULL):
        yield from _validated(table, constraint, scene, column)


def _validated(table: Name, constraint: Node, scene: Scene, column: str) -> Iterator[Verdict]:
    rule = _NOT_VALID[constraint.contype]
    if constraint.skip_validation:
        yield cleared(rule, "NOT VALID reads no row")
        return
    name = constraint.conname or _default_name(table, constraint, column)
    what = f"The new constraint {quoted(name)} on {table}"
    message = f"{what} is checked under ACCESS EXCLUSIVE: nobody reads or writes {table} meanwhile."
    if constraint.contype == pb.CONSTR_FOREIGN:
        other = of_relation(constraint.pktable)
        message = f"{what} is checked under SHARE ROW EXCLUSIVE: nobody writes {table} or {other} meanwhile."
        if column and scene.known.key(other) != scene.known.key(table):
            rule = "add-column-with-foreign-key"
            message = (
                f"{what} keeps everybody out of {table} (ACCESS EXCLUSIVE, for the column) while it waits "
                f"for all who write {other} (SHARE ROW EXCLUSIVE)."
            )
    yield scene.unless_harmless(table, Verdict(
        rule,
        message,
        steps(
            f"-- add {quoted(column)} without it; then:" if column else "",
            f"ALTER TABLE {table} ADD {_not_valid(constraint, name, column)};",
            f"-- {_AT}",
            f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted(name)};",
        ),
    ))  # fmt: skip


def _not_valid(constraint: Node, name: str, column: str) -> str:
    """Return the constraint's definition, named and NOT VALID."""
    if constraint.contype == pb.CONSTR_NOTNULL:
        keys = quoted(constraint.keys[0].string.sval)
        return f"CONSTRAINT {quoted(name)} NOT NULL {keys} NOT VALID"
    if constraint.contype == pb.CONSTR_CHECK:
        return f"CONSTRAINT {quoted(name)} CHECK ({shown(constraint.raw_expr)}) NOT VALID"
    statement = pb.AlterTableStmt(objtype=pb.OBJECT_TABLE)
    statement.relation.CopyFrom(pb.RangeVar(relname="t", inh=True, relpersistence="p"))
    command = statement.cmds.add().alter_table_cmd
    command.subtype = pb.AT_AddConstraint
    command.behavior = pb.DROP_RESTRICT
    copy = getattr(command, "def").constraint
    copy.CopyFrom(constraint)
    copy.conname, copy.skip_validation, copy.initially_valid = name, True, False
    if column:
        copy.fk_attrs.add().string.sval = column
    return rewrite("alter_table_stmt", statement).removeprefix("ALTER TABLE t ADD ")


def _default_name(table: Name, constraint: Node, column: str) -> str:
    """Return the name that PostgreSQL would give, near enough for advice."""
    columns = [each.string.sval for each in constraint.fk_attrs or constraint.keys] or [column]
    suffix = {pb.CONSTR_FOREIGN: "fkey", pb.CONSTR_CHECK: "check", pb.CONSTR_UNIQUE: "key"}
    middle = [each for each in columns if each]
    return "_".join([table.name, *middle, suffix.get(constraint.contype, "not_null")])


def _indexed(table: Name, constraint: Node, scene: Scene, column: str) -> Iterator[Verdict]:
    rule = _INDEXED[constraint.contype]
    primary = constraint.contype == pb.CONSTR_PRIMARY
    if constraint.indexname:
        yield cleared(rule, f"the index {quoted(constraint.indexname)} is there already")
        if primary:
            yield from _nullable_key(table, constraint.indexname, scene)
        return
    columns = [quoted(each.string.sval) for each in constraint.keys] or [quoted(column)]
    default = f"{table.name}_pkey" if primary else _default_name(table, constraint, column)
    name = quoted(constraint.conname or default)
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    kind = "PRIMARY KEY" if primary else "UNIQUE"
    yield scene.unless_harmless(table, Verdict(
        rule,
        f"{kind} builds its index under ACCESS EXCLUSIVE: nobody reads or writes {table} meanwhile.",
        steps(
            f"-- outside of a transaction, in a revision of its own ({AUTOCOMMIT}):",
            f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({', '.join(columns)}){nulls};",
            "-- then:",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name};",
            f"-- its columns must be NOT NULL before that: {', '.join(columns)}" if primary else "",
        ),
    ))  # fmt: skip


def _nullable_key(table: Name, index: str, scene: Scene) -> Iterator[Verdict]:
    """PRIMARY KEY USING INDEX makes its columns NOT NULL, and reads the table for each that is not."""
    known = scene.known.indexes.get(scene.known.key(Name(table.schema, index)))
    for column in known.columns if known is not None else ():
        facts = scene.known.column(table, column)
        if facts is None or facts.not_null or scene.known.never_null_by_check(table, column):
            continue
        yield scene.unless_harmless(table, Verdict(
            "set-not-null-without-check",
            f"PRIMARY KEY makes {quoted(column)} NOT NULL and reads all of {table} for that under ACCESS "
            "EXCLUSIVE: nobody reads or writes it meanwhile.",
            not_null_advice(table, column),
        ))  # fmt: skip


def not_null_advice(table: Name, column: str) -> str:
    """Return the steps to NOT NULL that never read under ACCESS EXCLUSIVE."""
    check, name = quoted(f"{table.name}_{column}_not_null"), quoted(column)
    return steps(
        f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID;",
        "-- in a later transaction (a revision of its own):",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {check};",
        f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL;",
        f"ALTER TABLE {table} DROP CONSTRAINT {check};",
    )


def drop_constraint(table: Name, command: Node, scene: Scene, replaced: bool) -> Iterator[Verdict]:
    """DROP CONSTRAINT of a primary key, known by the name that PostgreSQL gives it (``<table>_pkey``).

    Args:
        table: whose.
        command: the action.
        scene: where it stands.
        replaced: the same ALTER TABLE gives the table another primary key.
    """
    rule, name = "drop-primary-key", quoted(command.name)
    if command.behavior == pb.DROP_CASCADE:
        yield scene.unless_new(table, Verdict(
            "drop-object",
            f"CASCADE drops the foreign keys that refer to {name} with it, unseen.",
            "-- drop what depends on it by name",
        ))  # fmt: skip
    if command.name != f"{table.name}_pkey":
        return
    if replaced:
        yield cleared(rule, "the same statement gives the table another one")
        return
    yield scene.unless_new(table, Verdict(
        rule,
        f"Without its primary key {table} takes rows twice, ON CONFLICT on it fails, replicas that know rows "
        "by it get no more updates, and what looked rows up by it reads the whole table.",
        steps(
            f"-- outside of a transaction, in a revision of its own ({AUTOCOMMIT}):",
            f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(table.name + '_new_key')} ON {table} (...);",
            "-- then, in one statement:",
            f"ALTER TABLE {table} DROP CONSTRAINT {name},",
            f"  ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {quoted(table.name + '_new_key')};",
        ),
    ))  # fmt: skip


def validate(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """VALIDATE CONSTRAINT lets others read and write, unless the transaction already locks them out."""
    key, name = scene.known.key(table), quoted(command.name)
    if (key, command.name) in scene.known.added:
        yield scene.unless_harmless(table, Verdict(
            "validate-in-same-transaction",
            f"{name} was added in the same transaction: its lock on {table} is held while VALIDATE reads the "
            "whole table, so NOT VALID gained nothing.",
            steps(f"-- {_AT}", f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};"),
        ))  # fmt: skip
    elif key in scene.known.exclusive:
        yield scene.unless_harmless(table, Verdict(
            "lock-held-while-scanning",
            f"VALIDATE reads all of {table} while the transaction still holds ACCESS EXCLUSIVE on it, from: "
            f"{scene.known.exclusive[key]}",
            steps(f"-- first, or {_AT}", f"ALTER TABLE {table} VALIDATE CONSTRAINT {name};"),
        ))  # fmt: skip
