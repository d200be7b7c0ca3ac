"""A rename in stages, as operations of migration scripts, on the ledger of the commands and of the flow.

What one of them has done, the others find done. They work over connections of their own, to the database of
the migration; the migration's session holds nothing meanwhile. Offline they are refused: their SQL depends on
what is in the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.operations import MigrateOperation, Operations

from lockkeeper.ops.errors import NotOnlineError, OnlineOperationError
from lockkeeper.ops.operations import Online
from lockkeeper.ops.session import Session

if TYPE_CHECKING:
    from lockkeeper.rename import ColumnRename

_BY = "migration"


class RenameOnline(Online, MigrateOperation):
    """What the four operations share: which column."""

    def __init__(
        self, table_name: str, old: str, new: str, *, schema: str | None = None, **terms: str | None
    ) -> None:
        self.table_name, self.old, self.new, self.schema, self.terms = table_name, old, new, schema, terms

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what Alembic shows of it."""
        return (type(self).__name__, self.schema, self.table_name, self.old, self.new)

    def perform(self, session: Session) -> None:
        """Run the stages."""
        if session.offline:
            raise NotOnlineError(
                f"The rename of {self.table_name}.{self.old} cannot be written as SQL: it depends on what is "
                "in the database.",
                table=self.table_name,
            )
        from lockkeeper.errors import LockkeeperError
        from lockkeeper.rename import ColumnChange, ColumnRename

        connection = session.context.connection
        if connection is None:
            raise OnlineOperationError("Alembic's context has no connection.")
        table = f"{self.schema}.{self.table_name}" if self.schema else self.table_name
        change = ColumnChange(table, self.old, self.new, **self.terms)  # type: ignore[arg-type]
        url = connection.engine.url.set(drivername="postgresql")
        try:
            self.go(ColumnRename(url, change, lock_policy=self.lock_policy))
        except LockkeeperError as error:
            raise OnlineOperationError(str(error), table=table) from error

    def go(self, rename: ColumnRename) -> None:
        """Do what the operation is for; can be run again."""
        raise NotImplementedError


@Operations.register_operation("expand_rename_online")
class ExpandRenameOp(RenameOnline):
    """The new column, kept in step, filled and proven."""

    @classmethod
    def expand_rename_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        old: str,
        new: str,
        *,
        schema: str | None = None,
        type_: str | None = None,
        up: str | None = None,
        down: str | None = None,
    ) -> None:
        """Expand, backfill, validate; see docs/zero-downtime.md.

        Args:
            operations: Alembic's.
            table_name: the table.
            old: the column.
            new: its new name.
            schema: the table's schema.
            type_: SQL type of the new column; None keeps the old one's.
            up: SQL expression of the new value over the old column's name.
            down: SQL expression of the old value over the new column's name.
        """
        operation = cls(table_name, old, new, schema=schema, new_type=type_, up=up, down=down)
        cls.invoke(operations, operation, None)

    def go(self, rename: ColumnRename) -> None:
        """See ``RenameOnline``."""
        rename.expand(_BY)
        rename.backfill()
        rename.validate()


@Operations.register_operation("abort_rename_online")
class AbortRenameOp(RenameOnline):
    """The way back from the expand."""

    @classmethod
    def abort_rename_online(
        cls, operations: Operations, /, table_name: str, old: str, new: str, *, schema: str | None = None
    ) -> None:
        """Bring back the schema of before, with every write; see docs/zero-downtime.md."""
        cls.invoke(operations, cls(table_name, old, new, schema=schema), None)

    def go(self, rename: ColumnRename) -> None:
        """See ``RenameOnline``."""
        rename.abort(_BY)


@Operations.register_operation("contract_rename_online")
class ContractRenameOp(RenameOnline):
    """The old column in quarantine, still written."""

    @classmethod
    def contract_rename_online(
        cls, operations: Operations, /, table_name: str, old: str, new: str, *, schema: str | None = None
    ) -> None:
        """Let the old column go, after another proof of parity; who merges the revision has approved it."""
        cls.invoke(operations, cls(table_name, old, new, schema=schema), None)

    def go(self, rename: ColumnRename) -> None:
        """See ``RenameOnline``."""
        rename.validate()
        rename.flip(_BY)
        rename.observe()
        rename.contract(_BY, without_scream_test=True)


@Operations.register_operation("undo_contract_online")
class UndoContractOp(RenameOnline):
    """The way back from the contract, while the quarantine lasts."""

    @classmethod
    def undo_contract_online(
        cls, operations: Operations, /, table_name: str, old: str, new: str, *, schema: str | None = None
    ) -> None:
        """Bring the old column back under its name, with the writes since."""
        cls.invoke(operations, cls(table_name, old, new, schema=schema), None)

    def go(self, rename: ColumnRename) -> None:
        """See ``RenameOnline``."""
        rename.undo(_BY)
        rename.validate()
