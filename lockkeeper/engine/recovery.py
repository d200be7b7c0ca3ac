"""The steps of a recovery, done for real: see ``lockkeeper.climb``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from lockkeeper import alembic_project, recovery
from lockkeeper.backup import load_manifest
from lockkeeper.backup.capture_traces import without_capture
from lockkeeper.engine.standby import StandbyEngine
from lockkeeper.errors import (
    ConnectionLostError,
    LockkeeperError,
    NeedsHumanError,
    RecoveryError,
    VerificationError,
    WouldLoseWritesError,
)
from lockkeeper.ladder import LadderFacts, Rung
from lockkeeper.measured import DOWNGRADE, SWAP, WayBack
from lockkeeper.models import BackupManifest, MigrationPlan, RestoreReport, RevisionTiming
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.postgres.own_objects import without_own
from lockkeeper.postgres.version_table import read_version_table
from lockkeeper.recovery.take_over import (
    TakingOver,
    restore_with_replay,
    schema_as_served,
    swap_warm_copy,
)
from lockkeeper.recovery.unchanged import judge_tables, own_writes
from lockkeeper.verification import check_revisions

REACHABLE_AGAIN_TIMEOUT_S = 120.0
WARM_SWAP_S, SWAP_S, REPLAYED_CHANGES_PER_S = 3.0, 2.0, 5000.0
"""What ``benchmarks/recovery_benchmark.py`` has shown: predictions rest on it, nothing that safety needs."""


class RecoveryEngine(StandbyEngine):
    """The real ``RecoverySteps``; ``ways_back`` is how they went in the rehearsal, where there was one."""

    ways_back: Sequence[WayBack] = ()

    def recovery_facts(self, plan: MigrationPlan, backup: BackupManifest) -> LadderFacts:
        """Say where the database stands, what the way back consists of, and how long each rung would take."""
        standby, revisions = self.standby, self.current_revisions(plan)
        return LadderFacts(
            revision_moved=set(revisions) != set(plan.before),
            policy=self.target.policies.recovery,
            warm=standby is not None and standby.is_warm,
            captured=standby is not None and standby.is_complete,
            fenced=self._write_fence is not None,
            downgrade_failed=self._downgrade_failed(plan, revisions),
            estimates_s=self._estimates(backup),
        )

    def _estimates(self, backup: BackupManifest) -> dict[Rung, float]:
        """Predict from what this run's own backup, its proof and its rehearsal took, where known.

        A downgrade's proof reads every table, as the backup's fingerprint has.
        """
        try:
            timings = load_manifest(self.target, backup.id).timings_s
        except LockkeeperError:
            timings = {}
        changes = self.standby.capture.status().changes if self.standby else 0
        downgrade, swap = self._rehearsed(DOWNGRADE), self._rehearsed(SWAP)
        estimates: dict[Rung, float] = {}
        if swap is None or swap.worked is not False:
            slower_s = max(0.0, (swap.duration_s or 0.0) - SWAP_S) if swap else 0.0
            estimates[Rung.WARM_SWAP] = WARM_SWAP_S + slower_s
            if "verify" in timings:
                estimates[Rung.RESTORE] = timings["verify"] + SWAP_S + slower_s
                estimates[Rung.REPLAY] = estimates[Rung.RESTORE] + changes / REPLAYED_CHANGES_PER_S
        if "fingerprint" in timings and (downgrade is None or downgrade.worked):
            reverting_s = (downgrade.duration_s or 0.0) if downgrade else 0.0
            estimates[Rung.DOWNGRADE] = reverting_s + timings["fingerprint"]
        return estimates

    def _rehearsed(self, way: str) -> WayBack | None:
        return next((one for one in self.ways_back if one.way == way), None)

    def _downgrade_failed(self, plan: MigrationPlan, revisions: Sequence[str]) -> bool:
        """Whether the rehearsal's downgrade has failed at a revision that production has by now."""
        downgrade = self._rehearsed(DOWNGRADE)
        if downgrade is None or downgrade.worked:
            return False
        return not downgrade.blocked_by or not _reached(plan, revisions).isdisjoint(downgrade.blocked_by)

    def warm_swap(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """Let the warm copy take the database's place, with everything that was written since; verify.

        Raises:
            LockkeeperError: as ``recovery.swap_warm_copy``; the database serves as before.
            VerificationError: what serves now is not what was before.
        """
        return self._take_over(swap_warm_copy, "warm swap", plan, backup, reason, applied)

    def restore_with_replay(
        self, plan: MigrationPlan, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming]
    ) -> RestoreReport:
        """Restore the backup beside the database, replay what was written since, swap, verify.

        Raises:
            LockkeeperError: as ``recovery.restore_with_replay``; the database serves as before.
            VerificationError: what serves now is not what was before.
        """
        return self._take_over(restore_with_replay, "restore", plan, backup, reason, applied)

    def _take_over(
        self,
        take_over: TakingOver,
        step: str,
        plan: MigrationPlan,
        backup: BackupManifest,
        reason: str,
        applied: Sequence[RevisionTiming],
    ) -> RestoreReport:
        if self.standby is None:
            raise RecoveryError("Nothing was captured.", self.by_hand.restore(backup.id))
        with self.asking_about_losses(backup):
            done = take_over(
                self.standby,
                backup,
                reason=reason,
                own_writes=own_writes(applied, complete=True) or {},
                progress=self.say(step),
            )
        self._require_as_before(plan, backup)
        return done

    @contextlib.contextmanager
    def asking_about_losses(self, backup: BackupManifest) -> Iterator[None]:
        """Turn a WouldLoseWritesError into a NeedsHumanError with the command that accepts the loss."""
        try:
            yield
        except WouldLoseWritesError as error:
            raise NeedsHumanError(str(error), self.by_hand.restore(backup.id, accept_loss=True)) from error

    def _require_as_before(self, plan: MigrationPlan, backup: BackupManifest) -> None:
        """Verify what serves now; content is what the copy was verified with, and what was replayed."""
        check = check_revisions(self.current_revisions(plan), plan.model_copy(update={"after": plan.before}))
        if check.refuses:
            raise VerificationError("What took over is not what was before", [check.message])
        self.require_schema_of(backup)

    def require_schema_of(self, backup: BackupManifest) -> None:
        """Raise VerificationError when the schema that serves is not the backup's."""
        with connect(self.target.url, "verify", run_id=self.run_id) as connection:
            findings = schema_as_served(backup.schema_fingerprint, schema_fingerprint(connection))
        if findings:
            raise VerificationError("What took over is not what was before", findings)

    def current_revisions(self, plan: MigrationPlan) -> tuple[str, ...]:
        """Read the version table that the project uses; waits while the server is restarting.

        Raises:
            ConnectionLostError: the server did not come back in time.
        """
        deadline = time.monotonic() + REACHABLE_AGAIN_TIMEOUT_S
        while True:
            try:
                with connect(self.target.url, "verify", run_id=self.run_id) as connection:
                    return read_version_table(connection, plan.version_table)
            except ConnectionLostError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(1)

    def downgrade(self, plan: MigrationPlan) -> Sequence[RevisionTiming]:
        """Revert to where the plan began; raises MigrationError."""
        return alembic_project.downgrade(
            self.target.require_alembic(),
            self.target.url,
            plan.before,
            policies=self.target.policies,
            run_id=self.run_id,
            marks=self.marks(),
            on_event=self._on_revision,
            drop_version_table=not plan.version_table_exists,
        )

    def verify_unchanged(
        self, plan: MigrationPlan, backup: BackupManifest, applied: Sequence[RevisionTiming], complete: bool
    ) -> str:
        """Prove that the database is what it was before the migration, and say how.

        A transaction that was rolled back cannot have changed data, so revision and schema are enough
        then. Otherwise every table's content is compared with the backup's; a difference is forgiven only
        where the migration cannot have made it (``lockkeeper.recovery.unchanged``).

        Raises:
            VerificationError: with every difference, and with what could not be told.
        """
        check = check_revisions(self.current_revisions(plan), plan.model_copy(update={"after": plan.before}))
        findings = [check.message] if check.refuses else []
        findings += self.schema_differences(backup)
        if not findings and complete and not applied:
            return "the transaction was rolled back: revision and schema are as before"
        judged = judge_tables(self.target.url, backup, applied, complete, run_id=self.run_id)
        findings += judged.findings
        if findings:
            raise VerificationError("The database is not what it was", findings)
        by_others = f", {judged.written} changed by the application alone" if judged.written else ""
        return f"revision and schema are as before, {judged.equal} tables have equal content{by_others}"

    def restore(
        self, backup: BackupManifest, reason: str, applied: Sequence[RevisionTiming], complete: bool
    ) -> RestoreReport:
        """Restore beside the database, verify the copy, prove that no write would be lost, swap.

        Raises:
            NeedsHumanError: the application has written since the backup (and the policy is 'lossless'),
                or that cannot be told. The database serves as before.
        """

        def prove_lossless(scene: recovery.FencedScene) -> None:
            findings = recovery.written_since(
                scene, backup, own_writes(applied, complete), fenced=self._write_fence is not None
            )
            if findings:
                raise WouldLoseWritesError("Restoring would lose what was written since the backup", findings)

        lossless = self.target.policies.recovery == "lossless"
        with self.asking_about_losses(backup):
            return recovery.restore_backup(
                self.target,
                backup.id,
                run_id=self.run_id,
                reason=reason,
                before_swap=prove_lossless if lossless else None,
                progress=self.say("restore"),
            )

    def schema_differences(self, backup: BackupManifest) -> list[str]:
        """Say where the live schema differs from the backup's, but for Lockkeeper's own; reads only.

        A capture takes the tables that a migration makes into its publication, and notes that there.
        """
        if backup.schema_fingerprint is None:
            return ["the backup has no schema fingerprint"]
        with connect(self.target.url, "verify", run_id=self.run_id) as connection:
            now = schema_fingerprint(connection)
        there, here = without_own(backup.schema_fingerprint), without_own(now)
        if backup.captured:
            there, here = without_capture(there), without_capture(here)
        return compare_schemas(there, here)


def _reached(plan: MigrationPlan, revisions: Sequence[str]) -> set[str]:
    """Return the revisions of the plan that a version table with ``revisions`` stands for."""
    steps = {step.id: step for step in plan.steps}
    found: set[str] = set()
    left = list(revisions)
    while left:
        step = steps.get(left.pop())
        if step is not None and step.id not in found:
            found.add(step.id)
            left += [*step.down, *step.depends_on]
    return found
