"""Constraints added while the application goes on: NOT VALID first, then VALIDATE.

NOT VALID holds for every row written from then on and takes its lock for a moment. VALIDATE reads the table
under SHARE UPDATE EXCLUSIVE, beside readers and writers, in a transaction of its own. Should a row
contradict, the constraint is taken back, so that the application is as it was. Killed in between, the next
run goes on.
"""

from __future__ import annotations

import json
from copy import copy

from alembic.operations import ops
from sqlalchemy.exc import DBAPIError

from lockkeeper.online import catalog, ddl, indexes
from lockkeeper.online.catalog import Relation
from lockkeeper.online.errors import (
    DefinitionConflictError,
    InvalidDataError,
    OnlineOperationError,
    sqlstate_of,
)
from lockkeeper.online.session import Session

NOT_NULL_VIOLATION, FOREIGN_KEY_VIOLATION, CHECK_VIOLATION = "23502", "23503", "23514"
FOREIGN_KEY_NOT_VALID_ON_PARTITIONED = 180000
_ACTIONS = {"NO ACTION": "a", "RESTRICT": "r", "CASCADE": "c", "SET NULL": "n", "SET DEFAULT": "d"}
_MATCHES = {"FULL": "f", "PARTIAL": "p", "SIMPLE": "s"}


def named(operation: ops.AddConstraintOp, what: str) -> str:
    """Return the constraint's name: without one it could not be found again."""
    name = getattr(operation, "constraint_name", None)
    if not name:
        raise OnlineOperationError(f"{what} needs a name, to be found again when it is interrupted.")
    return str(name)


def add_not_valid_then_validate(
    session: Session, table: str, name: str, statement: str, *, present: bool, valid: bool, finds: str
) -> None:
    """Run the two stages from wherever they stopped. ``finds`` is the query for rows that contradict."""
    if not present:
        session.short(table, statement)
    if not valid:
        validate(session, table, name, added_here=not present, finds=finds)


def validate(session: Session, table: str, name: str, *, added_here: bool, finds: str) -> None:
    """VALIDATE CONSTRAINT; when a row contradicts, drop what this run has added and say how to find it."""
    try:
        session.patient(table, f"ALTER TABLE {table} VALIDATE CONSTRAINT {ddl.quote(name)}")
    except DBAPIError as error:
        sqlstate = sqlstate_of(error)
        if sqlstate not in {NOT_NULL_VIOLATION, FOREIGN_KEY_VIOLATION, CHECK_VIOLATION}:
            raise
        if added_here:
            session.short(table, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {ddl.quote(name)}")
        left = "was taken back" if added_here else "is left NOT VALID, as it was found"
        raise InvalidDataError(
            f"Rows of {table} contradict constraint {ddl.quote(name)}, which {left}.",
            table=table,
            query=finds,
            sqlstate=sqlstate,
        ) from error


# -- CHECK ------------------------------------------------------------------------------------------------


def add_check(session: Session, operation: ops.CreateCheckConstraintOp) -> None:
    """Add a check. SHARE UPDATE EXCLUSIVE while rows are read, ACCESS EXCLUSIVE only for a moment before."""
    name = named(operation, "A check")
    finds = ddl.expression(operation.condition)
    operation = copy(operation)
    operation.condition = ddl.without_binds(operation.condition)
    operation.kw = {**operation.kw, "postgresql_not_valid": True}
    statement = ddl.add_constraint(operation.to_constraint(session.context))
    found = None
    table = ddl.quote_table(operation.table_name, operation.schema)
    if not session.offline:
        relation = catalog.relation(session, operation.table_name, operation.schema)
        table = relation.sql
        found = catalog.find_constraint(session, table, name)
    if found is not None:
        _same_definition(session, operation, relation, name, found)
    add_not_valid_then_validate(
        session, table, name, statement,
        present=found is not None, valid=found is not None and found.validated,
        finds=f"SELECT * FROM {table} WHERE NOT ({finds})",
    )  # fmt: skip


def _same_definition(
    session: Session, operation: ops.AddConstraintOp, table: Relation, name: str, found: catalog.Constraint
) -> None:
    """Raise DefinitionConflictError unless the constraint found is the wanted one."""
    with catalog.empty_copy(session, table) as shadow:
        other = copy(operation)
        other.table_name, other.schema = shadow.name, shadow.schema  # type: ignore[attr-defined]
        session.run(ddl.add_constraint(other.to_constraint(session.context)))
        wanted = catalog.find_constraint(session, shadow.sql, name)
    if wanted is None or wanted.definition != found.definition:
        raise DefinitionConflictError(
            f"Constraint {ddl.quote(name)} of {table.sql}",
            table=table.sql,
            existing=found.definition,
            wanted=wanted.definition if wanted else "unknown",
        )


# -- FOREIGN KEY ------------------------------------------------------------------------------------------


def add_foreign_key(session: Session, operation: ops.CreateForeignKeyOp) -> None:
    """Add a foreign key. SHARE ROW EXCLUSIVE on both tables for a moment, then rows are read beside writers.

    Before PostgreSQL 18 a partitioned table cannot have one NOT VALID: there each partition gets its own,
    validated, and the parent's then takes them over without reading.
    """
    name = named(operation, "A foreign key")
    schema = operation.kw.get("source_schema")
    if session.offline:
        _add_foreign_key(session, operation, ddl.quote_table(operation.source_table, schema), name)
        return
    table = catalog.relation(session, operation.source_table, schema)
    if table.partitioned and session.server_version_num < FOREIGN_KEY_NOT_VALID_ON_PARTITIONED:
        _add_foreign_key_partitioned(session, operation, table, name)
    else:
        _add_foreign_key(session, operation, table.sql, name)


def _add_foreign_key_partitioned(
    session: Session, operation: ops.CreateForeignKeyOp, table: Relation, name: str
) -> None:
    if _find_foreign_key(session, operation, table.sql, name) is not None:
        return
    for leaf in _leaves(session, table):
        other = copy(operation)
        other.source_table, other.kw = leaf.name, {**operation.kw, "source_schema": leaf.schema}
        _add_foreign_key(session, other, leaf.sql, name)
    session.short(table.sql, ddl.add_constraint(operation.to_constraint(session.context)))


def _add_foreign_key(session: Session, operation: ops.CreateForeignKeyOp, table: str, name: str) -> None:
    found = None if session.offline else _find_foreign_key(session, operation, table, name)
    other = copy(operation)
    other.kw = {**operation.kw, "postgresql_not_valid": True}
    add_not_valid_then_validate(
        session, table, name, ddl.add_constraint(other.to_constraint(session.context)),
        present=found is not None, valid=found is not None and found.validated,
        finds=_orphans(operation, table),
    )  # fmt: skip


def _orphans(operation: ops.CreateForeignKeyOp, table: str) -> str:
    referent = ddl.quote_table(operation.referent_table, operation.kw.get("referent_schema"))
    pairs = zip(operation.local_cols, operation.remote_cols, strict=True)
    matches = " AND ".join(f"r.{ddl.quote(remote)} = t.{ddl.quote(local)}" for local, remote in pairs)
    present = " AND ".join(f"t.{ddl.quote(local)} IS NOT NULL" for local in operation.local_cols)
    return (
        f"SELECT t.* FROM {table} AS t WHERE {present} "
        f"AND NOT EXISTS (SELECT FROM {referent} AS r WHERE {matches})"
    )


def _find_foreign_key(
    session: Session, operation: ops.CreateForeignKeyOp, table: str, name: str
) -> catalog.Constraint | None:
    """Return the foreign key of that name, made sure to be the wanted one."""
    found = catalog.find_constraint(session, table, name)
    if found is None:
        return None
    kw = operation.kw
    referent = catalog.relation(session, operation.referent_table, kw.get("referent_schema"))
    deferred = str(kw.get("initially") or "").upper() == "DEFERRED"
    wanted = (
        "f", referent.oid, list(operation.local_cols), list(operation.remote_cols),
        _action(kw.get("onupdate")) + _action(kw.get("ondelete"))
        + _MATCHES[str(kw.get("match") or "SIMPLE").upper()],
        bool(kw.get("deferrable")) or deferred, deferred,
    )  # fmt: skip
    kind, oid, local, remote, actions, deferrable, initially = found.facts
    there = (kind, oid, json.loads(str(local)), json.loads(str(remote)), actions, deferrable, initially)
    if there != wanted:
        raise DefinitionConflictError(
            f"Constraint {ddl.quote(name)} of {table}",
            table=table,
            existing=found.definition,
            wanted=ddl.add_constraint(operation.to_constraint(session.context)),
        )
    return found


def _action(sql: str | None) -> str:
    text = " ".join((sql or "NO ACTION").upper().split())
    return next(code for action, code in _ACTIONS.items() if text.startswith(action))


def _leaves(session: Session, table: Relation) -> list[Relation]:
    found = []
    for partition in catalog.partitions(session, table):
        found += _leaves(session, partition) if partition.partitioned else [partition]
    return found


# -- UNIQUE -----------------------------------------------------------------------------------------------


def add_unique(session: Session, operation: ops.CreateUniqueConstraintOp) -> None:
    """Build a unique index concurrently, then make it a constraint: ACCESS EXCLUSIVE for a moment.

    A partitioned table cannot take an index over: each partition gets its constraint, then the parent's
    finds them and builds nothing.
    """
    name = named(operation, "A unique constraint")
    if session.offline:
        _add_unique(session, operation, ddl.quote_table(operation.table_name, operation.schema))
        return
    table = catalog.relation(session, operation.table_name, operation.schema)
    found = catalog.find_constraint(session, table.sql, name)
    if found is not None:
        _same_definition(session, operation, table, name, found)
        return
    if not table.partitioned:
        _add_unique(session, operation, table.sql)
        return
    for leaf in _leaves(session, table):
        other = copy(operation)
        other.table_name, other.schema = leaf.name, leaf.schema
        other.constraint_name = ddl.derived_name(name, leaf.name)
        add_unique(session, other)
    session.short(table.sql, ddl.add_constraint(operation.to_constraint(session.context)))


def _add_unique(session: Session, operation: ops.CreateUniqueConstraintOp, table: str) -> None:
    name = str(operation.constraint_name)
    kw = {key: value for key, value in operation.kw.items() if key.startswith("postgresql_")}
    indexes.create_index(
        session,
        ops.CreateIndexOp(
            name, operation.table_name, list(operation.columns), schema=operation.schema, unique=True, **kw
        ),
    )
    timing = "".join(
        [" DEFERRABLE" if operation.kw.get("deferrable") else "",
         f" INITIALLY {operation.kw['initially']}" if operation.kw.get("initially") else ""]
    )  # fmt: skip
    quoted = ddl.quote(name)
    session.short(table, f"ALTER TABLE {table} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted}{timing}")


def drop_constraint(session: Session, name: str, table_name: str, schema: str | None) -> None:
    """Drop the constraint, or find it gone. ACCESS EXCLUSIVE for a moment (foreign key: on both tables)."""
    table = ddl.quote_table(table_name, schema)
    session.short(table, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {ddl.quote(name)}")
