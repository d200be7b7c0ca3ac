"""Proof that a backup comes back: from storage, restored beside the database, compared."""

from __future__ import annotations

from lockkeeper.models import BackupVerification
from tasks.policies import repeatable
from tasks.runs import engine_of


@repeatable(name="verify-backup")
def verify_backup(target: str, run_id: str, backup_id: str) -> BackupVerification:
    """Restore into a scratch database, compare with the manifest, drop it again."""
    return engine_of(target, run_id).verify_backup(backup_id)
