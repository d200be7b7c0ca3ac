"""One change of one column, step by step, over a connection of its own: what flows and command line call.

Every method may be called at any time, again and again: what the ledger says is done is not done twice, what
is not its turn is refused. Errors are of Lockkeeper's tree; a LockTimeoutError is worth another try.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any

from sqlalchemy.engine import URL

from lockkeeper import backfill as batches
from lockkeeper.backfill.engine import BackfillProgress
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.errors import (
    QuarantineRetainedError,
    RefusedError,
    ScreamTestFailedError,
    StageRefusedError,
)
from lockkeeper.online.session import LockPolicy, Session
from lockkeeper.rename import expanding, ledger, stages, switching
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.connecting import PATIENT_POLICY, converting_errors, session_on
from lockkeeper.rename.ledger import Claim
from lockkeeper.rename.plan import RenamePlan, make_plan
from lockkeeper.rename.status import RenameStatus, read_status
from lockkeeper.rename.transitions import OVER, Stage

ROLE = "rename"
SCREAM_TICK_S = 0.5


class ColumnRename:
    """A column's change in one database."""

    def __init__(
        self,
        url: URL,
        change: ColumnChange,
        *,
        run_id: str | None = None,
        lock_policy: LockPolicy | None = None,
    ) -> None:
        self.url = url
        self.change = change
        self.run_id = run_id
        self.policy = lock_policy or PATIENT_POLICY

    @classmethod
    def find(cls, url: URL, change_id: int, **options: Any) -> ColumnRename:
        """Return the change of that number.

        Raises:
            RefusedError: the ledger has none.
        """
        with converting_errors(), session_on(url, ROLE, None, PATIENT_POLICY) as session:
            if not ledger.exists(session):
                raise RefusedError("This database has no ledger: no column was ever changed here.")
            entry = ledger.by_id(session, change_id)
        terms = {**entry.change.terms(), "table": f"{entry.schema}.{entry.table}"}
        return cls(url, ColumnChange(**terms), **options)

    # -- reading ----------------------------------------------------------------------------------------

    def plan(self) -> RenamePlan:
        """Say what would be carried over and what is refused; changes nothing."""
        with self._session() as session:
            return make_plan(session, self.change)

    def status(self) -> RenameStatus:
        """Say where the change stands; changes nothing.

        Raises:
            RefusedError: the change was never begun.
        """
        with self._session() as session:
            return read_status(session, self._entry(session).id)

    # -- stages -----------------------------------------------------------------------------------------

    def expand(self, by: str = "") -> RenameStatus:
        """Add the new column and the trigger that keeps both in step, in one transaction.

        Raises:
            PlanRefusedError: something on the column cannot be carried over; nothing was touched.
        """
        with self._session() as session:
            found = expanding.begin(session, self.change, by)
            with self._claimed(session, found, by) as claim:
                if claim.entry.stage is Stage.PLANNED:
                    expanding.expand(claim)
            return read_status(session, found.id)

    def backfill(
        self,
        on_progress: Callable[[BackfillProgress], None] | None = None,
        *,
        stop: threading.Event | None = None,
        workers: int = 1,
    ) -> RenameStatus:
        """Fill the rows that were there before; go on where a former run has stopped.

        Raises:
            BackfillStoppedError: it was asked to stop.
            BackfillError: rows could not be filled; they are named.
        """
        connect = partial(session_on, self.url, "backfill", self.run_id, self.policy)

        def work(claim: Claim) -> None:
            if claim.entry.stage in (Stage.EXPANDED, Stage.BACKFILLING):
                stages.backfill(claim, connect, on_progress=on_progress, stop=stop, workers=workers)

        return self._step(work, "")

    def validate(self) -> RenameStatus:
        """Make indexes, constraints and NOT NULL for the new column, then prove that no row differs.

        Raises:
            ParityError: rows differ; their keys are named.
        """

        def work(claim: Claim) -> None:
            if claim.entry.stage not in (Stage.VALIDATED, Stage.FLIPPED, *_AFTER_FLIP):
                stages.validate(claim)

        return self._step(work, "")

    def flip(self, by: str = "", reason: str = "") -> RenameStatus:
        """Record that the application reads the new column; refused without a proof of parity."""

        def work(claim: Claim) -> None:
            if claim.entry.stage not in (Stage.FLIPPED, *_AFTER_FLIP):
                stages.flip(claim, by, reason)

        return self._step(work, by)

    def flip_back(self, by: str = "", reason: str = "") -> RenameStatus:
        """Record that the application reads the old column again."""

        def work(claim: Claim) -> None:
            if claim.entry.stage is not Stage.VALIDATED:
                stages.flip_back(claim, by, reason)

        return self._step(work, by)

    def observe(self) -> RenameStatus:
        """Prove parity once more; may be repeated as often as one likes.

        Raises:
            ParityError: rows differ; their keys are named.
        """
        return self._step(lambda claim: _ignore(stages.observe(claim)), "")

    def scream(
        self,
        duration_s: float = 60.0,
        errors: Callable[[], int] | None = None,
        on_tick: Callable[[float], None] | None = None,
    ) -> RenameStatus:
        """Hide the old column for a stated time; give its name back at the end, or at the first error.

        Args:
            duration_s: how long; a test that was interrupted ends at the time that was stated then.
            errors: returns how many failures of the application were seen; asked twice a second.
            on_tick: is told the seconds that are left.

        Raises:
            ScreamTestFailedError: the application failed; the column is back.
        """

        def work(claim: Claim) -> None:
            if (
                claim.entry.stage in (Stage.SCREAMED, Stage.CONTRACTED, Stage.DROPPED)
                or self.change.keeps_name
            ):
                return
            if claim.entry.stage is not Stage.SCREAMING:
                switching.hide(claim, duration_s)
            self._listen(claim, errors, on_tick)

        return self._step(work, "")

    def _listen(
        self, claim: Claim, errors: Callable[[], int] | None, on_tick: Callable[[float], None] | None
    ) -> None:
        passed = False
        failures = 0
        try:
            while not failures:
                failures = errors() if errors else 0
                until = claim.entry.scream_until or datetime.now(timezone.utc)
                left_s = (until - datetime.now(timezone.utc)).total_seconds()
                if on_tick:
                    on_tick(max(left_s, 0.0))
                if left_s <= 0:
                    break
                time.sleep(min(SCREAM_TICK_S, left_s))
            passed = not failures
        finally:
            reason = "no error was seen" if passed else f"{failures or 'unknown'} errors, or interrupted"
            switching.show(claim, Stage.SCREAMED if passed else Stage.OBSERVING, reason)
        if failures:
            raise ScreamTestFailedError(self.change.subject, failures)

    def contract(self, by: str = "", reason: str = "", *, without_scream_test: bool = False) -> RenameStatus:
        """Move the old column into quarantine, where it is still written, so that an undo is exact.

        Raises:
            StageRefusedError: there was no scream test, and it was not waived.
        """

        def work(claim: Claim) -> None:
            if claim.entry.stage in (Stage.CONTRACTED, Stage.DROPPED):
                return
            waived = without_scream_test or self.change.keeps_name
            if claim.entry.stage is Stage.OBSERVING and not waived:
                raise _no_scream_test()
            switching.contract(claim, by, reason)

        return self._step(work, by)

    def drop(self, *, force: bool = False, by: str = "", reason: str = "") -> RenameStatus:
        """Really drop the old column, once its retention time is over (or with ``force``).

        Raises:
            QuarantineRetainedError: it is not over.
        """

        def work(claim: Claim) -> None:
            if claim.entry.stage is Stage.DROPPED:
                return
            until = claim.entry.quarantine_until
            if until and not force and until > datetime.now(timezone.utc):
                raise QuarantineRetainedError(
                    f"{self.change.table}.{self.change.old} is kept in quarantine until "
                    f"{until:%Y-%m-%d %H:%M} UTC, so that the change can be undone. Wait, or force it."
                )
            switching.drop(claim, by, reason)

        return self._step(work, by)

    def abort(self, by: str = "", reason: str = "") -> RenameStatus:
        """Bring back the schema of before, with all the application's writes; until the contract."""

        def work(claim: Claim) -> None:
            if claim.entry.stage is not Stage.ABORTED:
                expanding.abort(claim, by, reason)
                claim.refresh()

        return self._step(work, by)

    def undo(self, by: str = "", reason: str = "") -> RenameStatus:
        """After the contract: the old column is back under its name, with the writes since."""

        def work(claim: Claim) -> None:
            if claim.entry.stage is not Stage.BACKFILLED:
                switching.undo(claim, by, reason)

        return self._step(work, by)

    def tune(self, **values: Any) -> Throttle:
        """Change limits of the backfill, for its next batch on.

        Raises:
            ConfigurationError: there is no limit of that name.
        """
        with self._session() as session:
            return batches.tune(session, self._entry(session).id, values)

    # -- machinery --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        with converting_errors(), session_on(self.url, ROLE, self.run_id, self.policy) as session:
            yield session

    def _entry(self, session: Session) -> ledger.Entry:
        found = ledger.find(session, self.change)
        if found is None:
            raise RefusedError(f"{self.change.subject} was never begun in this database: expand it first.")
        return found

    def _step(self, work: Callable[[Claim], None], by: str) -> RenameStatus:
        with self._session() as session:
            entry = self._entry(session)
            with self._claimed(session, entry, by) as claim:
                work(claim)
            return read_status(session, entry.id)

    @contextlib.contextmanager
    def _claimed(self, session: Session, entry: ledger.Entry, by: str) -> Iterator[Claim]:
        claim = ledger.claim(session, entry, by or self.run_id or "nobody named")
        yield claim
        claim.release()


_AFTER_FLIP = (Stage.OBSERVING, Stage.SCREAMING, Stage.SCREAMED, Stage.CONTRACTED, Stage.DROPPED)


def _ignore(_: object) -> None:
    """Stand for a result that the ledger has too."""


def _no_scream_test() -> StageRefusedError:
    return StageRefusedError(
        Stage.CONTRACTED.value, Stage.OBSERVING.value, [Stage.SCREAMING.value],
        "First a scream test: hide the old column for a while, or waive it.",
    )  # fmt: skip


def list_changes(url: URL) -> list[RenameStatus]:
    """Return all changes of a database, the newest first."""
    with converting_errors(), session_on(url, ROLE, None, PATIENT_POLICY) as session:
        return [read_status(session, entry.id) for entry in ledger.entries(session)]


def pause_backfills(url: URL) -> list[str]:
    """Pause the backfill of every open change of a database before its next batch; returns their names.

    Takes a row lock in the ledger for a moment. Can run twice. ``tune(paused=False)`` lets one go on.
    """
    with converting_errors(), session_on(url, ROLE, None, PATIENT_POLICY) as session:
        open_entries = [entry for entry in ledger.entries(session) if entry.stage not in OVER]
        for entry in open_entries:
            batches.tune(session, entry.id, {"paused": True})
    return [entry.change.subject for entry in open_entries]
