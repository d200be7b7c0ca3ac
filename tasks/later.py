"""What somebody does later as Prefect tasks: a run taken up again, a migration undone, leftovers removed."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.models import BackupManifest, Outcome, RestoreReport, RunReport
from lockkeeper.recoveries import LaterSteps, Unfinished
from tasks.policies import once
from tasks.runs import engine_of
from tasks.steps import MigrationTasks, OperationTasks


@once(name="undo")
def undo_migration(target: str, run_id: str, backup: BackupManifest, asked_by: str) -> RestoreReport:
    """Let the copy that was kept take over with everything that was written since; verify."""
    return engine_of(target, run_id).undo(backup, asked_by)


@once(name="clean")
def remove_leftovers(
    target: str, run_id: str, quarantine: str | None, waiting: bool
) -> tuple[Sequence[str], Sequence[str]]:
    """Remove what earlier runs have left; returns what was removed, and what could not be."""
    return engine_of(target, run_id).clean(quarantine, waiting)


class LaterTasks(MigrationTasks, OperationTasks, LaterSteps):
    """Plays ``lockkeeper.recoveries`` with one task a rung of the ladder, an undo or a removal."""

    def undoable(self) -> BackupManifest:
        """See ``LaterSteps``."""
        return self._run.engine.undoable()

    def undo(self, backup: BackupManifest, asked_by: str) -> RestoreReport:
        """See ``LaterSteps``."""
        return undo_migration(*self._of_run, backup, asked_by)

    def unfinished(self) -> Unfinished:
        """See ``LaterSteps``."""
        return self._run.engine.unfinished()

    def close_unfinished(self, report: RunReport, outcome: Outcome) -> None:
        """See ``LaterSteps``."""
        self._run.engine.close_unfinished(report, outcome)

    def clean(self, quarantine: str | None, waiting: bool) -> tuple[Sequence[str], Sequence[str]]:
        """See ``LaterSteps``."""
        return remove_leftovers(*self._of_run, quarantine, waiting)
