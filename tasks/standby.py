"""The verified copy kept warm beside the database, so that it can take over without losing a write."""

from __future__ import annotations

from lockkeeper.models import BackupManifest, WarmCopy
from tasks.policies import once
from tasks.runs import engine_of


@once(name="stand-by")
def stand_by(target: str, run_id: str, backup: BackupManifest, copy_database: str) -> WarmCopy:
    """Clone the copy for the rehearsal, then replay into it what is written from the backup on."""
    return engine_of(target, run_id).stand_by(backup, copy_database)
