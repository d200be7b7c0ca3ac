"""The order of a production migration, and what happens when a step of it fails. Written once.

preflight -> backup -> verify backup -> rehearse -> migrate, monitored -> verify;
else the recovery ladder; always notify.

``MigrationSteps`` names the steps. The command line plays this runbook with the engine itself
(``lockkeeper.engine``), the Prefect flow plays the same runbook with one task a step.

After ``run_migration`` the database equals before or equals after, or the outcome is ``NEEDS_HUMAN`` and
the report holds the exact command to run next.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from lockkeeper.errors import (
    LockkeeperError,
    MigrationError,
    NeedsHumanError,
    RefusedError,
    VerificationError,
)
from lockkeeper.ladder import LadderFacts, Rung, next_rung
from lockkeeper.models import (
    BackupManifest,
    BackupVerification,
    Check,
    MigrationPlan,
    MonitorSummary,
    Outcome,
    RecoveryAttempt,
    RestoreReport,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
    utc_now,
)
from lockkeeper.proving.models import Rehearsal
from lockkeeper.record import RunRecord, explain
from lockkeeper.redaction import redact
from lockkeeper.signals import uninterrupted

logger = logging.getLogger(__name__)


class Monitor(Protocol):
    """Watches the database beside the migration, until the block that it was opened for ends."""

    def summary(self) -> MonitorSummary:
        """What was seen; complete once the block has ended."""
        ...


class MigrationSteps(Protocol):
    """The steps of a migration. Each raises a LockkeeperError when it fails; none returns a secret."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the database's migration lock and end what a killed run left; raises LockHeldError."""
        ...

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """Check all that can be known beforehand; raises PreflightError, touches nothing."""
        ...

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """Dump the database to storage."""
        ...

    def verify_backup(self, backup_id: str, keep_copy: bool = False) -> BackupVerification:
        """Restore the backup beside the database and compare; the copy may stay until the run ends."""
        ...

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy_database: str) -> Rehearsal:
        """Upgrade, downgrade, upgrade the verified copy; raises VerificationError unless all is clean."""
        ...

    def monitored(self) -> AbstractContextManager[Monitor]:
        """Watch the database for the length of a block."""
        ...

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """Apply the plan; raises RefusedError when the database is no longer what was backed up."""
        ...

    def verify(
        self, plan: MigrationPlan, backup: BackupManifest, expected: SchemaFingerprint | None
    ) -> Sequence[Check]:
        """Check schema, data and rules after the migration; raises VerificationError.

        ``expected`` is the schema that the rehearsal has led to.
        """
        ...

    def current_revisions(self, plan: MigrationPlan) -> tuple[str, ...]:
        """Read the version table, waiting for a server that is coming back."""
        ...

    def downgrade(self, plan: MigrationPlan) -> Sequence[RevisionTiming]:
        """Revert to where the plan began; raises MigrationError."""
        ...

    def verify_unchanged(
        self, plan: MigrationPlan, backup: BackupManifest, applied: Sequence[RevisionTiming], complete: bool
    ) -> str:
        """Prove that the database is what it was, and say how; raises VerificationError.

        ``applied`` are the revisions that ran in either direction; ``complete`` says that nothing else of
        the migration can have been committed.
        """
        ...

    def restore(
        self, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming], complete: bool
    ) -> RestoreReport:
        """Restore beside, verify, swap; raises NeedsHumanError when that could lose a write."""
        ...

    def journal(self, report: RunReport) -> str | None:
        """Write down where the run stands; returns a warning instead of raising."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team; returns a warning instead of raising."""
        ...


@dataclass(frozen=True)
class MigrationRequest:
    """What somebody asked for."""

    run_id: str
    target: str
    database: str
    revision: str = "head"
    initiator: str = ""
    link: str | None = None
    recovery: Literal["lossless", "accept-loss", "manual"] = "lossless"
    rehearsal: Literal["full", "off"] = "full"


def run_migration(steps: MigrationSteps, request: MigrationRequest) -> RunReport:
    """Play the runbook and return its report; only interruptions (not errors) are raised, at the end.

    Takes the migration lock of the database for the whole time. Can be run again after any crash.
    """
    record = RunRecord(_opening_report(request), steps.journal)
    interruption: BaseException | None = None
    try:
        with steps.exclusive():
            _Run(steps, record, request).play()
    except RefusedError as error:
        record.conclude(Outcome.REFUSED, error)
    except Exception as error:
        _log_unexpected(error)
        # The ladder answers for what happens after the first change; up to there nothing was changed, and
        # before the first step (the server refuses the password, say) nothing was even begun.
        record.conclude(Outcome.UNCHANGED if record.report.steps else Outcome.REFUSED, error)
    except BaseException as error:
        interruption = error
        record.conclude(Outcome.UNCHANGED, error)
    with uninterrupted("telling the team"):
        report = record.close()
        warning = steps.notify(report)
        report = record.warn(warning) if warning else report
    if interruption is not None:
        raise interruption
    return report


def _opening_report(request: MigrationRequest) -> RunReport:
    return RunReport(
        run_id=request.run_id,
        operation="migrate",
        target=request.target,
        database=request.database,
        requested_revision=request.revision,
        started_at=utc_now(),
        initiator=request.initiator,
        link=request.link,
    )


def _log_unexpected(error: BaseException) -> None:
    if not isinstance(error, LockkeeperError) and isinstance(error, Exception):
        logger.error("Unexpected %s: %s", type(error).__name__, redact(str(error)))


@contextlib.contextmanager
def _summing_up(record: RunRecord, steps: MigrationSteps) -> Iterator[None]:
    """Monitor the block; what was seen goes into the report, above all when the block fails."""
    monitor: Monitor | None = None
    try:
        with steps.monitored() as monitor:
            yield
    finally:
        if monitor is not None:
            record.update(monitor=monitor.summary())


@dataclass
class _Damage:
    """What is known of a failed migration: why, which revisions ran, and whether nothing else can have."""

    error: BaseException
    applied: list[RevisionTiming]
    complete: bool
    next_command: str

    @property
    def reason(self) -> str:
        return explain(self.error)


@dataclass
class _Run:
    steps: MigrationSteps
    record: RunRecord
    request: MigrationRequest

    def play(self) -> None:
        """The runbook itself."""
        steps, record = self.steps, self.record
        with record.step("preflight") as note:
            plan, checks = steps.preflight(self.request.revision)
            record.update(plan=plan, checks=tuple(checks))
            note(f"{len(plan.steps)} revisions to apply")
        if not plan.steps:
            record.conclude(Outcome.NOTHING_TO_DO)
            return
        with record.step("backup") as note:
            backup = steps.create_backup(plan)
            record.update(backup_id=backup.id)
            note(f"{backup.id}, {backup.size_bytes or 0} bytes")
        with record.step("verify-backup") as note:
            verification = steps.verify_backup(backup.id, self.request.rehearsal != "off")
            note(f"{verification.tables} tables and {verification.rows} rows equal")
        rehearsal = self.rehearse(plan, backup, verification)
        applied: list[RevisionTiming] = []
        try:
            self.migrate(plan, backup, applied)
            if rehearsal:
                self.record.update(revisions=rehearsal.compared(applied))
            self.verify(plan, backup, rehearsal.schema_after if rehearsal else None)
        except RefusedError:
            raise
        except BaseException as error:
            with uninterrupted("the recovery"):
                self.recover(plan, backup, self.assess(error, backup, applied))
            if not isinstance(error, Exception):
                raise
        else:
            record.conclude(Outcome.SUCCEEDED)

    def rehearse(
        self, plan: MigrationPlan, backup: BackupManifest, verification: BackupVerification
    ) -> Rehearsal | None:
        """Rehearse on the verified copy, unless the policy goes without; production is not touched yet."""
        if verification.copy_database is None:
            return None
        with self.record.step("rehearse") as note:
            rehearsal = self.steps.rehearse(plan, backup, verification.copy_database)
            note(f"{len(rehearsal.proofs)} revisions applied, reverted and applied again")
        return rehearsal

    def migrate(self, plan: MigrationPlan, backup: BackupManifest, applied: list[RevisionTiming]) -> None:
        with self.record.step("migrate") as note:
            with _summing_up(self.record, self.steps):
                applied.extend(self.steps.migrate(plan, backup))
            self.record.update(revisions=tuple(applied))
            note(f"now at {', '.join(plan.after) or 'base'}")

    def verify(self, plan: MigrationPlan, backup: BackupManifest, expected: SchemaFingerprint | None) -> None:
        with self.record.step("verify") as note:
            try:
                checks = self.steps.verify(plan, backup, expected)
            except VerificationError as error:
                self.record.update(checks=(*self.record.report.checks, *error.checks))
                raise
            self.record.update(checks=(*self.record.report.checks, *checks))
            note(f"{len(checks)} checks")

    def assess(self, error: BaseException, backup: BackupManifest, applied: list[RevisionTiming]) -> _Damage:
        """Work out what a failure can have left behind."""
        _log_unexpected(error)
        if isinstance(error, MigrationError):
            applied.extend(error.completed)
            complete = not error.left_partial
        else:
            # Either the whole migration had ended (verification failed), or it was cut off somewhere.
            complete = bool(applied)
        self.record.update(revisions=tuple(applied))
        command = f"lockkeeper restore {self.request.target} {backup.id}"
        return _Damage(error, applied, complete, command)

    def recover(self, plan: MigrationPlan, backup: BackupManifest, damage: _Damage) -> None:
        """Climb the ladder until a rung is verified; sets the outcome and raises no Exception."""
        tried: list[Rung] = []
        try:
            moved = set(self.steps.current_revisions(plan)) != set(plan.before)
            while rung := next_rung(LadderFacts(moved, self.request.recovery), tried):
                tried.append(rung)
                if self.climb(rung, plan, backup, damage):
                    unchanged = rung is Rung.ROLLED_BACK
                    outcome = Outcome.UNCHANGED if unchanged else Outcome.RECOVERED
                    self.record.conclude(outcome, damage.error)
                    return
        except Exception as error:
            _log_unexpected(error)
            why = redact(str(error))
            self.record.attempted(
                RecoveryAttempt(rung="find out where the database stands", succeeded=False, reason=why)
            )
        self.record.conclude(Outcome.NEEDS_HUMAN, damage.error, next_command=damage.next_command)

    def climb(self, rung: Rung, plan: MigrationPlan, backup: BackupManifest, damage: _Damage) -> bool:
        """Try one rung; keeps why it was or was not enough."""
        started = time.monotonic()
        succeeded = False
        try:
            with self.record.step(f"recover: {rung.value}") as note:
                reason = self.attempt(rung, plan, backup, damage)
                note(reason)
            succeeded = True
        except Exception as error:
            _log_unexpected(error)
            reason = redact(str(error))
            if isinstance(error, NeedsHumanError):
                damage.next_command = error.command
        took = round(time.monotonic() - started, 3)
        self.record.attempted(
            RecoveryAttempt(rung=rung.value, succeeded=succeeded, reason=reason, duration_s=took)
        )
        return succeeded

    def attempt(self, rung: Rung, plan: MigrationPlan, backup: BackupManifest, damage: _Damage) -> str:
        """Do what the rung says and verify it; returns how it was proven."""
        if rung is Rung.RESTORE:
            restored = self.steps.restore(backup, damage.reason, damage.applied, damage.complete)
            self.record.update(restore=restored)
            return f"restored {backup.id}; writes were refused for {restored.fence_s:.2f} s"
        if rung is Rung.DOWNGRADE:
            try:
                damage.applied.extend(self.steps.downgrade(plan))
            except MigrationError as error:
                damage.applied.extend(error.completed)
                damage.complete = damage.complete and not error.left_partial
                raise
        return self.steps.verify_unchanged(plan, backup, damage.applied, damage.complete)
