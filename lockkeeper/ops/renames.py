"""The stages of a column's change as Alembic's operations: expand, contract, and their ways back.

They work with the ledger that ``lockkeeper rename`` and the flow work with, so whichever comes first does the
work, and the other finds it done. A revision is an approval: the contract proves parity once more, then moves
the old column into quarantine. What it really drops, and when, is not a revision's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from alembic.operations import MigrateOperation, Operations, ops

from lockkeeper.online import ddl
from lockkeeper.online.errors import NotOnlineError
from lockkeeper.online.session import LockPolicy, Session
from lockkeeper.ops.operations import Online
from lockkeeper.rename import expanding, ledger, stages, switching
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.ledger import Claim, Entry
from lockkeeper.rename.transitions import OVER, Stage

BY = "a migration script"
# Behind a reader of half a minute, and nobody behind us: see lockkeeper.rename.connecting.
_PATIENT = LockPolicy(lock_timeout_ms=20, attempts=400, max_delay_ms=500)


class RenameStep(Online, MigrateOperation):
    """One stage of one column's change."""

    kind = ""

    def __init__(self, table_name: str, old: str, new: str, *, schema: str | None, **terms: Any) -> None:
        self.table_name, self.old, self.new, self.schema = table_name, old, new, schema
        self.terms = terms

    @classmethod
    def start(
        cls, operations: Operations, names: tuple[str, str, str], lock_policy: LockPolicy | None, **terms: Any
    ) -> None:
        """Hand the operation to Alembic."""
        cls.invoke(operations, cls(*names, **terms), lock_policy or _PATIENT)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what Alembic shows of it."""
        return (self.kind, self.schema, self.table_name, self.old, self.new)

    def perform(self, session: Session) -> None:
        """Run the stage; needs the database, since what is done depends on what is there."""
        if session.offline:
            raise NotOnlineError(
                f"{self.kind} of {ddl.quote_table(self.table_name, self.schema)} reads the database: "
                "it cannot be written down as SQL (--sql)."
            )
        self.advance(session)

    def advance(self, session: Session) -> None:
        """Do what is missing."""
        raise NotImplementedError

    def entry(self, session: Session) -> Entry | None:
        """Return the change as the ledger has it; with a type, the one to that type.

        Raises:
            NotOnlineError: one to another type goes on. Passed over, it would stay without its revision.
        """
        names, asked = (self.schema, self.table_name, self.old, self.new), self.terms.get("new_type")
        latest = ledger.find_named(session, *names)
        if latest is None or asked is None:
            return latest
        found = ledger.find_named(session, *names, new_type=asked)
        if latest.stage not in OVER and (found is None or found.id != latest.id):
            raise NotOnlineError(
                f"The change of {self.table_name}.{self.old} that goes on here is to "
                f"{latest.change.new_type or 'the same type'}, not to {asked}: "
                "spell type_ as in op.expand_rename_online(...), or revert the revision of that change first."
            )
        return found

    def known(self, session: Session) -> Entry:
        """Return the change, which must have begun."""
        entry = self.entry(session)
        if entry is None:
            raise NotOnlineError(
                f"The ledger of this database knows no change of {self.table_name}.{self.old} to {self.new}: "
                "first op.expand_rename_online(...)."
            )
        return entry


@contextlib.contextmanager
def _claimed(session: Session, entry: Entry) -> Iterator[Claim]:
    claim = ledger.claim(session, entry, BY)
    yield claim
    claim.release()


@Operations.register_operation("expand_rename_online")
class ExpandRenameOnlineOp(RenameStep):
    """Expand, backfill and validation."""

    kind = "expand_rename_online"

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
        conflict: Literal["refuse", "new", "old"] = "refuse",
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Give a column a second name (and type), kept in step, filled, and proven equal.

        Raises:
            PlanRefusedError: something on the column cannot be carried over; nothing was touched.
            BackfillError: rows could not be filled; they are named.
            ParityError: rows differ.
        """
        cls.start(
            operations, (table_name, old, new), lock_policy, schema=schema, new_type=type_, up=up, down=down,
            conflict=conflict,
        )  # fmt: skip

    def advance(self, session: Session) -> None:
        """Do what is missing of the three stages."""
        table = f"{self.schema}.{self.table_name}" if self.schema else self.table_name
        entry = expanding.begin(session, ColumnChange(table, self.old, self.new, **self.terms), BY)

        def only_one() -> contextlib.AbstractContextManager[Session]:
            return contextlib.nullcontext(session)

        with _claimed(session, entry) as claim:
            if claim.entry.stage is Stage.PLANNED:
                expanding.expand(claim)
            if claim.entry.stage in (Stage.EXPANDED, Stage.BACKFILLING):
                stages.backfill(claim, only_one, watched=False)
            if claim.entry.stage is Stage.BACKFILLED:
                stages.validate(claim)


@Operations.register_operation("contract_rename_online")
class ContractRenameOnlineOp(RenameStep):
    """Proof, then the old column into quarantine."""

    kind = "contract_rename_online"

    @classmethod
    def contract_rename_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        old: str,
        new: str,
        *,
        schema: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Take the old name away; the column is kept in quarantine, still written.

        Raises:
            ParityError: rows differ; nothing was changed.
            StageRefusedError: the change is not that far.
        """
        cls.start(operations, (table_name, old, new), lock_policy, schema=schema)

    def advance(self, session: Session) -> None:
        """Do what is missing of flip, observation and contract."""
        with _claimed(session, self.known(session)) as claim:
            if claim.entry.stage in (Stage.CONTRACTED, Stage.DROPPED):
                return
            if claim.entry.stage is Stage.VALIDATED:
                stages.flip(claim, BY, "the contract's revision is applied")
            stages.observe(claim)
            switching.contract(claim, BY, "the contract's revision is applied")


@Operations.register_operation("undo_contract_online")
class UndoContractOnlineOp(RenameStep):
    """The way back of the contract."""

    kind = "undo_contract_online"

    @classmethod
    def undo_contract_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        old: str,
        new: str,
        *,
        schema: str | None = None,
        type_: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Give the old column its name back, with the writes since.

        ``type_`` tells the change from another one of the same names, which was made before or after it.

        Raises:
            StageRefusedError: it has been dropped.
            NotOnlineError: it has not begun, or the change that goes on is to another type.
        """
        cls.start(operations, (table_name, old, new), lock_policy, schema=schema, new_type=type_)

    def advance(self, session: Session) -> None:
        """Undo, and make the new column's keys again."""
        with _claimed(session, self.known(session)) as claim:
            if claim.entry.stage in (Stage.CONTRACTED, Stage.DROPPED):
                switching.undo(claim, BY, "the contract's revision is reverted")
            if claim.entry.stage is Stage.BACKFILLED:
                stages.validate(claim)


@Operations.register_operation("abort_rename_online")
class AbortRenameOnlineOp(RenameStep):
    """The way back of the expand."""

    kind = "abort_rename_online"

    @classmethod
    def abort_rename_online(
        cls,
        operations: Operations,
        /,
        table_name: str,
        old: str,
        new: str,
        *,
        schema: str | None = None,
        type_: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        """Take the new column away; the old one has all writes. ``type_`` as in the contract's way back.

        Raises:
            StageRefusedError: the contract has to be undone first.
            NotOnlineError: the change that goes on is to another type.
        """
        cls.start(operations, (table_name, old, new), lock_policy, schema=schema, new_type=type_)

    def advance(self, session: Session) -> None:
        """Abort, unless that was done."""
        entry = self.entry(session)
        if entry is None or entry.stage is Stage.ABORTED:
            return
        with _claimed(session, entry) as claim:
            expanding.abort(claim, BY, "the expand's revision is reverted")


class ChangeTypeOp(Online, ops.AlterColumnOp):
    """A type changed through a second column, or changed back: what autogenerate writes as two operations."""

    back: bool = False

    @property
    def steps(self) -> list[RenameStep]:
        """The two operations, in order."""
        name = str(self.column_name)
        names: dict[str, Any] = {"table_name": self.table_name, "old": name, "new": name}
        if self.back:
            kinds: list[type[RenameStep]] = [UndoContractOnlineOp, AbortRenameOnlineOp]
            changed_to = ddl.type_sql(self.existing_type)
            return [kind(**names, schema=self.schema, new_type=changed_to) for kind in kinds]
        expand = ExpandRenameOnlineOp(**names, schema=self.schema, new_type=ddl.type_sql(self.modify_type))
        return [expand, ContractRenameOnlineOp(**names, schema=self.schema)]

    def perform(self, session: Session) -> None:
        """Run both."""
        for step in self.steps:
            step.perform(session)
