"""The operations as Alembic knows them: ``op.<name>(...)``, with the arguments of Alembic's own kind.

Each class is a kind of Alembic's operation, so that whatever reads operations (autogenerate, rewriters,
``alembic check``) understands it. All can be run again after a failure at any point; all raise
OnlineOperationError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import ClauseElement, Column

from lockkeeper.online import constraints, ddl, indexes, not_null
from lockkeeper.online.session import LockPolicy, Session
from lockkeeper.ops import backfill as batches
from lockkeeper.ops import columns
from lockkeeper.ops.boundary import own_transactions


class Online:
    """What all of them have: how long they may wait for locks (None: the project's policy)."""

    lock_policy: LockPolicy | None = None

    def perform(self, session: Session) -> None:
        """Run the stages."""
        raise NotImplementedError

    @classmethod
    def invoke(cls, operations: Operations, operation: Any, lock_policy: LockPolicy | None) -> None:
        """Hand the operation to Alembic."""
        operation.lock_policy = lock_policy
        operations.invoke(operation)


@Operations.implementation_for(Online)
def _perform(operations: Operations, operation: Online) -> None:
    name = type(operation).__name__
    with own_transactions(operations.migration_context, operation.lock_policy, name) as session:
        operation.perform(session)


@Operations.register_operation("create_index_online")
class CreateIndexOnlineOp(Online, ops.CreateIndexOp):
    """CREATE INDEX CONCURRENTLY."""

    @classmethod
    def create_index_online(
        cls,
        operations: Operations,
        /,
        index_name: str,
        table_name: str,
        columns: Sequence[Any],
        *,
        schema: str | None = None,
        unique: bool = False,
        lock_policy: LockPolicy | None = None,
        **kw: Any,
    ) -> None:
        """Build an index while the application goes on; partitioned tables too.

        An invalid leftover of that name is dropped and built again; a valid index with the same definition is
        taken as done. ``kw`` are Alembic's (``postgresql_where``, ``postgresql_using``, ...).

        Raises:
            DefinitionConflictError: something else has the name.
            InvalidDataError: the index is unique and the rows are not.
            LockWaitError: a lock or an old snapshot outlasted the policy; no invalid index is left.
        """
        operation = cls(index_name, table_name, columns, schema=schema, unique=unique, **kw)
        cls.invoke(operations, operation, lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        indexes.create_index(session, self)


@Operations.register_operation("drop_index_online")
class DropIndexOnlineOp(Online, ops.DropIndexOp):
    """DROP INDEX CONCURRENTLY."""

    @classmethod
    def drop_index_online(
        cls,
        operations: Operations,
        /,
        index_name: str,
        table_name: str | None = None,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
        **kw: Any,
    ) -> None:
        """Drop an index while the application goes on; one that is gone is taken as done."""
        cls.invoke(operations, cls(index_name, table_name, schema=schema, **kw), lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        indexes.drop_index(session, str(self.index_name), self.table_name, self.schema)


@Operations.register_operation("add_foreign_key_online")
class AddForeignKeyOnlineOp(Online, ops.CreateForeignKeyOp):
    """ADD FOREIGN KEY ... NOT VALID, then VALIDATE."""

    @classmethod
    def add_foreign_key_online(
        cls,
        operations: Operations,
        /,
        constraint_name: str,
        source_table: str,
        referent_table: str,
        local_cols: Sequence[str],
        remote_cols: Sequence[str],
        *,
        source_schema: str | None = None,
        referent_schema: str | None = None,
        onupdate: str | None = None,
        ondelete: str | None = None,
        deferrable: bool | None = None,
        initially: str | None = None,
        match: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Add a foreign key; rows are checked beside readers and writers.

        Raises:
            InvalidDataError: rows refer to nothing; the constraint was taken back.
        """
        operation = cls(
            constraint_name, source_table, referent_table, list(local_cols), list(remote_cols),
            source_schema=source_schema, referent_schema=referent_schema,
            onupdate=onupdate, ondelete=ondelete, deferrable=deferrable, initially=initially, match=match,
        )  # fmt: skip
        cls.invoke(operations, operation, lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        constraints.add_foreign_key(session, self)


@Operations.register_operation("add_check_online")
class AddCheckOnlineOp(Online, ops.CreateCheckConstraintOp):
    """ADD CHECK ... NOT VALID, then VALIDATE."""

    @classmethod
    def add_check_online(
        cls,
        operations: Operations,
        /,
        constraint_name: str,
        table_name: str,
        condition: str | ClauseElement,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Add a check; rows are checked beside readers and writers.

        Raises:
            InvalidDataError: rows contradict; the constraint was taken back.
        """
        operation = cls(constraint_name, table_name, condition, schema=schema)  # type: ignore[arg-type]
        cls.invoke(operations, operation, lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        constraints.add_check(session, self)


@Operations.register_operation("add_unique_online")
class AddUniqueOnlineOp(Online, ops.CreateUniqueConstraintOp):
    """A unique index built concurrently, then ADD CONSTRAINT ... USING INDEX."""

    @classmethod
    def add_unique_online(
        cls,
        operations: Operations,
        /,
        constraint_name: str,
        table_name: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        deferrable: bool | None = None,
        initially: str | None = None,
        lock_policy: LockPolicy | None = None,
        **kw: Any,
    ) -> None:
        """Add a unique constraint; ``kw`` as Alembic's (``postgresql_nulls_not_distinct``, ...).

        Raises:
            InvalidDataError: the rows have duplicates; no index is left.
        """
        timing = {"deferrable": deferrable, "initially": initially}
        kw |= {name: value for name, value in timing.items() if value is not None}
        cls.invoke(operations, cls(constraint_name, table_name, columns, schema=schema, **kw), lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        constraints.add_unique(session, self)


@Operations.register_operation("drop_constraint_online")
class DropConstraintOnlineOp(Online, ops.DropConstraintOp):
    """DROP CONSTRAINT under a short lock_timeout."""

    @classmethod
    def drop_constraint_online(
        cls,
        operations: Operations,
        /,
        constraint_name: str,
        table_name: str,
        type_: str | None = None,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Drop a constraint; one that is gone is taken as done."""
        cls.invoke(operations, cls(constraint_name, table_name, type_=type_, schema=schema), lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        constraints.drop_constraint(session, str(self.constraint_name), self.table_name, self.schema)


@Operations.register_operation("add_column_online")
class AddColumnOnlineOp(Online, ops.AddColumnOp):
    """ADD COLUMN, in stages where PostgreSQL would rewrite the table."""

    backfill: str | ClauseElement | None = None
    batch_rows: int = batches.BATCH_ROWS

    @classmethod
    def add_column_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        column: Column[Any],
        *,
        schema: str | None = None,
        backfill: str | ClauseElement | None = None,
        batch_rows: int = batches.BATCH_ROWS,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Add a column; ``backfill`` is the value for rows that are there (or else the column's default).

        Raises:
            NotOnlineError: NOT NULL without a default in the database, or a table rewrite.
            DefinitionConflictError: a different column has the name.
        """
        operation = cls(table_name, column, schema=schema)
        operation.backfill, operation.batch_rows = backfill, batch_rows
        cls.invoke(operations, operation, lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        fill = None if self.backfill is None else ddl.expression(self.backfill)
        columns.add_column(session, self, fill, self.batch_rows)


@Operations.register_operation("drop_column_online")
class DropColumnOnlineOp(Online, ops.DropColumnOp):
    """DROP COLUMN under a short lock_timeout."""

    @classmethod
    def drop_column_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        column_name: str,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Drop a column, its data with it; one that is gone is taken as done."""
        cls.invoke(operations, cls(table_name, column_name, schema=schema), lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        columns.drop_column(session, self.table_name, self.column_name, self.schema)


@Operations.register_operation("set_not_null_online")
class SetNotNullOnlineOp(Online, ops.AlterColumnOp):
    """SET NOT NULL through a validated check (18 and later: through NOT NULL NOT VALID)."""

    @classmethod
    def set_not_null_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        column_name: str,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Make a column NOT NULL; rows are checked beside readers and writers.

        Raises:
            InvalidDataError: the column has NULLs; nothing was changed.
        """
        cls.invoke(
            operations, cls(table_name, column_name, schema=schema, modify_nullable=False), lock_policy
        )

    def perform(self, session: Session) -> None:
        """Run the stages."""
        not_null.set_not_null(session, self.table_name, self.column_name, self.schema)


@Operations.register_operation("drop_not_null_online")
class DropNotNullOnlineOp(Online, ops.AlterColumnOp):
    """DROP NOT NULL under a short lock_timeout."""

    @classmethod
    def drop_not_null_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        column_name: str,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Let a column be NULL again."""
        cls.invoke(operations, cls(table_name, column_name, schema=schema, modify_nullable=True), lock_policy)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        not_null.drop_not_null(session, self.table_name, self.column_name, self.schema)


@Operations.register_operation("backfill_online")
class BackfillOnlineOp(Online, MigrateOperation):
    """UPDATE in short batches by key, each committed."""

    def __init__(
        self, table_name: str, assignment: str, where: str, *, schema: str | None, batch_rows: int
    ) -> None:
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be positive, not {batch_rows}.")
        self.table_name, self.assignment, self.where = table_name, assignment, where
        self.schema, self.batch_rows = schema, batch_rows

    @classmethod
    def backfill_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        values: Mapping[str, str | ClauseElement],
        where: str | ClauseElement,
        *,
        schema: str | None = None,
        batch_rows: int = batches.BATCH_ROWS,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Set columns to SQL expressions, in batches, for the rows that match ``where``.

        Args:
            operations: Alembic's.
            table_name: without a primary key, or a unique index over NOT NULL columns, it goes by pages.
            values: column -> SQL expression (a text literal needs its quotes: ``{"status": "'active'"}``).
            where: must be false for a row that is done: it is what makes a killed run go on where it stopped.
            schema: the table's schema.
            batch_rows: the most rows in one transaction.
            lock_policy: None for the project's.

        Raises:
            InvalidDataError: a row's values fail, or rows still match after three passes.
            LockWaitError: another session kept a row locked.
        """
        pairs = (f"{ddl.quote(name)} = {ddl.expression(value)}" for name, value in values.items())
        operation = cls(
            table_name, ", ".join(pairs), ddl.expression(where), schema=schema, batch_rows=batch_rows
        )
        cls.invoke(operations, operation, lock_policy)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what Alembic shows of it."""
        return ("backfill", self.schema, self.table_name, self.assignment, self.where)

    def perform(self, session: Session) -> None:
        """Run the batches."""
        limits = batches.Batches(self.table_name, self.schema, self.batch_rows)
        batches.run(session, limits, self.assignment, self.where)
