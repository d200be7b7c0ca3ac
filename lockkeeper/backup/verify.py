"""Proves a backup: from storage alone, restored and compared. Only then is it ``verified``."""

from __future__ import annotations

import time

from lockkeeper.backup.attempt import proving
from lockkeeper.backup.copy import restored_copy
from lockkeeper.backup.manifest import read_manifest, save_manifest, transition
from lockkeeper.backup.progress import ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.errors import BackupError
from lockkeeper.models import BackupManifest, BackupState, BackupVerification
from lockkeeper.storage import Storage, open_storage

VERIFIABLE = (BackupState.UPLOADED, BackupState.VERIFIED)


def verify_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    progress: ProgressCallback | None = None,
    keep_copy: bool = False,
) -> tuple[BackupManifest, BackupVerification]:
    """Restore a backup into a scratch database, compare, drop it; the manifest is ``verified`` then.

    With ``keep_copy`` the scratch database stays for the rest of the run (``copy_database``).

    A backup that is found to be bad becomes ``failed``. When the check could not run (scratch server
    full, storage away), its state stays and the manifest's reason says so. May run twice.

    Raises:
        BackupCorruptError: the message names what is missing, changed or different.
        BackupError: the backup is not in a state to be verified, or could not be restored here.
        BackupNotFoundError: no such backup.
    """
    began = time.monotonic()
    storage = open_storage(target.storage)
    manifest = read_manifest(storage, target.name, backup_id)
    require_state(manifest)
    with (
        proving(storage, manifest),
        restored_copy(
            target,
            storage,
            manifest,
            target.scratch_server_url,
            "verify",
            run_id=run_id,
            progress=progress or silent,
            keep=keep_copy,
        ) as copy,
    ):
        verification = summary(manifest, copy.restore_s, time.monotonic() - began)
        if keep_copy:
            verification = verification.model_copy(update={"copy_database": copy.name})
        manifest = mark_verified(storage, manifest, verification)
    return manifest, verification


def require_state(manifest: BackupManifest) -> None:
    """Refuse a backup that is not complete in storage."""
    if manifest.state not in VERIFIABLE:
        why = f": {manifest.reason}" if manifest.reason else ""
        raise BackupError(
            f"Backup {manifest.id} is {manifest.state.value}{why}. Choose another one, or make a new one.",
            manifest.id,
        )


def summary(manifest: BackupManifest, restore_s: float, duration_s: float) -> BackupVerification:
    """Return what a successful comparison covered."""
    tables = manifest.data_fingerprint.tables if manifest.data_fingerprint else {}
    return BackupVerification(
        backup_id=manifest.id,
        tables=len(tables),
        rows=sum(table.rows for table in tables.values()),
        restore_s=round(restore_s, 3),
        duration_s=round(duration_s, 3),
    )


def mark_verified(
    storage: Storage, manifest: BackupManifest, verification: BackupVerification
) -> BackupManifest:
    """Write the manifest as ``verified``, with the time that it took."""
    timings = {**manifest.timings_s, "restore": verification.restore_s, "verify": verification.duration_s}
    verified = transition(manifest, BackupState.VERIFIED, reason=None, timings_s=timings)
    save_manifest(storage, verified)
    return verified
