"""Runs other than a migration: a backup for itself, and a restore that an operator asked for.

As the migration's runbook they keep a record, write the journal after every step and tell the team, and
end as a report whose outcome is the exit code.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from psycopg2.extensions import make_dsn

from lockkeeper.errors import NeedsHumanError, ObjectiveError
from lockkeeper.models import (
    BackupManifest,
    BackupVerification,
    DrillReport,
    Instance,
    RestoreReport,
    RunReport,
    utc_now,
)
from lockkeeper.record import RunRecord, play_and_tell
from lockkeeper.runbook import MigrationRequest

logger = logging.getLogger(__name__)


class OperationSteps(Protocol):
    """The steps of backups and restores; each raises a LockkeeperError when it fails."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the database's migration lock; raises LockHeldError."""
        ...

    def back_up(self) -> BackupManifest:
        """Dump the database to storage."""
        ...

    def verify_backup(self, backup_id: str) -> BackupVerification:
        """Restore the backup beside the database and compare."""
        ...

    def expire_backups(self) -> Sequence[str]:
        """Remove what the retention policy lets go; returns the ids."""
        ...

    def restorable(self, backup_id: str) -> BackupManifest:
        """Return the manifest of a backup that may be restored; raises RefusedError."""
        ...

    def put_back(
        self, manifest: BackupManifest, asked_by: str, accept_loss: bool, until: str | None = None
    ) -> RestoreReport:
        """Restore beside, verify, swap; raises RefusedError when writes would be lost unaccepted."""
        ...

    def drill(self) -> DrillReport:
        """Bring the newest verified backup back on the scratch server, time it, keep the figures."""
        ...

    def journal(self, report: RunReport) -> str | None:
        """Write down where the run stands; returns a warning instead of raising."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team; returns a warning instead of raising."""
        ...


def run_backup(steps: OperationSteps, request: MigrationRequest) -> RunReport:
    """Make a backup, prove it by restoring it, let old ones expire.

    Holds the migration lock: a migration would wait for the dump's ACCESS SHARE on every table, and takes
    scratch databases that nobody holds the lock for as left over. Can be run again after any crash.
    """

    def play(record: RunRecord) -> None:
        with steps.exclusive():
            with record.step("backup") as note:
                manifest = steps.back_up()
                record.update(backup_id=manifest.id)
                note(f"{manifest.id}, {manifest.size_bytes or 0} bytes")
            with record.step("verify-backup") as note:
                verification = steps.verify_backup(manifest.id)
                note(f"{verification.tables} tables and {verification.rows} rows equal")
        with record.step("expire-backups") as note:
            note(", ".join(steps.expire_backups()) or "none is old enough")

    return play_operation("backup", steps, request, play)


def run_restore(
    steps: OperationSteps,
    request: MigrationRequest,
    backup_id: str,
    *,
    accept_loss: bool = False,
    until: str | None = None,
) -> RunReport:
    """Let a backup take the place of the database, which is kept as quarantine.

    Holds the migration lock. Refuses, under the fence and before the swap, when anything was written since
    the backup, unless ``accept_loss`` says that these writes may go (they stay in the quarantine). Only
    that counts here: the target's recovery policy is about recoveries that nobody watches. ``until`` is a
    later moment than a physical backup's own, out of the archive.
    """

    def play(record: RunRecord) -> None:
        with record.step("preflight") as note:
            manifest = steps.restorable(backup_id)
            record.update(backup_id=manifest.id)
            note(f"{manifest.id} of {manifest.created_at:%Y-%m-%d %H:%M:%S %Z}, {manifest.state.value}")
        with steps.exclusive(), record.step("restore") as note:
            done = steps.put_back(manifest, request.initiator, accept_loss, until)
            record.update(restore=done)
            where = f"serves on {done.instance.host}:{done.instance.port}" if done.instance else None
            note(where or f"writes were refused for {done.fence_s:.2f} s")
        if done.instance is not None and not done.instance.switched:
            raise _not_switched(done, done.instance, request)

    return play_operation("restore", steps, request, play)


def _not_switched(done: RestoreReport, instance: Instance, request: MigrationRequest) -> NeedsHumanError:
    """Return what is left to do for a server that was brought back: nobody uses it yet."""
    why = f" {'; '.join(done.warnings)}." if done.warnings else ""
    return NeedsHumanError(
        f"Backup {done.backup_id} has come back, and all of it was read, as a server of its own on "
        f"{instance.host}:{instance.port} ({instance.folder}); {request.database} on the former "
        f"server was not touched. What was written there since {instance.recovery_lsn} is not in the "
        f"new one. Point applications at it.{why}",
        shlex.join(["psql", make_dsn(host=instance.host, port=instance.port, dbname=request.database)]),
    )


def run_drill(steps: OperationSteps, request: MigrationRequest) -> RunReport:
    """Practise the recovery from storage and hold its length against the target's objective.

    Holds the migration lock, as a backup does. Changes nothing but a scratch database; ends as failed when
    the backup does not come back, and when a recovery would take too long.
    """

    def play(record: RunRecord) -> None:
        with steps.exclusive(), record.step("drill") as note:
            drill = steps.drill()
            record.update(drill=drill, backup_id=drill.backup_id)
            note(f"{drill.rows} rows came back; a recovery would take {drill.predicted_recovery_s:.1f} s")
        if not drill.within_objective:
            raise too_slow(drill)

    return play_operation("drill", steps, request, play)


def too_slow(drill: DrillReport) -> ObjectiveError:
    """Return the error for a recovery that would take too long, with what can be done about it."""
    return ObjectiveError(
        f"A recovery from storage is predicted to take {drill.predicted_recovery_s:.0f} s, the objective of "
        f"{drill.target} is {drill.objective_s:.0f} s. With `capture=auto` the copy that is kept warm beside "
        "the database takes over in seconds whatever the size; for a recovery from storage give the server "
        "more cores and raise restore_jobs, or make physical backups (docs/physical-backups.md).",
        drill.predicted_recovery_s,
        drill.objective_s,
    )


class Teller(Protocol):
    """Who writes down and tells how a run stands."""

    def journal(self, report: RunReport) -> str | None:
        """Write down where the run stands; returns a warning instead of raising."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team; returns a warning instead of raising."""
        ...


def play_operation(
    operation: str, steps: Teller, request: MigrationRequest, runbook: Callable[[RunRecord], None]
) -> RunReport:
    """Play ``runbook``, which may set an outcome of its own; keep its record and tell the team how it ended.

    Only interruptions (not errors) are raised, at the end.
    """
    report = RunReport(
        run_id=request.run_id,
        operation=operation,
        target=request.target,
        database=request.database,
        started_at=utc_now(),
        initiator=request.initiator,
        link=request.link,
    )
    record = RunRecord(report, steps.journal)
    return play_and_tell(record, lambda: runbook(record), steps.notify)
