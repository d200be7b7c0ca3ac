"""What somebody does later: a migration undone, a killed run taken up again, what is left removed.

As every operation they keep a record, write the journal after each step, tell the team, and end as a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lockkeeper.climb import Climb, RecoverySteps, assess, carried_over
from lockkeeper.errors import KilledRunError, RecoveryError
from lockkeeper.ladder import Rung
from lockkeeper.models import BackupManifest, MigrationPlan, Outcome, RestoreReport, RunReport
from lockkeeper.operations import OperationSteps, play_operation
from lockkeeper.record import RunRecord
from lockkeeper.runbook import MigrationRequest

_BEFORE_CHANGES = frozenset({"preflight", "backup", "verify-backup", "stand-by", "rehearse"})


class Unfinished(NamedTuple):
    """A run that did not end, or that left the rest to a human.

    Attributes:
        report: its report, as far as it came.
        backup: the backup that it made, None when it had not come so far.
        exchanged: the quarantine when its exchange of databases was done: there is nothing left to recover.
    """

    report: RunReport
    backup: BackupManifest | None
    exchanged: str | None


class LaterSteps(RecoverySteps, OperationSteps, Protocol):
    """The steps of ``undo`` and ``recover``."""

    def undoable(self) -> BackupManifest:
        """Find the copy that is kept for an undo, and what feeds it; raises RefusedError."""
        ...

    def undo(self, backup: BackupManifest, asked_by: str) -> RestoreReport:
        """Let the kept copy take over with everything that was written since; verify."""
        ...

    def unfinished(self) -> Unfinished:
        """Find the newest run that did not end, and its way back; raises RefusedError when there is none."""
        ...

    def close_unfinished(self, report: RunReport, outcome: Outcome) -> None:
        """Write down how a run ended that could not do so itself."""
        ...

    def clean(self, quarantine: str | None, waiting: bool) -> tuple[Sequence[str], Sequence[str]]:
        """Remove what earlier runs have left; returns what was removed, and what could not be."""
        ...

    def settle(self, outcome: Outcome | None, backup_id: str | None) -> Sequence[str]:
        """Let go of the way back, or keep it; returns warnings instead of raising."""
        ...


def run_undo(steps: LaterSteps, request: MigrationRequest) -> RunReport:
    """Undo a migration that succeeded, and keep every write since: the copy that is kept takes over.

    Holds the migration lock. Whatever fails, the database serves on as it is, and the copy is kept.
    """

    def play(record: RunRecord) -> None:
        with steps.exclusive():
            with record.step("find the copy") as note:
                backup = steps.undoable()
                record.update(backup_id=backup.id)
                note(f"fed since backup {backup.id}")
            with record.step("undo") as note:
                done = steps.undo(backup, request.initiator)
                record.update(restore=done)
                note(carried_over(done))
            for warning in steps.settle(None, backup.id):
                record.warn(warning)

    return play_operation("undo", steps, request, play)


def run_recover(steps: LaterSteps, request: MigrationRequest) -> RunReport:
    """Take up a migration that was killed, or that left the rest to a human: back to before it.

    Holds the migration lock. Can be killed and run again: what has been done is seen in the server.
    """

    def play(record: RunRecord) -> None:
        with steps.exclusive():
            with record.step("find the run") as note:
                found = steps.unfinished()
                record.update(backup_id=found.report.backup_id, plan=found.report.plan)
                note(f"run {found.report.run_id}, {_where(found.report)}")
            outcome = _take_up(steps, record, found)
            steps.close_unfinished(found.report, outcome)
            for warning in steps.settle(outcome, found.report.backup_id):
                record.warn(warning)

    return play_operation("recover", steps, request, play)


def run_clean(
    steps: LaterSteps, request: MigrationRequest, *, quarantine: str | None = None, waiting: bool = False
) -> RunReport:
    """Remove what earlier runs have left on the servers and on this machine.

    Holds the migration lock, so nothing of a run that is alive is touched. Can run twice. What could not be
    removed is a warning.
    """

    def play(record: RunRecord) -> None:
        with steps.exclusive(), record.step("clean") as note:
            removed, problems = steps.clean(quarantine, waiting)
            note(", ".join(removed) or "nothing is left")
        for problem in problems:
            record.warn(problem)

    return play_operation("clean", steps, request, play)


def _where(report: RunReport) -> str:
    return report.steps[-1].name if report.steps else "before its first step"


def _take_up(steps: LaterSteps, record: RunRecord, found: Unfinished) -> Outcome:
    report = found.report
    if found.exchanged is not None:
        record.warn(f"The exchange had been done already: the failed database is {found.exchanged}.")
        return Outcome.RECOVERED
    if not _may_have_changed(report) or found.backup is None or report.plan is None:
        return Outcome.UNCHANGED
    return _climb(steps, record, report.plan, found.backup, KilledRunError(report.run_id, _where(report)))


def _may_have_changed(report: RunReport) -> bool:
    """Whether the run had come to where production is changed."""
    return any(step.name not in _BEFORE_CHANGES for step in report.steps)


def _climb(
    steps: LaterSteps, record: RunRecord, plan: MigrationPlan, backup: BackupManifest, error: KilledRunError
) -> Outcome:
    damage = assess(error, [], steps.by_hand.restore(backup.id, accept_loss=True))
    rung = Climb(steps, record, plan, backup, damage).recover()
    if rung is None:
        steps.settle(Outcome.NEEDS_HUMAN, backup.id)
        raise RecoveryError("No rung of the ladder could be verified.", damage.next_command)
    return Outcome.UNCHANGED if rung is Rung.ROLLED_BACK else Outcome.RECOVERED
