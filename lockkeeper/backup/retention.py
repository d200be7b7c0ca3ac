"""Which backups may go: a pure decision, then its execution.

A manifest stays for ever, as ``expired``. It is marked *before* its content is deleted, so that no manifest
ever promises what is gone; a kill in between leaves content that the next run deletes. Dumps and physical
backups are counted each for themselves: neither kind ever expires the last verified one of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from lockkeeper.backup.manifest import (
    backup_prefix,
    backups_prefix,
    list_backups,
    manifest_key,
    save_manifest,
    transition,
)
from lockkeeper.config import Target
from lockkeeper.models import BackupKind, BackupManifest, BackupState, utc_now
from lockkeeper.storage import Storage, open_storage

IN_USE_AGE = timedelta(days=1)
"""A backup that was started or uploaded less than this ago may still be worked on."""


def expirable(
    manifests: Sequence[BackupManifest], *, now: datetime, keep_count: int, keep_days: int
) -> list[BackupManifest]:
    """Return the backups that retention lets go, oldest first.

    Kept are the ``keep_count`` (at least one) newest verified ones, everything younger than
    ``keep_days``, and what may be in use. A backup of unknown state is never in the list.
    """
    newest_first = sorted(manifests, key=lambda manifest: manifest.id, reverse=True)
    verified = [manifest.id for manifest in newest_first if manifest.state is BackupState.VERIFIED]
    kept = set(verified[: max(keep_count, 1)])
    found = []
    for manifest in reversed(newest_first):
        young = now - manifest.created_at < timedelta(days=keep_days)
        working = (
            manifest.state in (BackupState.STARTED, BackupState.UPLOADED)
            and now - manifest.updated_at < IN_USE_AGE
        )
        gone = manifest.state is BackupState.EXPIRED
        damaged = manifest.server_version_num == 0 and manifest.state is BackupState.FAILED
        if not (manifest.id in kept or young or working or gone or damaged):
            found.append(manifest)
    return found


def expire_backups(target: Target) -> list[str]:
    """Delete the content of backups that the target's policies no longer keep; returns ids, oldest first.

    May run twice and beside backups. A manifest that cannot be read is left for a human.
    """
    storage = open_storage(target.storage)
    policies = target.policies
    manifests = list_backups(target)
    stored = [item.key for item in storage.list(backups_prefix(target.name))]
    for manifest in manifests:
        if manifest.state is BackupState.EXPIRED:
            _delete_content(storage, manifest, stored)  # a run was killed between marking and deleting
    gone = []
    for kind in BackupKind:
        gone += expirable(
            [manifest for manifest in manifests if manifest.kind is kind],
            now=utc_now(),
            keep_count=policies.retention_count,
            keep_days=policies.retention_days,
        )
    for manifest in gone:
        dead = manifest
        if manifest.state is BackupState.STARTED:
            dead = transition(manifest, BackupState.FAILED, reason="the process that made it died")
        save_manifest(
            storage, transition(dead, BackupState.EXPIRED, reason=dead.reason or "retention policy")
        )
        _delete_content(storage, manifest, stored)
    return sorted(manifest.id for manifest in gone)


def _delete_content(storage: Storage, manifest: BackupManifest, stored: Sequence[str]) -> None:
    """Delete everything of a backup but its manifest."""
    prefix = backup_prefix(manifest.target, manifest.id)
    for key in stored:
        if key.startswith(prefix) and key != manifest_key(manifest.target, manifest.id):
            storage.delete(key)
