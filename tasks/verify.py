"""What was migrated is what was meant; what was not to change has not."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.measured import UnforeseenWrite
from lockkeeper.models import BackupManifest, Check, MigrationPlan, RevisionTiming, SchemaFingerprint
from tasks.policies import once
from tasks.runs import engine_of


@once(name="verify")
def verify_migration(
    target: str,
    run_id: str,
    plan: MigrationPlan,
    backup: BackupManifest,
    expected: SchemaFingerprint | None,
    unforeseen: Sequence[UnforeseenWrite],
) -> Sequence[Check]:
    """Check revision, schema, writes, rules, counts and models; raises VerificationError."""
    return engine_of(target, run_id).verify(plan, backup, expected, unforeseen)


@once(name="verify-unchanged")
def verify_unchanged(
    target: str,
    run_id: str,
    plan: MigrationPlan,
    backup: BackupManifest,
    applied: Sequence[RevisionTiming],
    complete: bool,
) -> str:
    """Prove that the database is what it was, and say how; raises VerificationError."""
    return engine_of(target, run_id).verify_unchanged(plan, backup, applied, complete)
