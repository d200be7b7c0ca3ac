"""The order of a production migration, written once.

``MigrationSteps`` names the steps. The command line plays the runbook with the engine itself
(``lockkeeper.engine``), the Prefect flow plays the same runbook with one task a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lockkeeper.models import (
    BackupManifest,
    BackupVerification,
    Check,
    MigrationPlan,
    MonitorSummary,
    RecoveryAttempt,
    RestoreReport,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
)


class Monitor(Protocol):
    """Watches the database beside the migration, until the block that it was opened for ends."""

    def summary(self) -> MonitorSummary:
        """What was seen; complete once the block has ended."""
        ...


class MigrationSteps(Protocol):
    """The steps of a migration. Each raises a LockkeeperError when it fails; none returns a secret."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the database's migration lock; raises LockHeldError."""
        ...

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """Check everything that can be known beforehand; raises PreflightError, touches nothing."""
        ...

    def create_backup(self) -> BackupManifest:
        """Dump the database to storage."""
        ...

    def verify_backup(self, backup_id: str) -> BackupVerification:
        """Restore the backup beside the database and compare."""
        ...

    def monitored(self) -> AbstractContextManager[Monitor]:
        """Watch the database for the length of a block."""
        ...

    def schema(self) -> SchemaFingerprint:
        """Take the present schema, to compare with later."""
        ...

    def migrate(self, plan: MigrationPlan) -> Sequence[RevisionTiming]:
        """Apply the plan, one revision at a time; raises MigrationError."""
        ...

    def verify(self, plan: MigrationPlan) -> Sequence[Check]:
        """Check schema, data and rules after the migration; raises VerificationError."""
        ...

    def downgrade(self, plan: MigrationPlan) -> Sequence[RevisionTiming]:
        """Revert to where the plan began; raises MigrationError."""
        ...

    def verify_unchanged(self, plan: MigrationPlan, before: BackupManifest) -> None:
        """Prove that schema and untouched data are those of before; raises VerificationError."""
        ...

    def restore(self, before: BackupManifest, reason: str) -> RestoreReport:
        """Restore beside, verify, swap; raises NeedsHumanError when that could lose a write."""
        ...

    def journal(self, report: RunReport) -> None:
        """Write down where the run stands; called after every step."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team; returns a warning instead of raising."""
        ...
