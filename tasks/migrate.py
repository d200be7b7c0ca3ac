"""The user's revisions, in either direction. Lock time-outs are retried by the engine, nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.models import BackupManifest, MigrationPlan, RevisionTiming
from tasks.policies import once
from tasks.runs import engine_of


@once(name="migrate")
def apply_migration(
    target: str, run_id: str, plan: MigrationPlan, backup: BackupManifest
) -> Sequence[RevisionTiming]:
    """Apply the plan, one revision at a time."""
    return engine_of(target, run_id).migrate(plan, backup)


@once(name="downgrade")
def revert_migration(target: str, run_id: str, plan: MigrationPlan) -> Sequence[RevisionTiming]:
    """Revert to where the plan began: the second rung of the recovery ladder."""
    return engine_of(target, run_id).downgrade(plan)
