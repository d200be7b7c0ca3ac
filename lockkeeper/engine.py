"""The steps of the runbook, done for real and without Prefect.

One engine serves one run. Its steps hand each other values only, except for the migration lock, which
``exclusive`` holds and ``migrate`` checks before every revision.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from lockkeeper import alembic_project, backup, recovery
from lockkeeper.config import Target
from lockkeeper.delivery import deliver, post_to_webhook
from lockkeeper.errors import (
    ConnectionLostError,
    DatabaseError,
    LockkeeperError,
    NeedsHumanError,
    RefusedError,
    VerificationError,
)
from lockkeeper.journal import write_report
from lockkeeper.models import (
    BackupManifest,
    BackupState,
    BackupVerification,
    Check,
    MigrationPlan,
    RestoreReport,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
    TableFingerprint,
)
from lockkeeper.monitor import DatabaseMonitor, watching
from lockkeeper.notices import slack_notice
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.postgres.locks import MigrationLock, end_leftover_sessions, migration_lock
from lockkeeper.preflight import require_preflight, run_preflight
from lockkeeper.proving import Rehearsal, rehearse
from lockkeeper.recovery.unchanged import judge_tables, own_writes
from lockkeeper.signals import uninterrupted
from lockkeeper.storage import open_storage
from lockkeeper.verification import (
    check_counts,
    check_invalid_objects,
    check_models,
    check_revisions,
    check_rules,
    check_schema,
    invalid_objects,
    load_rules,
    read_version_table,
    require,
    row_counts,
    unknown,
)

REACHABLE_AGAIN_TIMEOUT_S = 120.0
Progress = Callable[[str, str], None]


def _silent(_step: str, _message: str) -> None:
    pass


class Engine:
    """The real ``MigrationSteps`` (see ``lockkeeper.runbook``) for one target and one run."""

    def __init__(self, target: Target, run_id: str, progress: Progress | None = None) -> None:
        self.target = target
        self.run_id = run_id
        self._progress = progress or _silent
        self._lock: MigrationLock | None = None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the migration lock, and end what a killed run left behind; raises LockHeldError."""
        policies = self.target.policies
        maintenance, database = self.target.maintenance_url, self.target.database
        with migration_lock(maintenance, database, self.run_id, wait_s=policies.lock_wait_s) as lock:
            self._lock = lock
            try:
                end_leftover_sessions(maintenance, database, self.run_id)
                for name in recovery.drop_scratch_databases(self.target):
                    self._progress("leftovers", f"dropped {name}, which an earlier run left behind")
                yield
            finally:
                self._lock = None
                # A server that is gone now must not hide why; the next run drops what is left there.
                with contextlib.suppress(DatabaseError):
                    recovery.drop_scratch_databases(self.target, self.run_id)

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """Run all checks; raises PreflightError with every problem at once."""
        plan, checks = run_preflight(
            self.target, revision, run_id=self.run_id, lock_is_ours=self._lock is not None
        )
        require_preflight(checks)
        if plan is None:
            raise RefusedError("There is no plan to apply.")
        return plan, checks

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """Dump the database to storage at one snapshot."""
        return backup.create_backup(
            self.target, run_id=self.run_id, revisions=plan.before, progress=self.say("backup")
        )

    def verify_backup(self, backup_id: str, keep_copy: bool = False) -> BackupVerification:
        """Restore the backup from storage into a scratch database and compare.

        The copy is dropped again, or when ``exclusive`` ends.
        """
        _manifest, verification = backup.verify_backup(
            self.target,
            backup_id,
            run_id=self.run_id,
            progress=self.say("verify-backup"),
            keep_copy=keep_copy,
        )
        return verification

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy_database: str) -> Rehearsal:
        """Play the plan on the verified copy: up, down and up again, with content compared.

        Raises:
            VerificationError: something was found; production was not touched.
        """
        rehearsal = rehearse(
            self.target,
            plan,
            backup,
            self.target.scratch_server_url.set(database=copy_database),
            self.run_id,
            announce=self.say("rehearse"),
        )
        if not rehearsal.passed:
            raise VerificationError("The rehearsal on a restored copy failed", rehearsal.problems)
        return rehearsal

    @contextlib.contextmanager
    def monitored(self) -> Iterator[DatabaseMonitor]:
        """Watch the database for the length of the block."""
        monitor = DatabaseMonitor(
            self.target.url, self.run_id, self.target.policies.monitor_interval_s, self.say("monitor")
        )
        with watching(monitor):
            yield monitor

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """Apply the plan, one revision at a time, with the target's lock and statement time-outs.

        Raises:
            RefusedError: the database is no longer what was backed up; nothing was touched.
            MigrationError: a revision failed.
        """
        self._require_backed_up(plan, backup)
        return alembic_project.upgrade(
            self.target.require_alembic(),
            self.target.url,
            plan,
            policies=self.target.policies,
            run_id=self.run_id,
            on_event=self._on_revision,
        )

    def _require_backed_up(self, plan: MigrationPlan, backup: BackupManifest) -> None:
        current = self.current_revisions(plan)
        differences = self._schema_differences(backup)
        if set(current) != set(plan.before):
            differences.insert(0, f"the database is at {', '.join(current) or 'base'}")
        if differences:
            shown = "; ".join(differences[:5])
            raise RefusedError(f"Somebody changed the schema since the backup ({shown}). Run again.")

    def _schema_differences(self, backup: BackupManifest) -> list[str]:
        if backup.schema_fingerprint is None:
            return ["the backup has no schema fingerprint"]
        with connect(self.target.url, "verify", run_id=self.run_id) as connection:
            return compare_schemas(backup.schema_fingerprint, schema_fingerprint(connection))

    def verify(
        self, plan: MigrationPlan, backup: BackupManifest, expected: SchemaFingerprint | None
    ) -> Sequence[Check]:
        """Check revision, schema, validity, rules, row counts and models; raises VerificationError."""
        project = self.target.require_alembic()
        policies = self.target.policies
        checks = [check_revisions(self.current_revisions(plan), plan)]
        with connect(self.target.url, "verify", run_id=self.run_id) as connection:
            was = backup.schema_fingerprint
            invalid_before = invalid_objects(was) if was else frozenset()
            schema = schema_fingerprint(connection)
            checks += check_invalid_objects(invalid_before, invalid_objects(schema))
            checks += check_schema(expected, schema)
            before = {name: table.rows for name, table in _tables(backup).items()}
            checks += check_counts(before, row_counts(connection, list(before)))
        rules = load_rules(project.rules_dir)
        checks += check_rules(self.target.url, rules, timeout_ms=policies.rule_timeout_ms, run_id=self.run_id)
        if plan.reaches_head and policies.model_differences != "ignore":
            try:
                differences = alembic_project.model_differences(project, self.target.url)
                checks += check_models(differences, policies.model_differences)
            except LockkeeperError as error:
                checks.append(unknown("models", error))
        require("Verification failed", checks)
        return checks

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
        findings += self._schema_differences(backup)
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
        command = f"lockkeeper restore {self.target.name} {backup.id} --accept-loss"

        def prove_lossless(scene: recovery.FencedScene) -> None:
            findings = recovery.written_since(scene, backup, own_writes(applied, complete))
            if findings:
                what = "Restoring would lose what was written since the backup: " + "; ".join(findings[:10])
                raise NeedsHumanError(what, command)

        lossless = self.target.policies.recovery == "lossless"
        return recovery.restore_backup(
            self.target,
            backup.id,
            run_id=self.run_id,
            reason=reason,
            before_swap=prove_lossless if lossless else None,
            progress=self.say("restore"),
        )

    def back_up(self) -> BackupManifest:
        """Dump the database to storage, whatever revision it is at."""
        return backup.create_backup(self.target, run_id=self.run_id, progress=self.say("backup"))

    def expire_backups(self) -> list[str]:
        """Remove the backups that the retention policy lets go, never the last verified one."""
        return backup.expire_backups(self.target)

    def restorable(self, backup_id: str) -> BackupManifest:
        """Return the manifest of a backup that an operator may restore; raises RefusedError."""
        manifest = backup.load_manifest(self.target, backup_id)
        if manifest.state not in (BackupState.VERIFIED, BackupState.UPLOADED):
            raise RefusedError(
                f"Backup {backup_id} is {manifest.state.value} ({manifest.reason or 'no reason known'}): "
                f"it cannot be restored. `lockkeeper backups {self.target.name}` lists the others."
            )
        return manifest

    def put_back(self, manifest: BackupManifest, asked_by: str, accept_loss: bool) -> RestoreReport:
        """Restore what an operator asked for; only ``accept_loss`` counts, not the recovery policy.

        Raises:
            RefusedError: there were writes since the backup; nothing was changed.
        """
        with contextlib.ExitStack() as shield:

            def before_swap(scene: recovery.FencedScene) -> None:
                if not accept_loss and (written := recovery.written_since(scene, manifest, {})):
                    raise RefusedError(_would_lose(self.target.name, manifest.id, written))
                # An interruption from here on could not say which database serves.
                shield.enter_context(uninterrupted("the swap"))

            return recovery.restore_backup(
                self.target,
                manifest.id,
                run_id=self.run_id,
                reason=f"restore asked for by {asked_by or 'an operator'}",
                before_swap=before_swap,
                progress=self.say("restore"),
            )

    def journal(self, report: RunReport) -> str | None:
        """Write the report to the storage; a storage that fails is a warning, never a failed migration."""
        try:
            write_report(open_storage(self.target.storage), report)
        except LockkeeperError as error:
            return f"The journal could not be written: {error}"
        return None

    def notify(self, report: RunReport) -> str | None:
        """Send one message to the target's Slack webhook, if it has one; returns a warning."""
        url = self.target.slack_webhook_url
        return None if url is None else deliver(post_to_webhook(url), slack_notice(report))

    def _on_revision(self, event: alembic_project.MigrationEvent) -> None:
        """Pass progress on; stop before the next revision when the lock's session is gone."""
        self._progress("migrate", str(event))
        if self._lock is not None:
            self._lock.check()

    def say(self, step: str) -> Callable[[object], None]:
        """Return a function that tells the progress of one step."""
        return lambda message: self._progress(step, str(message))


def _tables(backup: BackupManifest) -> Mapping[str, TableFingerprint]:
    return backup.data_fingerprint.tables if backup.data_fingerprint else {}


def _would_lose(target: str, backup_id: str, written: Sequence[str]) -> str:
    shown = "; ".join(written[:10]) + (f"; and {len(written) - 10} more" if len(written) > 10 else "")
    return (
        f"Since backup {backup_id} there were writes that it does not have: {shown}. Nothing was changed. "
        "To go on without them (they stay in the quarantine database): "
        f"lockkeeper restore {target} {backup_id} --accept-loss"
    )
