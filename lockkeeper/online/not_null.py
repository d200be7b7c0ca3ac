"""A column made NOT NULL, and back, while the application goes on."""

from __future__ import annotations

from lockkeeper.online import catalog, constraints, ddl
from lockkeeper.online.errors import InvalidDataError, NotOnlineError
from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

NOT_NULL_NOT_VALID = 180000


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
    query = named_query("not_null_constraint", relation=ddl.literal(table), name=ddl.literal(column))
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
