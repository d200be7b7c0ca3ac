"""A recovery from storage alone, on a quiet day: restored, compared, made ready to serve, and timed.

It changes nothing but a scratch database, which is dropped again. What a real recovery does beside this is
the fence with the swap, which does not grow with the database, and the replay of captured changes.
"""

from __future__ import annotations

import time
from datetime import datetime

from lockkeeper.backup.copy import restored_copy
from lockkeeper.backup.manifest import latest_verified
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.errors import RefusedError
from lockkeeper.models import BackupKind, BackupManifest, DataFingerprint, DrillReport, utc_now
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.storage import open_storage

SWAP_S = 2.0
"""What fence, drain and swap take at most in the runs of ``benchmarks/recovery_benchmark.py``."""


def drill_backup(
    target: Target,
    *,
    run_id: str,
    captures: bool,
    progress: ProgressCallback | None = None,
) -> DrillReport:
    """Restore the newest verified backup on the scratch server, compare it, time it.

    The caller holds the migration lock: scratch databases that nobody holds it for are taken as left over.

    Args:
        target: whose backup.
        run_id: names connections, the scratch database's note and the drill.
        captures: whether migrations of this target capture what is written since the backup.
        progress: told the stages and the downloaded bytes.

    Raises:
        RefusedError: there is no verified backup.
        BackupCorruptError: the backup does not come back.
        LockkeeperError: as ``restored_copy``.
    """
    manifest = latest_verified(target, BackupKind.DUMP)
    if manifest is None:
        raise RefusedError(
            f"Target {target.name} has no verified dump to restore. Make one: lockkeeper backup {target.name}"
        )
    began, started_at, tell = time.monotonic(), utc_now(), progress or silent
    storage = open_storage(target.storage)
    with restored_copy(
        target, storage, manifest, target.scratch_server_url, "drill", run_id=run_id, progress=tell
    ) as copy:
        compared_s = time.monotonic() - began
        tell(Progress("analyze"))
        with connect(copy.url, "analyze", run_id=run_id) as connection:
            execute(connection, "ANALYZE")
        ready_s = time.monotonic() - began
    return report_of(
        target,
        manifest,
        run_id,
        started_at,
        restore_s=copy.restore_s,
        compare_s=compared_s - copy.restore_s,
        analyze_s=ready_s - compared_s,
        predicted_recovery_s=ready_s + SWAP_S,
        captures=captures,
    )


def report_of(
    target: Target,
    manifest: BackupManifest,
    run_id: str,
    started_at: datetime,
    *,
    restore_s: float,
    compare_s: float,
    predicted_recovery_s: float,
    analyze_s: float = 0.0,
    captures: bool = False,
    content: DataFingerprint | None = None,
) -> DrillReport:
    """Return the report of a drill of any kind of backup; ``content`` where the manifest does not say it."""
    content = content or manifest.data_fingerprint
    return DrillReport(
        run_id=run_id,
        target=target.name,
        backup_id=manifest.id,
        backup_kind=manifest.kind,
        backup_made_at=manifest.created_at,
        started_at=started_at,
        database_bytes=manifest.database_bytes or 0,
        rows=sum(table.rows for table in content.tables.values()) if content else 0,
        restore_s=round(restore_s, 3),
        compare_s=round(compare_s, 3),
        analyze_s=round(analyze_s, 3),
        predicted_recovery_s=round(predicted_recovery_s, 3),
        loss_window_s=0.0 if captures else round((started_at - manifest.created_at).total_seconds(), 1),
        objective_s=target.policies.recovery_objective_s,
    )
