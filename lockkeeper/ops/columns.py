"""Columns added and made NOT NULL while the application goes on.

A constant default is kept in the catalogue: no row is written. Whether a column would make PostgreSQL rewrite
the table is not guessed: it is added to an empty copy first, whose file then is another one or not. Where it
would, the stages are: add it nullable with its default for new rows -> fill the old rows in batches -> set
it NOT NULL.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from alembic.operations import ops
from alembic.operations.schemaobj import SchemaObjects
from sqlalchemy import Column, PrimaryKeyConstraint

from lockkeeper.online import catalog, ddl, not_null
from lockkeeper.online.catalog import Relation
from lockkeeper.online.errors import DefinitionConflictError, NotOnlineError
from lockkeeper.online.session import Session
from lockkeeper.ops import backfill


class _Wanted(NamedTuple):
    """What the server makes of the column on an empty copy of the table."""

    facts: catalog.ColumnFacts
    rewrites: bool
    rewrites_without_default: bool


def add_column(session: Session, operation: ops.AddColumnOp, fill: str | None, batch_rows: int) -> None:
    """Add the column; ACCESS EXCLUSIVE for a moment. ``fill`` is the value for rows that are there."""
    column = _attached(session, operation)
    if session.offline:
        table = ddl.quote_table(operation.table_name, operation.schema)
        default = ddl.column_default(column)
        staged = fill is not None or not (default is None or ddl.is_plainly_constant(default))
        there = None
    else:
        relation = catalog.relation(session, operation.table_name, operation.schema)
        table, wanted = relation.sql, _try_on_copy(session, relation, column)
        there = _same_column(session, relation, column, wanted)
        staged = fill is not None or wanted.rewrites
    if there is None:
        session.short(table, *_add_statements(session, table, column, staged))
    if staged:
        quoted = ddl.quote(column.name)
        batches = backfill.Batches(operation.table_name, operation.schema, batch_rows)
        backfill.run(session, batches, f"{quoted} = {fill or 'DEFAULT'}", f"{quoted} IS NULL")
    if not column.nullable and (staged or (there is not None and not there.not_null)):
        not_null.set_not_null(session, operation.table_name, column.name, operation.schema)


def _attached(session: Session, operation: ops.AddColumnOp) -> Column[Any]:
    """Return the column as part of a table, made sure to be one that can be added online."""
    table = ddl.quote_table(operation.table_name, operation.schema)
    column = operation.column._copy()
    attached = SchemaObjects(session.context).table(operation.table_name, column, schema=operation.schema)
    extra = [each for each in attached.constraints if not isinstance(each, PrimaryKeyConstraint)]
    if column.primary_key or column.foreign_keys or attached.indexes or extra:
        raise NotOnlineError(
            f"Column {column.name} of {table} comes with a key, an index or a constraint. Add the bare "
            "column, then op.add_foreign_key_online(...), op.create_index_online(...), "
            "op.add_unique_online(...) or op.add_check_online(...).",
            table=table,
        )
    if not column.nullable and column.server_default is None:
        raise NotOnlineError(
            f"Column {column.name} of {table} is NOT NULL and has no default in the database: every INSERT "
            "of the application that runs now, which does not know the column, would fail. Give it one that "
            f"stays: op.add_column_online({operation.table_name!r}, sa.Column({column.name!r}, ..., "
            "nullable=False, server_default=...)); or add it nullable, and op.set_not_null_online(...) in a "
            "later release.",
            table=table,
        )
    return column


def _add_statements(session: Session, table: str, column: Column[Any], staged: bool) -> list[str]:
    not_null = not column.nullable and not staged
    specification = ddl.column_specification(column, session.context, default=not staged, not_null=not_null)
    add = f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {specification}"
    default = ddl.column_default(column)
    quoted = ddl.quote(column.name)
    if staged and default is not None:
        add += f", ALTER COLUMN {quoted} SET DEFAULT {default}"
    if column.comment is None:
        return [add]
    return [add, f"COMMENT ON COLUMN {table}.{quoted} IS {ddl.literal(column.comment)}"]


def _try_on_copy(session: Session, table: Relation, column: Column[Any]) -> _Wanted:
    with catalog.empty_copy(session, table) as shadow:
        drop = f"ALTER TABLE {shadow.sql} DROP COLUMN IF EXISTS {ddl.quote(column.name)} CASCADE"
        rewrites = []
        for default in (False, True):
            session.run(drop)
            before = catalog.file_node(session, shadow.sql)
            specification = ddl.column_specification(column, session.context, default=default, not_null=False)
            session.run(f"ALTER TABLE {shadow.sql} ADD COLUMN {specification}")
            rewrites.append(catalog.file_node(session, shadow.sql) != before)
        facts = catalog.find_column(session, shadow.sql, column.name)
    if facts is None or rewrites[0]:
        raise NotOnlineError(
            f"Column {column.name} makes PostgreSQL rewrite {table.sql} under ACCESS EXCLUSIVE even without "
            "a default (a stored generated or identity column, or a domain with constraints). Add a plain "
            "column, fill it with op.backfill_online(...) and let a trigger or the application keep it.",
            table=table.sql,
        )
    return _Wanted(facts, rewrites[1], rewrites[0])


def _same_column(
    session: Session, table: Relation, column: Column[Any], wanted: _Wanted
) -> catalog.ColumnFacts | None:
    """Return the column if it is there, made sure to be the wanted one (NOT NULL may still be missing)."""
    there = catalog.find_column(session, table.sql, column.name)
    if there is None or (there.type, there.default) == (wanted.facts.type, wanted.facts.default):
        return there
    raise DefinitionConflictError(
        f"Column {ddl.quote(column.name)} of {table.sql}",
        table=table.sql,
        existing=f"{there.type} DEFAULT {there.default}",
        wanted=f"{wanted.facts.type} DEFAULT {wanted.facts.default}",
    )


def drop_column(session: Session, table_name: str, column: str, schema: str | None) -> None:
    """Drop the column, or find it gone. ACCESS EXCLUSIVE for a moment; its data are lost."""
    table = ddl.quote_table(table_name, schema)
    session.short(table, f"ALTER TABLE {table} DROP COLUMN IF EXISTS {ddl.quote(column)}")
