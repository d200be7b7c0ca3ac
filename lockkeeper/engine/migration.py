"""The steps of a migration, from the preflight to the verification."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from lockkeeper import alembic_project, backup, managed, physical
from lockkeeper.approval import find_answered
from lockkeeper.backup.counters import WriteCounters, settled_counters
from lockkeeper.backup.snapshot import ExportedSnapshot
from lockkeeper.engine.later import LaterEngine
from lockkeeper.errors import (
    ApprovalNeededError,
    LockkeeperError,
    MigrationError,
    RefusedError,
    VerificationError,
)
from lockkeeper.measured import UnforeseenWrite
from lockkeeper.models import (
    Answered,
    Approval,
    BackupKind,
    BackupManifest,
    BackupVerification,
    Check,
    MigrationPlan,
    RevisionTiming,
    RunReport,
    SchemaFingerprint,
    TableFingerprint,
)
from lockkeeper.monitoring import DatabaseMonitor, watching
from lockkeeper.monitoring.channels import open_channels
from lockkeeper.monitoring.metrics import Metrics, migration_metrics, writing
from lockkeeper.offline_lint import Script
from lockkeeper.postgres.connection import Connection, connect
from lockkeeper.postgres.fingerprint import schema_fingerprint
from lockkeeper.preflight import require_preflight, run_preflight
from lockkeeper.proving import Rehearsal, rehearse
from lockkeeper.recovery.unchanged import counted_since
from lockkeeper.risk import Linted
from lockkeeper.storage import open_storage
from lockkeeper.verification import (
    check_counts,
    check_invalid_objects,
    check_models,
    check_revisions,
    check_rules,
    check_schema,
    check_unforeseen,
    invalid_objects,
    load_rules,
    require,
    row_counts,
    unknown,
)


class Engine(LaterEngine):
    """The real ``MigrationSteps`` (see ``lockkeeper.runbook``) for one target and one run."""

    _lint, _script = Linted(failure="the preflight was made elsewhere"), Script(failure="it is elsewhere")
    _rules: dict[str, str] | None = None

    def preflight(self, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
        """Run all checks; raises PreflightError with every problem at once.

        The project's rules are kept: whatever becomes of their files, they are asked after the migration.
        """
        plan, checks, self._lint, self._script = run_preflight(
            self.target, revision, run_id=self.run_id, lock_is_ours=self._lock is not None
        )
        require_preflight(checks)
        if plan is None:
            raise RefusedError("There is no plan to apply.")
        self._rules = load_rules(self.target.require_alembic().rules_dir)
        return plan, checks

    def lint(self) -> Linted:
        """Return what the lint has said in this engine's preflight."""
        return self._lint

    def create_backup(self, plan: MigrationPlan) -> BackupManifest:
        """Dump the database to storage at one snapshot; from it on everything written is captured."""

        def dump(snapshot: ExportedSnapshot | None) -> BackupManifest:
            return backup.create_backup(
                self.target,
                run_id=self.run_id,
                version_table=plan.version_table,
                progress=self.say("backup"),
                snapshot=snapshot,
            )

        return self.captured_backup(len(plan.steps), dump)

    def verify_backup(self, backup_id: str, keep_copy: bool = False) -> BackupVerification:
        """Restore the backup from storage into a scratch database and compare.

        The copy is dropped again, or when ``exclusive`` ends. A physical backup is proven by a server on this
        machine, of which nothing stays.
        """
        kind = backup.load_manifest(self.target, backup_id).kind
        if kind is BackupKind.SNAPSHOT:
            return managed.verify_snapshot_backup(
                self.target, backup_id, run_id=self.run_id, progress=self.say("verify-backup")
            )[1]
        if kind is BackupKind.PHYSICAL:
            return physical.verify_physical_backup(
                self.target, backup_id, run_id=self.run_id, progress=self.say("verify-backup")
            )[1]
        _manifest, verification = backup.verify_backup(
            self.target,
            backup_id,
            run_id=self.run_id,
            progress=self.say("verify-backup"),
            keep_copy=keep_copy,
        )
        return verification

    def rehearse(self, plan: MigrationPlan, backup: BackupManifest, copy_database: str) -> Rehearsal:
        """Play the plan on the verified copy, or on its clone: up, down and up again, with content compared.

        Then the ways back; what they have shown is what a recovery of this run goes by.

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
            offline=self._script.texts,
        )
        if not rehearsal.passed:
            raise VerificationError("The rehearsal on a restored copy failed", rehearsal.problems)
        self.ways_back = rehearsal.risk.ways_back if rehearsal.risk else ()
        return rehearsal

    def ask_approval(self, report: RunReport, why: Sequence[str]) -> Approval:
        """Raise ApprovalNeededError: an engine knows nobody whom it could ask."""
        raise ApprovalNeededError(why, self.by_hand.migrate(report.requested_revision or "head", self.run_id))

    def answered(self, run_id: str, approval: Approval) -> Answered:
        """Put an answer together with the run that asked; raises RefusedError."""
        return find_answered(open_storage(self.target.storage), self.target.name, run_id, approval)

    @contextlib.contextmanager
    def monitored(self) -> Iterator[DatabaseMonitor]:
        """Watch the database for the length of the block, and keep the migration within its impact budget.

        Alerts are delivered beside the run, which waits for them at the end of the block, as long as its
        patience lasts: a second for everything that it tells.
        """
        channels = open_channels(self.target, self.on_alert)
        self._monitor = DatabaseMonitor(
            self.target, self.run_id, self.say("monitor"), channels.send, self.link
        )
        monitor = self._monitor

        def measured(running: bool) -> Metrics:
            return migration_metrics(self.target.name, monitor.latest, monitor.summary(), running=running)

        try:
            with writing(measured, "migration", monitor.problems), watching(monitor):
                yield monitor
        finally:
            with self.patience.waiting() as left_s:
                monitor.problems += channels.close(left_s)

    def migrate(self, plan: MigrationPlan, backup: BackupManifest) -> Sequence[RevisionTiming]:
        """Apply the plan, one revision at a time, with the target's lock and statement time-outs.

        Raises:
            RefusedError: the database is no longer what was backed up; nothing was touched.
            MigrationError: a revision failed, or the impact budget has ended it.
        """
        self._require_backed_up(plan, backup)
        try:
            return alembic_project.upgrade(
                self.target.require_alembic(),
                self.target.url,
                plan,
                policies=self.target.policies,
                run_id=self.run_id,
                marks=self.marks(),
                on_event=self._on_revision,
                stopping=lambda: self._monitor is not None and self._monitor.cancelled is not None,
            )
        except MigrationError as error:
            if self._monitor is None or self._monitor.cancelled is None:
                raise
            raise error.because(f"Cancelled by the impact budget: {self._monitor.cancelled}.") from error

    def _require_backed_up(self, plan: MigrationPlan, backup: BackupManifest) -> None:
        current = self.current_revisions(plan)
        differences = self.schema_differences(backup)
        if set(current) != set(plan.before):
            differences.insert(0, f"the database is at {', '.join(current) or 'base'}")
        if differences:
            shown = "; ".join(differences[:5])
            raise RefusedError(f"Somebody changed the schema since the backup ({shown}). Run again.")

    def verify(
        self,
        plan: MigrationPlan,
        backup: BackupManifest,
        expected: SchemaFingerprint | None,
        unforeseen: Sequence[UnforeseenWrite],
    ) -> Sequence[Check]:
        """Check revision, schema, validity, writes, rules, counts and models; raises VerificationError."""
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
            checks += self._check_writes(connection, backup, unforeseen)
        rules = load_rules(project.rules_dir) if self._rules is None else self._rules
        checks += check_rules(self.target.url, rules, timeout_ms=policies.rule_timeout_ms, run_id=self.run_id)
        if plan.reaches_head and policies.model_differences != "ignore":
            try:
                differences = alembic_project.model_differences(project, self.target.url)
                checks += check_models(differences, policies.model_differences)
            except LockkeeperError as error:
                checks.append(unknown("models", error))
        require("Verification failed", checks)
        return checks

    def _check_writes(
        self, connection: Connection, backup: BackupManifest, unforeseen: Sequence[UnforeseenWrite]
    ) -> list[Check]:
        """Judge what the rehearsal has not foreseen by who else has written to those tables meanwhile.

        What would fail is said only of counters that nobody holds anything back of: up to 12 seconds.
        """
        if not unforeseen:
            return []

        def judged(now: WriteCounters) -> list[Check]:
            same_epoch = backup.counters_epoch is not None and now.epoch == backup.counters_epoch
            counters, before = now.counters if same_epoch else None, backup.write_counters
            counted = {one.table: counted_since(before, counters, one.table) for one in unforeseen}
            sampled = self.target.policies.rehearsal == "sampled"
            return check_unforeseen(unforeseen, counted, sampled=sampled)

        return judged(settled_counters(connection, lambda now: not any(one.refuses for one in judged(now))))


def _tables(backup: BackupManifest) -> Mapping[str, TableFingerprint]:
    return backup.data_fingerprint.tables if backup.data_fingerprint else {}
