"""Autogenerate with online operations: give ``online_directives`` to Alembic in env.py.

    context.configure(..., process_revision_directives=lockkeeper.ops.online_directives)

What touches a table that exists already becomes online; what concerns a table made or dropped in the same
revision stays as it is, since nobody uses it yet (any more). Online operations come first, because they
commit. A foreign key to a table that is only being made needs that table first: then two revisions are
written, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation, ops
from alembic.runtime.migration import MigrationContext
from alembic.util import rev_id
from sqlalchemy import Column, MetaData
from sqlalchemy.exc import CompileError

from lockkeeper.online import ddl, types
from lockkeeper.ops import operations as online
from lockkeeper.ops.quarantine import Table, table_of, without_quarantine
from lockkeeper.ops.renames import ChangeTypeOp

IMPORT = "import lockkeeper.ops  # noqa: F401"
_CONCURRENTLY = "postgresql_concurrently"


def online_directives(
    context: MigrationContext, revision: Any, directives: list[ops.MigrationScript]
) -> None:
    """Rewrite generated revisions in place; on other databases than PostgreSQL leave them alone."""
    if context.dialect.name != "postgresql" or context.opts.get("render_as_batch"):
        return
    models = context.opts.get("target_metadata") or ()
    models = [models] if isinstance(models, MetaData) else list(models)
    written: list[ops.MigrationScript] = []
    for script in directives:
        written += _rewrite(script, models)
    directives[:] = written


def _rewrite(script: ops.MigrationScript, models: list[MetaData]) -> list[ops.MigrationScript]:
    """Return the script, or two: tables first when an online operation needs them."""
    scripts = [script]
    for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True):
        first = _online_first(upgrade, models)
        needed = _made(upgrade) & _referred(first)
        if needed and len(script.upgrade_ops_list) == 1:
            scripts = [_tables_apart(script, upgrade, downgrade), script]
        _online_first(downgrade, models)
    return scripts


def _online_first(container: ops.OpContainer, models: list[MetaData]) -> list[MigrateOperation]:
    """Convert the container's operations and sort them; return the online ones."""
    private = _made(container) | _dropped(container)
    back = isinstance(container, ops.DowngradeOps)
    operations = without_quarantine(list(_flat(container.ops)), models)
    several = _several_types(operations, back)
    converted = [new for each in operations for new in _convert(each, private, several, back)]
    first: list[MigrateOperation] = [each for each in converted if isinstance(each, online.Online)]
    container.ops[:] = first + [each for each in converted if not isinstance(each, online.Online)]
    return first


def _several_types(operations: Iterable[MigrateOperation], back: bool) -> set[Table]:
    """Return the tables of which more than one type would change: these changes stay Alembic's.

    One index or key may be on two of the columns: then the second is refused until the first is over, with
    the first committed.
    """
    tables = Counter(
        (op.schema, op.table_name)
        for op in operations
        if isinstance(op, ops.AlterColumnOp) and _rewrites(op, back)
    )
    return {table for table, columns in tables.items() if columns > 1}


def _flat(operations: Iterable[MigrateOperation]) -> Iterable[MigrateOperation]:
    for each in operations:
        if isinstance(each, ops.OpContainer):
            yield from _flat(each.ops)
        else:
            yield each


def _made(container: ops.OpContainer) -> set[Table]:
    return {(op.schema, op.table_name) for op in _flat(container.ops) if isinstance(op, ops.CreateTableOp)}


def _dropped(container: ops.OpContainer) -> set[Table]:
    return {(op.schema, op.table_name) for op in _flat(container.ops) if isinstance(op, ops.DropTableOp)}


def _referred(operations: Iterable[MigrateOperation]) -> set[Table]:
    return {
        (op.kw.get("referent_schema"), op.referent_table)
        for op in operations
        if isinstance(op, ops.CreateForeignKeyOp)
    }


def _tables_apart(
    script: ops.MigrationScript, upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps
) -> ops.MigrationScript:
    """Take what makes the new tables (and what drops them again) out into a revision before this one."""
    tables = _made(upgrade)
    earlier = ops.MigrationScript(
        rev_id(), ops.UpgradeOps(_take(upgrade, tables)), ops.DowngradeOps(_take(downgrade, tables)),
        message=f"{script.message or 'new tables'} (new tables)", imports=set(script.imports),
        head=script.head, splice=script.splice, branch_label=script.branch_label,
        version_path=script.version_path, depends_on=script.depends_on,
    )  # fmt: skip
    script.head, script.splice, script.branch_label, script.depends_on = earlier.rev_id, False, None, None
    return earlier


def _take(container: ops.OpContainer, tables: set[Table]) -> list[MigrateOperation]:
    everything = list(_flat(container.ops))
    taken = [each for each in everything if table_of(each) in tables]
    container.ops[:] = [each for each in everything if table_of(each) not in tables]
    return taken


# -- one operation ----------------------------------------------------------------------------------------


def _convert(
    operation: MigrateOperation, private: set[Table], several: set[Table], back: bool
) -> Sequence[MigrateOperation]:
    """Return what stands for the operation: online, unless its table is nobody's yet."""
    converter, table = _CONVERTERS.get(type(operation)), table_of(operation)
    if converter is None or table in private:
        return [operation]
    converted = converter(operation)
    if not isinstance(operation, ops.AlterColumnOp) or table in several or not _rewrites(operation, back):
        return converted
    others = [each for each in converted if each is not operation]
    # The way back goes in the other order: with its old type the column has the NULLs of that moment.
    changed = _change_type(operation, back)
    return [*changed, *others] if back else [*others, *changed]


def _rewrites(op: ops.AlterColumnOp, back: bool) -> bool:
    """Whether the change of type, on its way up, may rewrite the table, and a cast says all of it.

    A value too long for the new type fails ALTER TYPE, where a cast would cut it off: that stays Alembic's,
    and so does what the writers' sessions would cast differently, and what the operations cannot name.
    """
    if op.modify_type is None or op.existing_type is None or "postgresql_using" in op.kw:
        return False
    if "." in op.table_name:
        return False
    try:
        texts = [ddl.type_sql(each) for each in (op.existing_type, op.modify_type)]
    except CompileError:  # of a type that only the project's own renderer can write
        return False
    if any(" COLLATE " in text for text in texts):
        return False
    old, new = (types.of_sqlalchemy(text) for text in (reversed(texts) if back else texts))
    if types.depends_on_session(old, new) or (new is not None and types.cuts_off(new)):
        return False
    return old is None or new is None or not types.keeps_rows(old, new)


def _change_type(op: ops.AlterColumnOp, back: bool) -> Sequence[MigrateOperation]:
    """Take the change of type out; what else the operation changes stays Alembic's."""
    new = ChangeTypeOp(
        op.table_name, op.column_name, schema=op.schema, modify_type=op.modify_type,
        existing_type=op.existing_type,
    )  # fmt: skip
    new.back = back
    op.modify_type, op.existing_type = None, op.modify_type
    return [new, op] if op.has_changes() else [new]


def _create_index(op: Any) -> Sequence[MigrateOperation]:
    kw = {name: value for name, value in op.kw.items() if name != _CONCURRENTLY}
    new = online.CreateIndexOnlineOp(
        op.index_name, op.table_name, op.columns, schema=op.schema, unique=op.unique, **kw
    )
    return [new]


def _drop_index(op: Any) -> Sequence[MigrateOperation]:
    return [online.DropIndexOnlineOp(op.index_name, op.table_name, schema=op.schema, _reverse=op._reverse)]


def _foreign_key(op: Any) -> Sequence[MigrateOperation]:
    if not op.constraint_name:
        return [op]
    new = online.AddForeignKeyOnlineOp(
        op.constraint_name, op.source_table, op.referent_table, op.local_cols, op.remote_cols, **op.kw
    )
    return [new]


def _check(op: Any) -> Sequence[MigrateOperation]:
    if not op.constraint_name:
        return [op]
    return [
        online.AddCheckOnlineOp(op.constraint_name, op.table_name, op.condition, schema=op.schema, **op.kw)
    ]


def _unique(op: Any) -> Sequence[MigrateOperation]:
    if not op.constraint_name:
        return [op]
    return [
        online.AddUniqueOnlineOp(op.constraint_name, op.table_name, op.columns, schema=op.schema, **op.kw)
    ]


def _drop_constraint(op: Any) -> Sequence[MigrateOperation]:
    if not op.constraint_name:
        return [op]
    new = online.DropConstraintOnlineOp(
        op.constraint_name, op.table_name, type_=op.constraint_type, schema=op.schema, _reverse=op._reverse
    )
    return [new]


def _add_column(op: Any) -> Sequence[MigrateOperation]:
    """Keys and indexes of the column are operations of their own in what autogenerate finds."""
    column = op.column
    if column.computed is not None or column.identity is not None:
        return [op]
    bare: Column[Any] = Column(
        column.name, column.type, nullable=column.nullable, server_default=column.server_default,
        comment=column.comment,
    )  # fmt: skip
    return [online.AddColumnOnlineOp(op.table_name, bare, schema=op.schema)]


def _drop_column(op: Any) -> Sequence[MigrateOperation]:
    return [online.DropColumnOnlineOp(op.table_name, op.column_name, schema=op.schema, _reverse=op._reverse)]


def _alter_column(op: Any) -> Sequence[MigrateOperation]:
    """Only the change of NULL is taken out; what else the operation changes stays Alembic's."""
    if op.modify_nullable is None:
        return [op]
    kind = online.DropNotNullOnlineOp if op.modify_nullable else online.SetNotNullOnlineOp
    existing = {name: getattr(op, name) for name in _EXISTING}
    new = kind(
        op.table_name, op.column_name, schema=op.schema, modify_nullable=op.modify_nullable, **existing
    )
    op.modify_nullable, op.existing_nullable = None, op.modify_nullable
    return [new, op] if op.has_changes() else [new]


_EXISTING = ("existing_type", "existing_server_default", "existing_nullable", "existing_comment")
_CONVERTERS: dict[type, Callable[[Any], Sequence[MigrateOperation]]] = {
    ops.CreateIndexOp: _create_index,
    ops.DropIndexOp: _drop_index,
    ops.CreateForeignKeyOp: _foreign_key,
    ops.CreateCheckConstraintOp: _check,
    ops.CreateUniqueConstraintOp: _unique,
    ops.DropConstraintOp: _drop_constraint,
    ops.AddColumnOp: _add_column,
    ops.DropColumnOp: _drop_column,
    ops.AlterColumnOp: _alter_column,
}


# -- rendering --------------------------------------------------------------------------------------------


def _render_as_alembic_does(kind: type, theirs: type, their_name: str, our_name: str) -> None:
    """Render with Alembic's own renderer, whose arguments ours take too, under our name."""
    standard = renderers.dispatch(theirs)

    @renderers.dispatch_for(kind)
    def _render(autogen_context: AutogenContext, op: MigrateOperation) -> list[str]:
        autogen_context.imports.add(IMPORT)
        rendered = standard(autogen_context, op)
        lines = [rendered] if isinstance(rendered, str) else list(rendered)
        return [line.replace(f"{their_name}(", f"{our_name}(", 1) for line in lines]


def _render_not_null(kind: type, our_name: str) -> None:
    @renderers.dispatch_for(kind)
    def _render(autogen_context: AutogenContext, op: ops.AlterColumnOp) -> str:
        autogen_context.imports.add(IMPORT)
        prefix = autogen_context.opts["alembic_module_prefix"] or ""
        schema = f", schema={str(op.schema)!r}" if op.schema else ""
        return f"{prefix}{our_name}({str(op.table_name)!r}, {str(op.column_name)!r}{schema})"


for _kind, _theirs, _their_name, _our_name in (
    (online.CreateIndexOnlineOp, ops.CreateIndexOp, "create_index", "create_index_online"),
    (online.DropIndexOnlineOp, ops.DropIndexOp, "drop_index", "drop_index_online"),
    (online.AddForeignKeyOnlineOp, ops.CreateForeignKeyOp, "create_foreign_key", "add_foreign_key_online"),
    (online.AddCheckOnlineOp, ops.CreateCheckConstraintOp, "create_check_constraint", "add_check_online"),
    (online.AddUniqueOnlineOp, ops.CreateUniqueConstraintOp, "create_unique_constraint", "add_unique_online"),
    (online.DropConstraintOnlineOp, ops.DropConstraintOp, "drop_constraint", "drop_constraint_online"),
    (online.AddColumnOnlineOp, ops.AddColumnOp, "add_column", "add_column_online"),
    (online.DropColumnOnlineOp, ops.DropColumnOp, "drop_column", "drop_column_online"),
):
    _render_as_alembic_does(_kind, _theirs, _their_name, _our_name)
_render_not_null(online.SetNotNullOnlineOp, "set_not_null_online")
_render_not_null(online.DropNotNullOnlineOp, "drop_not_null_online")


@renderers.dispatch_for(ChangeTypeOp)
def _render_change_of_type(autogen_context: AutogenContext, op: ChangeTypeOp) -> list[str]:
    autogen_context.imports.add(IMPORT)
    prefix = autogen_context.opts["alembic_module_prefix"] or ""
    lines = []
    for step in op.steps:
        given = [repr(str(each)) for each in (step.table_name, step.old, step.new)]
        named = {"schema": step.schema, "type_": step.terms.get("new_type")}
        given += [f"{name}={str(value)!r}" for name, value in named.items() if value]
        lines.append(f"{prefix}{step.kind}({', '.join(given)})")
    return lines
