"""The stages done for real: the ledger's next step, and what applications read.

Nothing is kept in memory between two stages; every one of them can be the first of a new process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from lockkeeper.by_hand import ByHand
from lockkeeper.config import Target
from lockkeeper.errors import FlagRevertedError, LockkeeperError, RefusedError
from lockkeeper.flags.ramp import Ramp, error_signal, error_summary, settle
from lockkeeper.flags.store import claim_flag, ensure_flags, flag_of, read_percent, remove_flag
from lockkeeper.models import Approval, RunReport, utc_now
from lockkeeper.monitoring.series import BackfillKeeper
from lockkeeper.postgres.connection import Connection, connect
from lockkeeper.postgres.locks import MigrationLock, migration_lock
from lockkeeper.rename import BackfillProgress, RenameStatus
from lockkeeper.rename.engine import ColumnRename
from lockkeeper.renaming import story
from lockkeeper.renaming.request import RenameRequest, default_flag
from lockkeeper.renaming.runbook import Backfilled

_CONTRACTED = ("contracted", "dropped")
OnProgress = Callable[[BackfillProgress], None]


class Teller(Protocol):
    """What an engine does for every kind of run."""

    target: Target
    run_id: str
    by_hand: ByHand

    def journal(self, report: RunReport) -> str | None:
        """Write the report down."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team."""
        ...

    def say(self, step: str) -> Callable[[object], None]:
        """Return a function that tells the progress of one step."""
        ...


class RenameStages:
    """The real ``RenameSteps`` for one target and one column."""

    def __init__(
        self,
        engine: Teller,
        request: RenameRequest,
        *,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._engine = engine
        self.by_hand = engine.by_hand
        self._request = request
        self._on_progress = on_progress
        self._stop = stop
        self._url = engine.target.url
        self._rename = ColumnRename(self._url, request.change, run_id=engine.run_id)

    def expand(self) -> RenameStatus:
        """Add column and trigger under the migration lock; makes the flag's table, with the flag at 0 %.

        Raises:
            RefusedError: the flag belongs to something else.
        """
        with self._locked():
            if not self._contracted():
                flag = self.flag()
                with self._connected() as connection:
                    ensure_flags(connection)
                    claim_flag(connection, flag, self._request.subject)
            return self._rename.expand()

    def backfill(self) -> Backfilled:
        """Fill the old rows in batches; no lock but those of one batch's rows."""
        if given := self._request.policy.throttle.given():
            self._rename.tune(**given)
        curves = BackfillKeeper()

        def look(progress: BackfillProgress) -> None:
            curves.took(utc_now(), progress.rows_copied, progress.probe_ms)
            if self._on_progress:
                self._on_progress(progress)

        status = self._rename.backfill(look, stop=self._stop, workers=self._request.policy.workers)
        return Backfilled(status, curves.series())

    def validate(self) -> RenameStatus:
        """Indexes, constraints, parity; under the migration lock."""
        with self._locked():
            return self._rename.validate()

    def flip(self, approval: Approval) -> RenameStatus:
        """Note the flip in the ledger, then raise the flag; one that is up is watched until its time is over.

        Raises:
            FlagRevertedError: something broke; the flag is at 0 % and the ledger is back at validated.
        """
        status = self._rename.status()
        if status.stage.value in _CONTRACTED:
            return status
        self._rename.flip(by=approval.approver, reason=approval.reason)
        try:
            self._ramp(approval.approver).rise()
        except FlagRevertedError as error:
            self._rename.flip_back(by="lockkeeper", reason=error.reason)
            raise
        return self._rename.status()

    def observe(self) -> RenameStatus:
        """Prove parity once more; a difference brings the flag back.

        Raises:
            LockkeeperError: the columns differ, or it could not be told.
        """
        try:
            return self._rename.observe()
        except LockkeeperError as error:
            self._ramp("lockkeeper").flip(0, f"flipped back by itself: {error}"[:2000])
            self._rename.flip_back(by="lockkeeper", reason=str(error))
            raise

    def scream(self) -> RenameStatus:
        """Hide the old column while the application's errors are watched; a policy of 0 s waives it."""
        if not self._request.policy.scream_s:
            return self._rename.status()
        signal = error_signal(self._url, self._request.policy.ramp)
        settle(signal, self._request.policy.ramp)  # what is before is what it is held against

        def errors() -> int:
            return int(signal.problem() is not None)

        return self._rename.scream(self._request.policy.scream_s, errors)

    def contract(self, approval: Approval) -> RenameStatus:
        """Move the old column into quarantine, under the migration lock."""
        with self._locked():
            return self._rename.contract(
                by=approval.approver,
                reason=approval.reason,
                without_scream_test=not self._request.policy.scream_s,
            )

    def abort(self, approval: Approval) -> RenameStatus:
        """Reads go back first, then everything that the expand has brought goes, under the migration lock."""
        if self._percent():
            self._ramp(approval.approver).flip(0, f"aborted: {approval.reason}")
        with self._locked():
            status = self._rename.abort(by=approval.approver, reason=approval.reason)
        self._forget_flag()
        return status

    def undo(self, approval: Approval) -> RenameStatus:
        """Bring the old column back after the contract, with the writes since; then reads go back to it."""
        with self._locked():
            status = self._rename.undo(by=approval.approver, reason=approval.reason)
        self._ramp(approval.approver).flip(0, f"undone: {approval.reason}")
        return status

    def drop(self, *, force: bool = False) -> RenameStatus:
        """Really drop the old column once its retention is over; the flag is not needed any more."""
        with self._locked():
            return self._rename.drop(force=force)

    def status(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return self._rename.status()

    def flag(self) -> str:
        """Return the flag's name: the one that the change was begun with, else the one asked for.

        Raises:
            RefusedError: another one is asked for than it was begun with.
        """
        with self._connected() as connection:
            begun = flag_of(connection, self._request.subject)
        asked = self._request.flag
        if begun and asked not in (begun, default_flag(self._request.change.old)):
            raise RefusedError(f"This rename was begun with the flag {begun!r}, not {asked!r}.")
        return begun or asked

    def surroundings(self) -> story.Surroundings:
        """Read the flag and how the application fares; takes about a second."""
        return story.Surroundings(self.flag(), self._percent(), self._application())

    def question(self, key: str) -> str:
        """See ``RenameSteps``."""
        ask = story.flip_question if key.endswith("flip") else story.drop_question
        return ask(self.status(), self._request, self.surroundings())

    def journal(self, report: RunReport) -> str | None:
        """See ``RenameSteps``."""
        return self._engine.journal(report)

    def notify(self, report: RunReport) -> str | None:
        """See ``RenameSteps``."""
        return self._engine.notify(report)

    def _locked(self) -> AbstractContextManager[MigrationLock]:
        target = self._engine.target
        return migration_lock(
            target.maintenance_url, target.database, self._engine.run_id, wait_s=target.policies.lock_wait_s
        )

    def _contracted(self) -> bool:
        try:
            return self._rename.status().stage.value in _CONTRACTED
        except RefusedError:  # it was never begun
            return False

    def _percent(self) -> int:
        flag = self.flag()
        with self._connected() as connection:
            return read_percent(connection, flag) or 0

    def _forget_flag(self) -> None:
        flag = self.flag()
        with self._connected() as connection:
            remove_flag(connection, flag)

    def _connected(self) -> AbstractContextManager[Connection]:
        return connect(self._url, "flip", run_id=self._engine.run_id)

    def _ramp(self, changed_by: str) -> Ramp:
        policy = self._request.policy
        return Ramp(
            self._url,
            self.flag(),
            changed_by,
            policy.ramp,
            [error_signal(self._url, policy.ramp)],
            policy.flag_hook,
            lambda text: self._engine.say("flip")(text),
        )

    def _application(self) -> str:
        try:
            return error_summary(self._url, self._request.policy.ramp)
        except LockkeeperError as error:
            return f"could not be told: {error}"
