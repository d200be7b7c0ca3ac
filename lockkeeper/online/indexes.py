"""Indexes built and dropped while the application goes on.

Stages of a build: find what has the name -> (drop an invalid leftover) -> CREATE INDEX CONCURRENTLY. A
process killed in between leaves an invalid index at worst, which the next run drops. PostgreSQL cannot build
an index of a partitioned table concurrently: there an invalid one is made ON ONLY the parent (instantly), one
is built for each partition, and each is attached; with the last one the parent's becomes valid.
"""

from __future__ import annotations

from copy import copy

from alembic.operations import ops
from sqlalchemy.exc import DBAPIError

from lockkeeper.online import catalog, ddl
from lockkeeper.online.catalog import Relation
from lockkeeper.online.errors import DefinitionConflictError, InvalidDataError, LockWaitError, sqlstate_of
from lockkeeper.online.session import Session

UNIQUE_VIOLATION = "23505"


def create_index(session: Session, operation: ops.CreateIndexOp) -> None:
    """Build the index, or find that it is there. SHARE UPDATE EXCLUSIVE for as long as it takes."""
    if session.offline:
        _write_offline(session, operation)
        return
    table = catalog.relation(session, operation.table_name, operation.schema)
    if table.partitioned:
        _build_partitioned(session, operation, table)
    else:
        _build(session, operation, table)


def _write_offline(session: Session, operation: ops.CreateIndexOp) -> None:
    name = ddl.quote_table(str(operation.index_name), operation.schema)
    session.note(f"If this is interrupted: DROP INDEX CONCURRENTLY IF EXISTS {name}; then run it again.")
    sql = ddl.create_index(operation, session.context, concurrently=True)
    session.try_patient(ddl.quote_table(operation.table_name, operation.schema), sql)


def on_table(operation: ops.CreateIndexOp, table: Relation, name: str | None = None) -> ops.CreateIndexOp:
    """Return the same operation for another table (a partition, the empty copy)."""
    other = copy(operation)
    other.table_name, other.schema = table.name, table.schema
    other.index_name = name or operation.index_name
    return other


def _is_there(session: Session, operation: ops.CreateIndexOp, table: Relation) -> catalog.Index | None:
    """Return the index of that name, made sure to be the wanted one (or an invalid leftover)."""
    name = str(operation.index_name)
    index = catalog.find_index(session, table, name)
    if index is None or (index.on_our_table and not index.valid and not table.partitioned):
        return index
    wanted = _wanted_definition(session, operation, table)
    if not index.on_our_table or index.definition != wanted:
        raise DefinitionConflictError(
            f"Index {ddl.quote_table(name, table.schema)}",
            table=table.sql,
            existing=index.definition if index.on_our_table else f"{index.definition}, on another table",
            wanted=wanted,
        )
    return index


def _wanted_definition(session: Session, operation: ops.CreateIndexOp, table: Relation) -> str:
    with catalog.empty_copy(session, table) as shadow:
        session.run(ddl.create_index(on_table(operation, shadow), session.context, concurrently=False))
        made = catalog.find_index(session, shadow, str(operation.index_name))
    return made.definition if made else "unknown"


def _build(session: Session, operation: ops.CreateIndexOp, table: Relation) -> None:
    index = _is_there(session, operation, table)
    if index is not None and index.valid:
        return
    operation = on_table(operation, table)
    sql = ddl.create_index(operation, session.context, concurrently=True)
    build(session, table, str(operation.index_name), sql, _duplicates(operation, table))


def build(session: Session, table: Relation, name: str, sql: str, duplicates: str = "") -> None:
    """Run a CREATE INDEX CONCURRENTLY; a valid index of that name is taken as done, an invalid one dropped.

    ``duplicates`` is the query that finds rows which a unique index does not allow.

    Raises:
        InvalidDataError: the rows are not unique; no index is left.
        LockWaitError: a lock or an old snapshot outlasted the policy.
    """
    index = catalog.find_index(session, table, name)
    if index is not None and index.valid and index.on_our_table:
        return
    for attempt in range(1, session.policy.builds + 1):
        _drop_leftover(session, table, name)
        try:
            if session.try_patient(table.sql, sql):
                return
        except DBAPIError as error:
            _take_back(session, table, name, error, duplicates)
        session.pause(attempt)
    blocked = session.waited_too_long(table.sql, sql)
    _take_back(session, table, name, blocked, duplicates)


def _drop_leftover(session: Session, table: Relation, index_name: str) -> None:
    """Drop an invalid index of that name, unless somebody is building it right now."""
    name = ddl.quote_table(index_name, table.schema)
    index = catalog.find_index(session, table, index_name)
    if index is None or index.valid:
        return
    if index.building_pid is not None:
        blocker = f"pid {index.building_pid} is building it"
        raise LockWaitError(f"Index {name}", table=table.sql, attempts=1, blockers=[blocker])
    session.patient(table.sql, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _take_back(session: Session, table: Relation, index_name: str, error: Exception, duplicates: str) -> None:
    """Leave no invalid index behind (a unique one would go on refusing the application's rows), and raise."""
    name = ddl.quote_table(index_name, table.schema)
    sqlstate = sqlstate_of(error) if isinstance(error, DBAPIError) else None
    if not (isinstance(error, DBAPIError) and error.connection_invalidated):
        try:
            _drop_leftover(session, table, index_name)
        except (DBAPIError, LockWaitError):
            session.warn(f"the invalid index {name} is left behind; the next run drops it")
    if sqlstate == UNIQUE_VIOLATION:
        raise InvalidDataError(
            f"Unique index {name} cannot be built: {table.sql} has duplicates.",
            table=table.sql,
            query=duplicates,
            sqlstate=sqlstate,
        ) from error
    raise error


def _duplicates(operation: ops.CreateIndexOp, table: Relation) -> str:
    parts = [ddl.quote(each) if isinstance(each, str) else ddl.expression(each) for each in operation.columns]
    columns = ", ".join(parts)
    return f"SELECT {columns}, count(*) FROM {table.sql} GROUP BY {columns} HAVING count(*) > 1"


def _build_partitioned(session: Session, operation: ops.CreateIndexOp, table: Relation) -> None:
    """Parent's index first, so that partitions made from now on get theirs by themselves."""
    parent = _is_there(session, operation, table)
    if parent is not None and parent.valid:
        return
    operation = on_table(operation, table)
    name = str(operation.index_name)
    if parent is None:
        session.short(table.sql, ddl.create_index(operation, session.context, concurrently=False, only=True))
        parent = catalog.find_index(session, table, name)
    for partition in catalog.partitions(session, table):
        child_name = ddl.derived_name(name, partition.name)
        child = catalog.find_index(session, partition, child_name)
        if child is not None and parent is not None and child.parent_oid == parent.oid and child.valid:
            continue
        child_operation = on_table(operation, partition, child_name)
        if partition.partitioned:
            _build_partitioned(session, child_operation, partition)
        else:
            _build(session, child_operation, partition)
        attach = ddl.quote_table(child_name, partition.schema)
        session.short(
            partition.sql, f"ALTER INDEX {ddl.quote_table(name, table.schema)} ATTACH PARTITION {attach}"
        )


def drop_index(session: Session, name: str, table_name: str | None, schema: str | None) -> None:
    """Drop the index, or find it gone. CONCURRENTLY waits for those who use it and holds up nobody.

    A partitioned index cannot be dropped that way: ACCESS EXCLUSIVE on the table for a moment.
    """
    quoted = ddl.quote_table(name, schema)
    if table_name is not None and not session.offline:
        table = catalog.relation(session, table_name, schema)
        quoted = ddl.quote_table(name, table.schema)
        if table.partitioned:
            session.short(table.sql, f"DROP INDEX IF EXISTS {quoted}")
            return
    session.patient(
        ddl.quote_table(table_name, schema) if table_name else quoted,
        f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}",
    )
