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

from lockkeeper.ops import backfill, catalog, constraints, ddl
from lockkeeper.ops.catalog import Relation
from lockkeeper.ops.errors import DefinitionConflictError, InvalidDataError, NotOnlineError
from lockkeeper.ops.session import Session

NOT_NULL_NOT_VALID = 180000


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
        set_not_null(session, operation.table_name, column.name, operation.schema)


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


def set_not_null(session: Session, table_name: str, column: str, schema: str | None) -> None:
    """Make the column NOT NULL without reading it under ACCESS EXCLUSIVE.

    Up to PostgreSQL 17 through a check that is validated first, which SET NOT NULL then believes; from 18 on
    through NOT NULL NOT VALID itself.
    """
    if session.offline:
        _through_check(session, ddl.quote_table(table_name, schema), column, found=None)
        return
    table = catalog.relation(session, table_name, schema).sql
    facts = catalog.find_column(session, table, column)
    if facts is None:
        raise NotOnlineError(f"Table {table} has no column {ddl.quote(column)}.", table=table)
    if not facts.not_null:
        _refuse_nulls(session, table, column)
    if session.server_version_num >= NOT_NULL_NOT_VALID:
        _through_not_valid(session, table, column, done=facts.not_null)
        return
    found = catalog.find_constraint(session, table, check_name(column))
    if not facts.not_null:
        _through_check(session, table, column, found=found)
    elif found is not None:  # killed before its last stage
        session.short(table, _drop_check(table, column))


def check_name(column: str) -> str:
    """Return the name of the check that stands in for NOT NULL meanwhile."""
    return ddl.derived_name(column, "not_null_lockkeeper")


def _drop_check(table: str, column: str) -> str:
    return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {ddl.quote(check_name(column))}"


def _nulls(table: str, column: str) -> str:
    return f"SELECT * FROM {table} WHERE {ddl.quote(column)} IS NULL"


def _refuse_nulls(session: Session, table: str, column: str) -> None:
    """Look before anything is changed: a check that is there, if only for seconds, fails the application."""
    if session.rows(f"SELECT EXISTS ({_nulls(table, column)})")[0][0]:
        raise InvalidDataError(
            f"{table}.{ddl.quote(column)} has NULLs. Fill them first: op.backfill_online(...).",
            table=table,
            query=_nulls(table, column),
        )


def _through_check(session: Session, table: str, column: str, *, found: catalog.Constraint | None) -> None:
    quoted, check = ddl.quote(column), check_name(column)
    constraints.add_not_valid_then_validate(
        session, table, check,
        f"ALTER TABLE {table} ADD CONSTRAINT {ddl.quote(check)} CHECK ({quoted} IS NOT NULL) NOT VALID",
        present=found is not None, valid=found is not None and found.validated, finds=_nulls(table, column),
    )  # fmt: skip
    session.short(table, f"ALTER TABLE {table} ALTER COLUMN {quoted} SET NOT NULL")
    session.short(table, _drop_check(table, column))


def _through_not_valid(session: Session, table: str, column: str, *, done: bool) -> None:
    if done:
        return
    query = catalog.named_query("not_null_constraint", relation=ddl.literal(table), name=ddl.literal(column))
    present = bool(session.rows(query))
    if not present:
        session.short(table, f"ALTER TABLE {table} ADD NOT NULL {ddl.quote(column)} NOT VALID")
    name, valid = session.rows(query)[0]
    if not valid:
        constraints.validate(session, table, name, added_here=not present, finds=_nulls(table, column))


def drop_not_null(session: Session, table_name: str, column: str, schema: str | None) -> None:
    """Let the column be NULL again. ACCESS EXCLUSIVE for a moment."""
    table = ddl.quote_table(table_name, schema)
    session.short(table, f"ALTER TABLE {table} ALTER COLUMN {ddl.quote(column)} DROP NOT NULL")
