"""A dump of the database at one snapshot, streamed to storage, and the old ones that may go."""

from __future__ import annotations

from lockkeeper.models import BackupManifest, MigrationPlan
from tasks.policies import repeatable
from tasks.runs import engine_of


@repeatable(name="backup")
def create_backup(target: str, run_id: str, plan: MigrationPlan) -> BackupManifest:
    """Dump the database; a failed try leaves nothing that could be taken for a backup."""
    return engine_of(target, run_id).create_backup(plan)
