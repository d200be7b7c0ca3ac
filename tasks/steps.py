"""The runbook's steps as Prefect tasks: what the UI shows of a run, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from lockkeeper.models import (
    BackupManifest,
    BackupVerification,
    Check,
    MigrationPlan,
    RestoreReport,
    RevisionTiming,
    RunReport,
)
from lockkeeper.runbook import MigrationRequest, MigrationSteps, Monitor
from tasks.backup import create_backup
from tasks.migrate import apply_migration, revert_migration
from tasks.monitor import monitoring
from tasks.notify import notify
from tasks.preflight import check_preflight
from tasks.reports import publish_report
from tasks.restore import restore_backup
from tasks.runs import Run
from tasks.verify import verify_migration, verify_unchanged
from tasks.verify_backup import verify_backup

EXPECTED_STEPS = 5
"""preflight, backup, verify-backup, migrate, verify: a migration without trouble."""


class TaskSteps(MigrationSteps):
    """Plays ``lockkeeper.runbook`` with one task a step. Belongs to the flow run that opened ``run``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._of_run = (run.target.name, run.id)

    def request(self, revision: str) -> MigrationRequest:
        """Return what the runbook must know of this run."""
        run = self._run
        return MigrationRequest(
            run_id=run.id,
            target=run.target.name,
            database=run.target.database,
            revision=revision,
            initiator=run.initiator,
            link=run.link,
            recovery=run.target.policies.recovery,
        )

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the migration lock in the flow itself: it must outlive every task."""
        return self._run.engine.exclusive()

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """See ``MigrationSteps``."""
        return check_preflight(*self._of_run, revision)

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """See ``MigrationSteps``."""
        return create_backup(*self._of_run, plan)

    def verify_backup(self, backup_id: str) -> BackupVerification:
        """See ``MigrationSteps``."""
        return verify_backup(*self._of_run, backup_id)

    def monitored(self) -> AbstractContextManager[Monitor]:
        """See ``MigrationSteps``."""
        return monitoring(*self._of_run)

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """See ``MigrationSteps``."""
        return apply_migration(*self._of_run, plan, backup)

    def verify(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[Check]:
        """See ``MigrationSteps``."""
        return verify_migration(*self._of_run, plan, backup)

    def current_revisions(self) -> tuple[str, ...]:
        """See ``MigrationSteps``."""
        return self._run.engine.current_revisions()

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

    def journal(self, report: RunReport) -> str | None:
        """Show how far the run is, and write the journal."""
        self._run.show(report, EXPECTED_STEPS)
        return self._run.engine.journal(report)

    def notify(self, report: RunReport) -> str | None:
        """Tell the team and publish the report, which says when the team could not be told."""
        return tell(report)


def tell(report: RunReport) -> str | None:
    """Send the message and publish the report; returns a warning when the team may not have been told."""
    warning = notify(report)
    warnings = (*report.warnings, warning) if warning else report.warnings
    publish_report(report.model_copy(update={"warnings": warnings}))
    return warning
