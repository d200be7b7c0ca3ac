"""The runbook's steps as Prefect tasks: what the UI shows of a run, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from prefect import runtime

from lockkeeper.by_hand import ByHand
from lockkeeper.errors import ApprovalNeededError
from lockkeeper.ladder import LadderFacts
from lockkeeper.measured import UnforeseenWrite
from lockkeeper.models import (
    Approval,
    BackupManifest,
    BackupVerification,
    Check,
    DrillReport,
    MigrationPlan,
    Outcome,
    RestoreReport,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
    WarmCopy,
)
from lockkeeper.operations import OperationSteps
from lockkeeper.proving.models import Rehearsal
from lockkeeper.rename import RenameStatus
from lockkeeper.renaming import Backfilled, RenameRequest, RenameSteps
from lockkeeper.risk import Linted
from lockkeeper.runbook import MigrationRequest, MigrationSteps, Monitor
from tasks import rename
from tasks.approvals import run_that_asked
from tasks.backup import create_backup, expire_backups
from tasks.drill import drill_backup, publish_trend
from tasks.migrate import apply_migration, revert_migration
from tasks.monitor import monitoring
from tasks.notify import notify
from tasks.preflight import check_preflight
from tasks.rehearse import rehearse_migration
from tasks.reports import publish_report
from tasks.restore import put_back, restore_backup, restore_with_replay, swap_warm_copy
from tasks.runs import Run
from tasks.standby import stand_by
from tasks.verify import verify_migration, verify_unchanged
from tasks.verify_backup import verify_backup

EXPECTED_STEPS = {
    "migrate": 8,
    "backup": 3,
    "restore": 2,
    "drill": 1,
    "rename": 7,
    "recover": 2,
    "undo": 2,
    "clean": 1,
}
"""How many steps each operation has when nothing goes wrong; only progress bars rest on it."""


class _RunSteps:
    """What the steps of every operation share. Belongs to the flow run that opened ``run``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._of_run = (run.target.name, run.id)

    def request(self, revision: str = "head", answer: Approval | None = None) -> MigrationRequest:
        """Return what the runbooks must know of this run; ``answer`` is the newest one that was given."""
        run = self._run
        return MigrationRequest(
            run_id=run.id,
            target=run.target.name,
            database=run.target.database,
            revision=revision,
            initiator=run.initiator,
            link=run.link,
            recovery=run.target.policies.recovery,
            rehearsal=run.target.policies.rehearsal,
            approval=run.target.policies.approval,
            answered=run.engine.answered(run_that_asked(answer.key), answer) if answer else None,
        )

    @property
    def by_hand(self) -> ByHand:
        """The deployments with which somebody goes on where this run stops."""
        return self._run.engine.by_hand

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the migration lock in the flow itself: it must outlive every task."""
        return self._run.engine.exclusive()

    def verify_backup(self, backup_id: str, keep_copy: bool = False) -> BackupVerification:
        """Restore the backup beside the database and compare."""
        return verify_backup(*self._of_run, backup_id, keep_copy)

    def expire_backups(self) -> Sequence[str]:
        """Remove what the target's retention policy lets go."""
        return expire_backups(*self._of_run)

    def journal(self, report: RunReport) -> str | None:
        """Show how far the run is, and write the journal."""
        self._run.show(report, EXPECTED_STEPS[report.operation])
        return self._run.engine.journal(report)

    def notify(self, report: RunReport) -> str | None:
        """Tell the team, then publish the report, which says when the team could not be told."""
        warning = notify(report)
        warnings = (*report.warnings, warning) if warning else report.warnings
        publish_report(report.model_copy(update={"warnings": warnings}), self._run.engine.page_place(report))
        return warning


class OperationTasks(_RunSteps, OperationSteps):
    """Plays ``lockkeeper.operations`` with one task a step."""

    def back_up(self) -> BackupManifest:
        """See ``OperationSteps``."""
        return create_backup(*self._of_run, None)

    def restorable(self, backup_id: str) -> BackupManifest:
        """See ``OperationSteps``."""
        return self._run.engine.restorable(backup_id)

    def drill(self) -> DrillReport:
        """See ``OperationSteps``; the trend becomes an artifact."""
        done = drill_backup(*self._of_run)
        publish_trend(*self._of_run)
        return done

    def put_back(
        self, manifest: BackupManifest, asked_by: str, accept_loss: bool, until: str | None = None
    ) -> RestoreReport:
        """See ``OperationSteps``."""
        return put_back(*self._of_run, manifest, asked_by, accept_loss, until)


class MigrationTasks(_RunSteps, MigrationSteps):
    """Plays ``lockkeeper.runbook`` with one task a step."""

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """See ``MigrationSteps``."""
        return check_preflight(*self._of_run, revision)

    def lint(self) -> Linted:
        """See ``MigrationSteps``."""
        return self._run.engine.lint()

    def last_drill(self) -> DrillReport | None:
        """See ``MigrationSteps``."""
        return self._run.engine.last_drill()

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """See ``MigrationSteps``."""
        return create_backup(*self._of_run, plan)

    def stand_by(self, backup: BackupManifest, copy_database: str) -> WarmCopy:
        """See ``MigrationSteps``."""
        return stand_by(*self._of_run, backup, copy_database)

    def settle(self, outcome: Outcome | None, backup_id: str | None) -> Sequence[str]:
        """See ``MigrationSteps``."""
        return self._run.engine.settle(outcome, backup_id)

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy_database: str) -> Rehearsal:
        """See ``MigrationSteps``."""
        return rehearse_migration(*self._of_run, plan, backup, copy_database)

    def ask_approval(self, report: RunReport, why: Sequence[str]) -> Approval:
        """Raise ApprovalNeededError: the flow suspends itself when the lock is free again."""
        if runtime.deployment.id is None:  # a script's run cannot be suspended
            return self._run.engine.ask_approval(report, why)
        raise ApprovalNeededError(why, f'lockkeeper approve {report.run_id} --reason "..."')

    def monitored(self) -> AbstractContextManager[Monitor]:
        """See ``MigrationSteps``."""
        return monitoring(*self._of_run)

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """See ``MigrationSteps``."""
        return apply_migration(*self._of_run, plan, backup)

    def verify(
        self,
        plan: MigrationPlan,
        backup: BackupManifest,
        expected: SchemaFingerprint | None,
        unforeseen: Sequence[UnforeseenWrite],
    ) -> Sequence[Check]:
        """See ``MigrationSteps``."""
        return verify_migration(*self._of_run, plan, backup, expected, unforeseen)

    def recovery_facts(self, plan: MigrationPlan, backup: BackupManifest) -> LadderFacts:
        """See ``MigrationSteps``."""
        return self._run.engine.recovery_facts(plan, backup)

    def warm_swap(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """See ``MigrationSteps``."""
        return swap_warm_copy(*self._of_run, plan, backup, reason, list(applied))

    def restore_with_replay(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """See ``MigrationSteps``."""
        return restore_with_replay(*self._of_run, plan, backup, reason, list(applied))

    def downgrade(self, plan: MigrationPlan) -> Sequence[RevisionTiming]:
        """See ``MigrationSteps``."""
        return revert_migration(*self._of_run, plan)

    def verify_unchanged(
        self, plan: MigrationPlan, backup: BackupManifest, applied: Sequence[RevisionTiming], complete: bool
    ) -> str:
        """See ``MigrationSteps``."""
        return verify_unchanged(*self._of_run, plan, backup, list(applied), complete)

    def restore(
        self, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming], complete: bool
    ) -> RestoreReport:
        """See ``MigrationSteps``."""
        return restore_backup(*self._of_run, backup, reason, list(applied), complete)


class RenameTasks(_RunSteps, RenameSteps):
    """Plays ``lockkeeper.renaming`` with one task a stage."""

    def __init__(self, run: Run, change: RenameRequest) -> None:
        super().__init__(run)
        self._change = change
        self._of_stage = (*self._of_run, change)

    def expand(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.expand(*self._of_stage)

    def backfill(self) -> Backfilled:
        """See ``RenameSteps``."""
        return rename.backfill(*self._of_stage)

    def validate(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.validate(*self._of_stage)

    def flip(self, approval: Approval) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.flip(*self._of_stage, approval)

    def observe(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.observe(*self._of_stage)

    def scream(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.scream(*self._of_stage)

    def contract(self, approval: Approval) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.contract(*self._of_stage, approval)

    def abort(self, approval: Approval) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.abort(*self._of_stage, approval)

    def status(self) -> RenameStatus:
        """See ``RenameSteps``."""
        return rename.stages_of(*self._of_stage).status()

    def question(self, key: str) -> str:
        """See ``RenameSteps``."""
        return rename.stages_of(*self._of_stage).question(key)
