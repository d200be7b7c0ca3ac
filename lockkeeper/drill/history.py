"""Drills in the target's storage, beside its backups: ``<target>/drills/<id>.json``; ids sort by time."""

from __future__ import annotations

from pydantic import ValidationError

from lockkeeper.errors import StorageError
from lockkeeper.models import BackupKind, DrillReport
from lockkeeper.storage import Storage

SHOWN = 52
"""A year of weekly drills: what the trend is drawn from."""


def _folder(target: str) -> str:
    return f"{target}/drills/"


def write_drill(storage: Storage, drill: DrillReport) -> None:
    """Write one drill; writing it twice leaves one."""
    key = f"{_folder(drill.target)}{drill.run_id}.json"
    storage.put_bytes(key, drill.model_dump_json(indent=1).encode())


def read_drills(storage: Storage, target: str, *, newest: int = SHOWN) -> list[DrillReport]:
    """Return the newest drills of a target, oldest first; raises StorageError for an unreadable one."""
    keys = sorted(found.key for found in storage.list(_folder(target)))
    return [_read(storage, key) for key in keys[-newest:]]


def last_drill(storage: Storage, target: str, kind: BackupKind | None = None) -> DrillReport | None:
    """Return the newest drill (of a backup of that kind), or None when there was none among the newest."""
    drills = read_drills(storage, target, newest=SHOWN if kind else 1)
    return next((drill for drill in reversed(drills) if kind in (None, drill.backup_kind)), None)


def _read(storage: Storage, key: str) -> DrillReport:
    try:
        return DrillReport.model_validate_json(storage.get_bytes(key))
    except ValidationError as error:
        problem = f"{key} is not a drill ({error.error_count()} problems). Move it away."
        raise StorageError(problem, key) from error
