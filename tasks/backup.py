"""A dump of the database at one snapshot, streamed to storage, and the old ones that may go."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.models import BackupManifest, MigrationPlan
from tasks.policies import once, repeatable
from tasks.runs import engine_of


@repeatable(name="backup")
def create_backup(target: str, run_id: str, plan: MigrationPlan | None) -> BackupManifest:
    """Dump the database; a failed try leaves nothing that could be taken for a backup."""
    engine = engine_of(target, run_id)
    return engine.back_up() if plan is None else engine.create_backup(plan)


@once(name="expire-backups")
def expire_backups(target: str, run_id: str) -> Sequence[str]:
    """Remove what the target's retention policy lets go; returns the ids."""
    return engine_of(target, run_id).expire_backups()
