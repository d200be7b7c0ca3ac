"""What happens after a migration has failed: the recovery ladder, climbed rung by rung and recorded.

Which rung comes next is ``lockkeeper.ladder``'s decision; what a rung does is a step of the runbook. The
same climb serves a migration that fails and one that was killed and is taken up again later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lockkeeper.by_hand import ByHand
from lockkeeper.errors import MigrationError, NeedsHumanError
from lockkeeper.ladder import LadderFacts, Prospect, Rung, next_rung
from lockkeeper.models import (
    BackupManifest,
    MigrationPlan,
    RecoveryAttempt,
    RestoreReport,
    RevisionTiming,
)
from lockkeeper.record import RunRecord, explain, log_unexpected
from lockkeeper.redaction import redact


class RecoverySteps(Protocol):
    """The steps of a recovery. Each raises a LockkeeperError when it fails; none returns a secret."""

    @property
    def by_hand(self) -> ByHand:
        """The commands with which somebody goes on where this run stops."""
        ...

    def recovery_facts(self, plan: MigrationPlan, backup: BackupManifest) -> LadderFacts:
        """Say where the database stands and what the way back consists of; waits for the server."""
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

    def warm_swap(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """Let the warm copy take over with everything that was written since; verify."""
        ...

    def restore_with_replay(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """Restore beside, replay everything that was written since, swap, verify."""
        ...

    def restore(
        self, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming], complete: bool
    ) -> RestoreReport:
        """Restore beside, verify, swap; raises NeedsHumanError when that could lose a write."""
        ...


@dataclass
class Damage:
    """What is known of a failed migration: why, which revisions ran, and whether nothing else can have."""

    error: BaseException
    applied: list[RevisionTiming]
    complete: bool
    next_command: str

    @property
    def reason(self) -> str:
        """Why the migration failed, redacted."""
        return explain(self.error)


def assess(error: BaseException, applied: list[RevisionTiming], next_command: str) -> Damage:
    """Work out what a failure can have left behind; ``applied`` is completed by what the error knows."""
    log_unexpected(error)
    if isinstance(error, MigrationError):
        applied.extend(error.completed)
        return Damage(error, applied, not error.left_partial, next_command)
    # Either the whole migration had ended (verification failed), or it was cut off somewhere.
    return Damage(error, applied, bool(applied), next_command)


@dataclass
class Climb:
    """Climbs until a rung is verified."""

    steps: RecoverySteps
    record: RunRecord
    plan: MigrationPlan
    backup: BackupManifest
    damage: Damage

    def recover(self) -> Rung | None:
        """Return the rung that was verified, None when only a human can go on; raises no Exception."""
        tried: list[Rung] = []
        try:
            facts = self.steps.recovery_facts(self.plan, self.backup)
            while prospect := next_rung(facts, tried):
                tried.append(prospect.rung)
                if self._climb(prospect):
                    return prospect.rung
        except Exception as error:
            log_unexpected(error)
            why = redact(str(error))
            self.record.attempted(
                RecoveryAttempt(rung="find out where the database stands", succeeded=False, reason=why)
            )
        return None

    def _climb(self, prospect: Prospect) -> bool:
        """Try one rung; keeps why it was or was not enough."""
        started = time.monotonic()
        succeeded = False
        try:
            with self.record.step(f"recover: {prospect.rung.value}") as note:
                reason = self._attempt(prospect.rung)
                note(reason)
            succeeded = True
        except Exception as error:
            log_unexpected(error)
            reason = redact(str(error))
            if isinstance(error, NeedsHumanError):
                self.damage.next_command = error.command
        self.record.attempted(
            RecoveryAttempt(
                rung=prospect.rung.value,
                succeeded=succeeded,
                reason=reason,
                duration_s=round(time.monotonic() - started, 3),
                predicted_s=prospect.duration_s,
                loses=prospect.loses,
            )
        )
        return succeeded

    def _attempt(self, rung: Rung) -> str:
        """Do what the rung says and verify it; returns how it was proven."""
        damage = self.damage
        if rung is Rung.RESTORE:
            restored = self.steps.restore(self.backup, damage.reason, damage.applied, damage.complete)
            self.record.update(restore=restored)
            return f"restored {self.backup.id}; writes were refused for {restored.fence_s:.2f} s"
        if rung in (Rung.WARM_SWAP, Rung.REPLAY):
            take_over = self.steps.warm_swap if rung is Rung.WARM_SWAP else self.steps.restore_with_replay
            restored = take_over(self.plan, self.backup, damage.reason, damage.applied)
            self.record.update(restore=restored)
            return carried_over(restored)
        if rung is Rung.DOWNGRADE:
            try:
                damage.applied.extend(self.steps.downgrade(self.plan))
            except MigrationError as error:
                damage.applied.extend(error.completed)
                damage.complete = damage.complete and not error.left_partial
                raise
        return self.steps.verify_unchanged(self.plan, self.backup, damage.applied, damage.complete)


def carried_over(done: RestoreReport) -> str:
    """Say what a recovery without loss has done, in one line."""
    parked = f", {len(done.parked)} parked" if done.parked else ""
    return (
        f"revision and schema are as before, {done.replayed_changes or 0} changes since the backup were "
        f"carried over{parked}; writes were refused for {done.fence_s:.2f} s"
    )
