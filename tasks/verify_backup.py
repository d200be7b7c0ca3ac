"""Proof that a backup comes back: from storage, restored beside the database, compared."""

from __future__ import annotations

from lockkeeper.models import BackupVerification
from tasks.policies import repeatable
from tasks.runs import engine_of


@repeatable(name="verify-backup")
def verify_backup(target: str, run_id: str, backup_id: str, keep_copy: bool = False) -> BackupVerification:
    """Restore into a scratch database and compare with the manifest; the copy may stay for the run."""
    return engine_of(target, run_id).verify_backup(backup_id, keep_copy)
