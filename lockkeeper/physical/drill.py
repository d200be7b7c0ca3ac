"""A recovery from a physical backup, practised and timed: fetched, recovered, compared, removed again."""

from __future__ import annotations

import time

from lockkeeper.backup.manifest import latest_verified
from lockkeeper.backup.progress import ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.drill.rehearse import report_of
from lockkeeper.errors import RefusedError
from lockkeeper.models import BackupKind, DrillReport, utc_now
from lockkeeper.physical.instance import instance_of, require_room
from lockkeeper.physical.scratch import scratch_folder
from lockkeeper.physical.verify import compared
from lockkeeper.storage import open_storage

START_S = 2.0
"""What shutting the server down and starting it on its address take."""


def drill_physical_backup(
    target: Target, *, run_id: str, progress: ProgressCallback | None = None
) -> DrillReport:
    """Bring the newest verified physical backup back on this machine, compare it, time it, remove it.

    Raises:
        RefusedError: there is no verified physical backup, no room or no programs.
        BackupCorruptError: the backup does not come back.
    """
    manifest = latest_verified(target, BackupKind.PHYSICAL)
    if manifest is None:
        raise RefusedError(
            f"Target {target.name} has no verified physical backup. "
            f"Make one: lockkeeper backup {target.name} --kind physical"
        )
    started_at, storage = utc_now(), open_storage(target.storage)
    began = time.monotonic()
    with scratch_folder(target) as folder:
        require_room(folder, manifest)
        instance = instance_of(target, manifest, folder)
        with compared(target, storage, instance, run_id, progress or silent) as found:
            ready_s = time.monotonic() - began
    return report_of(
        target,
        manifest,
        run_id,
        started_at,
        restore_s=found.restore_s,
        compare_s=found.compare_s,
        predicted_recovery_s=ready_s + START_S,
    )
