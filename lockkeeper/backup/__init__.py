"""Backups: made at one snapshot, streamed to storage, and believed only once they have been restored."""

from __future__ import annotations

from lockkeeper.backup.create import create_backup
from lockkeeper.backup.manifest import latest_verified, list_backups, load_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback
from lockkeeper.backup.retention import expire_backups
from lockkeeper.backup.verify import verify_backup

__all__ = [
    "Progress",
    "ProgressCallback",
    "create_backup",
    "expire_backups",
    "latest_verified",
    "list_backups",
    "load_manifest",
    "verify_backup",
]
