"""The migration on a restored copy of production: up, down and up again, before production is touched."""

from __future__ import annotations

from lockkeeper.models import BackupManifest, MigrationPlan
from lockkeeper.proving.models import Rehearsal
from tasks.policies import once
from tasks.runs import engine_of


@once(name="rehearse")
def rehearse_migration(
    target: str, run_id: str, plan: MigrationPlan, backup: BackupManifest, copy_database: str
) -> Rehearsal:
    """Play the plan on the verified copy; raises VerificationError when anything is found."""
    return engine_of(target, run_id).rehearse(plan, backup, copy_database)
