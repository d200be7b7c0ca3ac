"""The order of a production migration, and what happens when a step of it fails. Written once.

preflight -> backup, captured -> verify backup -> stand by -> rehearse -> (approve)
-> migrate, monitored -> verify -> expire backups; else the recovery ladder; always notify.

``MigrationSteps`` names the steps. The command line plays this runbook with the engine itself
(``lockkeeper.engine``), the Prefect flow plays the same runbook with one task a step.

After ``run_migration`` the database equals before or equals after, or the outcome is ``NEEDS_HUMAN`` and
the report holds the exact command to run next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from lockkeeper.approval import not_covered, revisions_digest
from lockkeeper.climb import Climb, RecoverySteps, assess
from lockkeeper.errors import LockkeeperError, RefusedError, RejectedError, VerificationError
from lockkeeper.ladder import Rung
from lockkeeper.measured import MonitorSummary, UnforeseenWrite
from lockkeeper.models import (
    Answered,
    Approval,
    BackupManifest,
    BackupVerification,
    Check,
    Decision,
    DrillReport,
    MigrationPlan,
    Outcome,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
    WarmCopy,
    utc_now,
)
from lockkeeper.offline_lint import LINT
from lockkeeper.proving.models import Rehearsal
from lockkeeper.record import RunRecord, play_and_tell
from lockkeeper.recovery.unchanged import own_writes
from lockkeeper.risk import Linted, needs_approval, over_budget, unmeasured
from lockkeeper.risk_report import failed_ways_back, recovery_lines
from lockkeeper.signals import uninterrupted


class Monitor(Protocol):
    """Watches the database beside the migration, until the block that it was opened for ends."""

    def summary(self) -> MonitorSummary:
        """What was seen; complete once the block has ended."""
        ...


class MigrationSteps(RecoverySteps, Protocol):
    """The steps of a migration. Each raises a LockkeeperError when it fails; none returns a secret."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the database's migration lock and end what a killed run left; raises LockHeldError."""
        ...

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """Check all that can be known beforehand; raises PreflightError, touches nothing."""
        ...

    def lint(self) -> Linted:
        """Return what the lint has said in the preflight, for a plan that is not rehearsed."""
        ...

    def last_drill(self) -> DrillReport | None:
        """Return the newest drill, for whoever decides about the migration; None when there is none."""
        ...

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """Dump the database to storage."""
        ...

    def verify_backup(self, backup_id: str, keep_copy: bool = False) -> BackupVerification:
        """Restore the backup beside the database and compare; the copy may stay until the run ends."""
        ...

    def stand_by(self, backup: BackupManifest, copy_database: str) -> WarmCopy:
        """Keep the verified copy warm, where what is written is captured; clone it for the rehearsal."""
        ...

    def settle(self, outcome: Outcome | None, backup_id: str | None) -> Sequence[str]:
        """Let go of the way back, or keep it; returns warnings instead of raising."""
        ...

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy_database: str) -> Rehearsal:
        """Upgrade, downgrade, upgrade the verified copy; raises VerificationError unless all is clean."""
        ...

    def ask_approval(self, report: RunReport, why: Sequence[str]) -> Approval:
        """Return a human's answer to the risk in the report.

        Raises:
            ApprovalNeededError: nobody can answer while the run holds the lock; it says what to do.
        """
        ...

    def monitored(self) -> AbstractContextManager[Monitor]:
        """Watch the database for the length of a block."""
        ...

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """Apply the plan.

        Raises:
            RefusedError: nothing was touched: the database is no longer what was backed up.
        """
        ...

    def verify(
        self,
        plan: MigrationPlan,
        backup: BackupManifest,
        expected: SchemaFingerprint | None,
        unforeseen: Sequence[UnforeseenWrite],
    ) -> Sequence[Check]:
        """Check schema, data and rules after the migration; raises VerificationError.

        ``expected`` is the schema that the rehearsal has led to, ``unforeseen`` what was not written there.
        """
        ...

    def expire_backups(self) -> Sequence[str]:
        """Remove what the retention policy lets go, never the last verified one; returns the ids."""
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
    rehearsal: Literal["full", "sampled", "schema-only", "off"] = "full"
    approval: Literal["never", "over-budget", "always"] = "never"
    answered: Answered | None = None


def run_migration(steps: MigrationSteps, request: MigrationRequest) -> RunReport:
    """Play the runbook and return its report; only interruptions (not errors) are raised, at the end.

    Takes the migration lock of the database for the whole time. Can be run again after any crash. A run
    that needs an approval ends without touching anything; another one, given the answer, does all of it
    again, since others have written meanwhile, and acts upon the answer if it still holds.
    """
    record = RunRecord(_opening_report(request), steps.journal)

    def play() -> None:
        _require_consent(request, record)
        with steps.exclusive():
            _Run(steps, record, request).play()

    return play_and_tell(record, play, steps.notify)


def _require_consent(request: MigrationRequest, record: RunRecord) -> None:
    """Refuse what a human has rejected; raises RejectedError."""
    if request.answered is None:
        return
    approval = request.answered.approval
    record.update(approval=approval)
    if approval.decision is not Decision.APPROVE:
        raise RejectedError(f"Nothing was changed: run {request.answered.asked.run_id} was {approval}.")


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
class _Run:
    steps: MigrationSteps
    record: RunRecord
    request: MigrationRequest

    def play(self) -> None:
        """The runbook itself; whatever happens, its way back is let go of, or kept for a reason."""
        try:
            self.play_steps()
        finally:
            with uninterrupted("letting go of the way back"):
                report = self.record.report
                for warning in self.steps.settle(report.outcome, report.backup_id):
                    self.record.warn(warning)
        if self.record.report.outcome is Outcome.SUCCEEDED:
            self.expire_backups()

    def play_steps(self) -> None:
        """Step by step; what fails before the first change is raised, the ladder answers for the rest."""
        steps, record = self.steps, self.record
        with record.step("preflight") as note:
            plan, checks = steps.preflight(self.request.revision)
            record.update(plan=plan, checks=tuple(checks), drill=steps.last_drill())
            note(f"{len(plan.steps)} revisions to apply")
        if not plan.steps:
            record.conclude(Outcome.NOTHING_TO_DO)
            return
        backup, copy = self.back_up(plan)
        rehearsal = self.rehearse(plan, backup, copy)
        self.approve(plan, rehearsal)
        applied: list[RevisionTiming] = []
        try:
            self.migrate(plan, backup, applied)
            self.compare(rehearsal, applied)
            self.verify(plan, backup, rehearsal, applied)
        except BaseException as error:
            if isinstance(error, RefusedError) and not applied:
                raise  # by the migration, before its first statement
            with uninterrupted("the recovery"):
                self.recover(plan, backup, error, applied, rehearsal)
            if not isinstance(error, Exception):
                raise
        else:
            record.conclude(Outcome.SUCCEEDED)

    def back_up(self, plan: MigrationPlan) -> tuple[BackupManifest, str | None]:
        """Make a proven backup; returns it, and the database to rehearse in, if any."""
        steps, record = self.steps, self.record
        with record.step("backup") as note:
            backup = steps.create_backup(plan)
            record.update(backup_id=backup.id)
            captured = "; what is written from now on is captured" if backup.captured else ""
            note(f"{backup.id}, {backup.size_bytes or 0} bytes{captured}")
        with record.step("verify-backup") as note:
            keep_copy = self.request.rehearsal != "off" or backup.captured
            verification = steps.verify_backup(backup.id, keep_copy)
            note(f"{verification.tables} tables and {verification.rows} rows equal")
        if not backup.captured or verification.copy_database is None:
            return backup, verification.copy_database
        with record.step("stand-by") as note:
            standby = steps.stand_by(backup, verification.copy_database)
            note(standby.message)
        return backup, standby.rehearsal_database if self.request.rehearsal != "off" else None

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy: str | None) -> Rehearsal | None:
        """Rehearse on the verified copy, unless the policy goes without; production is not touched yet."""
        if copy is None:
            return None
        with self.record.step("rehearse") as note:
            rehearsal = self.steps.rehearse(plan, backup, copy)
            told = [rehearsal.summary]
            if rehearsal.risk is not None:
                told += recovery_lines(rehearsal.risk)
                for line in failed_ways_back(rehearsal.risk):
                    self.record.warn(line)
            note(". ".join(told))
        # Its risk has the lint's findings, held against what was measured.
        checks = tuple(check for check in self.record.report.checks if check.name != LINT)
        self.record.update(checks=checks)
        return rehearsal

    def approve(self, plan: MigrationPlan, rehearsal: Rehearsal | None) -> None:
        """Go on when the policy or a human says so; raises ApprovalNeededError, or RejectedError."""
        risk = (rehearsal.risk if rehearsal else None) or unmeasured(
            self.request.rehearsal, self.steps.lint()
        )
        self.record.update(risk=risk)
        if not needs_approval(self.request.approval, risk):
            return
        digest, answered = revisions_digest(plan), self.request.answered
        report = self.record.update(revisions_sha256=digest)
        changed = not_covered(answered, plan, digest, risk) if answered else []
        if answered and not changed:
            approval = answered.approval
        else:
            why = changed or [one.message for one in risk.counting] or ["the target's policy asks for it"]
            approval = self.steps.ask_approval(report, why)
        self.record.update(approval=approval)
        with self.record.step("approve") as note:
            note(str(approval))
            if approval.decision is not Decision.APPROVE:
                raise RejectedError(f"Nothing was changed: it was {approval}.")

    def compare(self, rehearsal: Rehearsal | None, applied: Sequence[RevisionTiming]) -> None:
        """Put what happened beside what was predicted, where there is a prediction."""
        self.record.update(revisions=rehearsal.compared(applied) if rehearsal else tuple(applied))
        if rehearsal is not None and rehearsal.risk is not None:
            for line in over_budget(applied, rehearsal.risk):
                self.record.warn(line)

    def migrate(self, plan: MigrationPlan, backup: BackupManifest, applied: list[RevisionTiming]) -> None:
        with self.record.step("migrate") as note:
            with _summing_up(self.record, self.steps):
                applied.extend(self.steps.migrate(plan, backup))
            self.record.update(revisions=tuple(applied))
            note(f"now at {', '.join(plan.after) or 'base'}")

    def verify(
        self,
        plan: MigrationPlan,
        backup: BackupManifest,
        rehearsal: Rehearsal | None,
        applied: Sequence[RevisionTiming],
    ) -> None:
        expected = rehearsal.schema_after if rehearsal else None
        unforeseen = rehearsal.unforeseen(applied) if rehearsal else ()
        with self.record.step("verify") as note:
            try:
                checks = self.steps.verify(plan, backup, expected, unforeseen)
            except VerificationError as error:
                self.record.update(checks=(*self.record.report.checks, *error.checks))
                raise
            self.record.update(checks=(*self.record.report.checks, *checks))
            note(f"{len(checks)} checks")

    def expire_backups(self) -> None:
        """Let old backups go, since migrations make them, too; what fails there is only a warning."""
        try:
            with self.record.step("expire-backups") as note:
                note(", ".join(self.steps.expire_backups()) or "none is old enough")
        except LockkeeperError as error:
            self.record.warn(f"Old backups could not be removed: {error}")

    def recover(
        self,
        plan: MigrationPlan,
        backup: BackupManifest,
        error: BaseException,
        applied: list[RevisionTiming],
        rehearsal: Rehearsal | None,
    ) -> None:
        """Climb the recovery ladder; sets the outcome and raises no Exception."""
        by_hand = self.steps.by_hand
        damage = assess(error, applied, by_hand.recover() if backup.captured else by_hand.restore(backup.id))
        self.compare(rehearsal, applied)
        rung = Climb(self.steps, self.record, plan, backup, damage).recover()
        if rung is None:
            # A restore that a human asks for later can prove by it that nobody else has written.
            self.record.update(own_writes=own_writes(damage.applied, damage.complete))
            self.record.conclude(Outcome.NEEDS_HUMAN, error, next_command=damage.next_command)
        else:
            unchanged = rung is Rung.ROLLED_BACK
            self.record.conclude(Outcome.UNCHANGED if unchanged else Outcome.RECOVERED, error)
