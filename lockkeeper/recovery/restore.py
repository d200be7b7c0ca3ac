"""Restores a backup beside the damaged database and swaps it in; the damaged one becomes a quarantine.

Until the swap, which is one transaction, the original serves as it is; the fence, in which nobody can
connect, is only as long as the proof and the renames. Whatever fails, the fence is lifted and the copy
dropped. Restoring loses what was committed since the backup: ``before_swap`` is where the caller looks
(``written_since``), while nobody can write any more, and refuses by raising.
"""

from __future__ import annotations

import time

from lockkeeper.backup.capture_traces import forget_capture
from lockkeeper.backup.copy import RestoredCopy, restored_copy
from lockkeeper.backup.manifest import note_failure, read_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.verify import mark_verified, require_state, summary
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, PreflightError
from lockkeeper.models import BackupManifest, BackupState, DatabaseProperties, RestoreReport
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.databases import free_disk_bytes
from lockkeeper.postgres.fence import refuse_prepared_transactions
from lockkeeper.postgres.properties import apply_properties
from lockkeeper.recovery.exchange import BeforeSwap, Exchange, Swapped, drop_quarantine, put_in_place
from lockkeeper.redaction import redact
from lockkeeper.storage import open_storage


def restore_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    reason: str,
    before_swap: BeforeSwap | None = None,
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Put a backup in the place of the target's database; the caller holds the migration lock.

    Args:
        target: whose database.
        backup_id: a backup that is ``uploaded`` or ``verified``; it is compared anyway before the swap.
        run_id: the run that does it.
        reason: why, written on the quarantined database.
        before_swap: called under the fence with the original; raising leaves everything as it was.
        progress: told the stages and the downloaded bytes.

    Raises:
        BackupCorruptError: the backup is not what its manifest says; the original serves on.
        PreflightError: the server's disk cannot hold the copy.
        DatabaseError: PostgreSQL refused a step; the original serves on.
        LockkeeperError: as ``restored_copy``, and what ``before_swap`` raised; the original serves on.
    """
    began = time.monotonic()
    storage = open_storage(target.storage)
    manifest = read_manifest(storage, target.name, backup_id)
    require_state(manifest)
    tell = progress or silent
    _check_server(target, manifest, run_id)
    try:
        with restored_copy(
            target, storage, manifest, target.maintenance_url, "restore", run_id=run_id, progress=tell
        ) as copy:
            if manifest.state is BackupState.UPLOADED:
                proof = summary(manifest, copy.restore_s, time.monotonic() - began)
                manifest = mark_verified(storage, manifest, proof)
            properties = _prepare(target, manifest, copy, run_id)
            tell(Progress("swap"))
            swapped = put_in_place(
                Exchange(
                    target,
                    copy.url,
                    run_id,
                    reason,
                    comment=properties.comment if properties else None,
                    before_swap=before_swap,
                )
            )
    except BackupCorruptError as error:
        note_failure(storage, manifest, redact(str(error)))
        raise
    return _report(target, manifest, [*copy.warnings, *swapped.warnings], swapped, run_id, began)


def _report(
    target: Target,
    manifest: BackupManifest,
    warnings: list[str],
    swapped: Swapped,
    run_id: str,
    began: float,
) -> RestoreReport:
    quarantine = swapped.quarantine
    if quarantine and not target.policies.keep_quarantine:
        quarantine = drop_quarantine(target, quarantine, run_id, warnings)
    return RestoreReport(
        backup_id=manifest.id,
        database=target.database,
        quarantine_database=quarantine,
        fence_s=round(swapped.fence_s, 3),
        duration_s=round(time.monotonic() - began, 3),
        revisions=manifest.revisions,
        warnings=tuple(warnings),
    )


def _check_server(target: Target, manifest: BackupManifest, run_id: str) -> None:
    """Refuse early what would fail late: prepared transactions, and a disk that is known to be too small."""
    with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
        refuse_prepared_transactions(connection, target.database)
        free, needed = free_disk_bytes(connection), manifest.database_bytes or 0
        if free is not None and free < needed:
            raise PreflightError(
                [
                    f"the copy takes {needed // 2**20} MiB, the server's disk has {free // 2**20} MiB "
                    "free. Free some space: drop former quarantines (lockkeeper status lists them)"
                ]
            )


def _prepare(
    target: Target, manifest: BackupManifest, copy: RestoredCopy, run_id: str
) -> DatabaseProperties | None:
    """Make the copy ready to serve: statistics for the planner, then owner, grants and settings."""
    with connect(copy.url, "analyze", run_id=run_id) as connection:
        execute(connection, "ANALYZE")
        forget_capture(connection, manifest)
    if manifest.properties is not None:
        with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
            apply_properties(connection, copy.name, manifest.properties)
    return manifest.properties
