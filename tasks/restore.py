"""A verified backup takes the place of a damaged database, which is kept as quarantine."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.models import BackupManifest, MigrationPlan, RestoreReport, RevisionTiming
from tasks.policies import once
from tasks.runs import engine_of


@once(name="restore")
def restore_backup(
    target: str,
    run_id: str,
    backup: BackupManifest,
    reason: str,
    applied: Sequence[RevisionTiming],
    complete: bool,
) -> RestoreReport:
    """Restore beside, verify, swap; raises NeedsHumanError when that could lose a write."""
    return engine_of(target, run_id).restore(backup, reason, applied, complete)


@once(name="warm-swap")
def swap_warm_copy(
    target: str,
    run_id: str,
    plan: MigrationPlan,
    backup: BackupManifest,
    reason: str,
    applied: Sequence[RevisionTiming],
) -> RestoreReport:
    """Let the warm copy take over, with everything that was written since the backup; verify."""
    return engine_of(target, run_id).warm_swap(plan, backup, reason, applied)


@once(name="restore-with-replay")
def restore_with_replay(
    target: str,
    run_id: str,
    plan: MigrationPlan,
    backup: BackupManifest,
    reason: str,
    applied: Sequence[RevisionTiming],
) -> RestoreReport:
    """Restore beside, replay everything that was written since the backup, swap, verify."""
    return engine_of(target, run_id).restore_with_replay(plan, backup, reason, applied)


@once(name="restore")
def put_back(
    target: str,
    run_id: str,
    manifest: BackupManifest,
    asked_by: str,
    accept_loss: bool,
    until: str | None = None,
) -> RestoreReport:
    """Restore what an operator asked for; raises RefusedError when writes would be lost unaccepted."""
    return engine_of(target, run_id).put_back(manifest, asked_by, accept_loss, until)
