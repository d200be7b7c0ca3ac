"""A recovery from storage alone, on a quiet day: restored, compared, made ready to serve, and timed.

It changes nothing but a scratch database, which is dropped again. What a real recovery does beside this is
the fence with the swap, which does not grow with the database, and the replay of captured changes.
"""

from __future__ import annotations

import time

from lockkeeper.backup.copy import restored_copy
from lockkeeper.backup.manifest import latest_verified
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.errors import RefusedError
from lockkeeper.models import BackupKind, BackupManifest, DrillReport, utc_now
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
    return DrillReport(
        run_id=run_id,
        target=target.name,
        backup_id=manifest.id,
        backup_made_at=manifest.created_at,
        started_at=started_at,
        database_bytes=manifest.database_bytes or 0,
        rows=_rows(manifest),
        restore_s=round(copy.restore_s, 3),
        compare_s=round(compared_s - copy.restore_s, 3),
        analyze_s=round(ready_s - compared_s, 3),
        predicted_recovery_s=round(ready_s + SWAP_S, 3),
        loss_window_s=0.0 if captures else round((started_at - manifest.created_at).total_seconds(), 1),
        objective_s=target.policies.recovery_objective_s,
    )


def _rows(manifest: BackupManifest) -> int:
    tables = manifest.data_fingerprint.tables if manifest.data_fingerprint else {}
    return sum(table.rows for table in tables.values())
