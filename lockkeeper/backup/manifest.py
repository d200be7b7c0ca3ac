"""The manifest: the truth about one backup, kept beside its dump as ``manifest.json``.

Layout: ``<prefix>/<target>/backups/<id>/{dump.zst,manifest.json}``; ids sort by time. The manifest is
written first (``started``) and last, each time as a whole. Its state moves along the edges below and no
others. Whoever finds a backup ``started`` for long sees a process that died: its age tells.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pydantic import ValidationError

from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, BackupError, BackupNotFoundError, StorageError
from lockkeeper.models import BackupKind, BackupManifest, BackupState, utc_now
from lockkeeper.storage import Storage, open_storage

DUMP_NAME = "dump.zst"
MANIFEST_NAME = "manifest.json"
_ID = re.compile(r"^(\d{8}T\d{6})Z-[0-9a-f]{6}$")
_ID_TIME = "%Y%m%dT%H%M%S"

S = BackupState
ALLOWED_TRANSITIONS = frozenset(
    {
        (S.STARTED, S.UPLOADED),  # the dump is in storage, complete, with its checksum
        (S.STARTED, S.FAILED),  # the dump could not be made or stored
        (S.UPLOADED, S.VERIFIED),  # restored and compared
        (S.UPLOADED, S.FAILED),  # found to be corrupt
        (S.UPLOADED, S.UPLOADED),  # a verification could not run; the reason says why
        (S.VERIFIED, S.VERIFIED),  # verified again
        (S.VERIFIED, S.FAILED),  # was good once and has rotted since
        (S.UPLOADED, S.EXPIRED),  # retention
        (S.VERIFIED, S.EXPIRED),
        (S.FAILED, S.EXPIRED),
    }
)  # out of FAILED and EXPIRED no backup comes back: make a new one


def new_backup_id(at: datetime | None = None) -> str:
    """Return a fresh id such as ``20261123T104500Z-1a2b3c``; ids sort by time (UTC)."""
    return f"{at or utc_now():{_ID_TIME}}Z-{secrets.token_hex(3)}"


def id_time(backup_id: str) -> datetime | None:
    """Return when a backup was started, as its id says, or None when that is no id."""
    match = _ID.match(backup_id)
    return datetime.strptime(match[1], _ID_TIME).replace(tzinfo=timezone.utc) if match else None


def backups_prefix(target: str) -> str:
    """Return the prefix of all backups of a target."""
    return f"{target}/backups/"


def dump_key(target: str, backup_id: str) -> str:
    """Return the key of the compressed dump."""
    return f"{backups_prefix(target)}{backup_id}/{DUMP_NAME}"


def backup_prefix(target: str, backup_id: str) -> str:
    """Return the prefix of everything that belongs to one backup."""
    return f"{backups_prefix(target)}{backup_id}/"


def base_key(target: str, backup_id: str) -> str:
    """Return the key of a physical backup's compressed files."""
    return f"{backup_prefix(target, backup_id)}base.tar.zst"


def segment_key(target: str, backup_id: str, segment: str) -> str:
    """Return the key of one compressed segment of a physical backup's write-ahead log."""
    return f"{backup_prefix(target, backup_id)}wal/{segment}.zst"


def manifest_key(target: str, backup_id: str) -> str:
    """Return the key of the manifest."""
    return f"{backups_prefix(target)}{backup_id}/{MANIFEST_NAME}"


def transition(manifest: BackupManifest, state: BackupState, **changes: Any) -> BackupManifest:
    """Return the manifest in its next state; an edge that is not allowed is refused.

    Raises:
        BackupError: from ``manifest.state`` no way leads to ``state``.
    """
    if (manifest.state, state) not in ALLOWED_TRANSITIONS:
        raise BackupError(
            f"Backup {manifest.id} is {manifest.state.value}: it cannot become {state.value}.", manifest.id
        )
    return manifest.model_copy(update={"state": state, "updated_at": utc_now(), **changes})


def save_manifest(storage: Storage, manifest: BackupManifest) -> None:
    """Write the manifest over its former version; an object store and ours replace it at once."""
    storage.put_bytes(manifest_key(manifest.target, manifest.id), manifest.model_dump_json(indent=1).encode())


def read_manifest(storage: Storage, target: str, backup_id: str) -> BackupManifest:
    """Read and check one manifest.

    Raises:
        BackupNotFoundError: there is none.
        BackupCorruptError: it cannot be read, or is that of another backup or target.
        StorageError: storage failed.
    """
    key = manifest_key(target, backup_id)
    if id_time(backup_id) is None or not storage.exists(key):
        raise BackupNotFoundError(backup_id)
    data = storage.get_bytes(key)
    try:
        manifest = BackupManifest.model_validate_json(data)
    except ValidationError as error:
        raise BackupCorruptError(f"The manifest {key!r} cannot be read: it is damaged.", backup_id) from error
    if (manifest.id, manifest.target) != (backup_id, target):
        raise BackupCorruptError(
            f"The manifest {key!r} is that of backup {manifest.id} of target {manifest.target!r}.", backup_id
        )
    return manifest


def load_manifest(target: Target, backup_id: str) -> BackupManifest:
    """Read one manifest of the target; raises as ``read_manifest``."""
    return read_manifest(open_storage(target.storage), target.name, backup_id)


def backup_ids(storage: Storage, target: str) -> list[str]:
    """Return the ids of all manifests in storage, newest first."""
    keys = (item.key for item in storage.list(backups_prefix(target)))
    parts = [key.split("/") for key in keys if key.endswith(f"/{MANIFEST_NAME}")]
    return sorted((part[-2] for part in parts if id_time(part[-2])), reverse=True)


def list_backups(target: Target) -> list[BackupManifest]:
    """Return the manifests of all backups, newest first; a damaged one is shown as failed."""
    storage = open_storage(target.storage)
    return [_read_or_explain(storage, target, backup_id) for backup_id in backup_ids(storage, target.name)]


def _read_or_explain(storage: Storage, target: Target, backup_id: str) -> BackupManifest:
    try:
        return read_manifest(storage, target.name, backup_id)
    except BackupCorruptError as error:
        at = id_time(backup_id) or utc_now()
        return BackupManifest(
            id=backup_id,
            target=target.name,
            database=target.database,
            state=BackupState.FAILED,
            created_at=at,
            updated_at=at,
            reason=str(error),
            server_version_num=0,
        )


def latest_verified(target: Target, kind: BackupKind | None = None) -> BackupManifest | None:
    """Return the newest backup (of that kind) that has been verified, or None."""
    storage = open_storage(target.storage)
    for backup_id in backup_ids(storage, target.name):
        manifest = _read_or_explain(storage, target, backup_id)
        if manifest.state is BackupState.VERIFIED and kind in (None, manifest.kind):
            return manifest
    return None


def note_identities(target: Target, manifest: BackupManifest, former: Mapping[str, str]) -> BackupManifest:
    """Write down what a capture has changed before the snapshot, so that a restore can undo it."""
    noted = transition(manifest, manifest.state, former_identities=dict(former))
    save_manifest(open_storage(target.storage), noted)
    return noted


def note_failure(storage: Storage, manifest: BackupManifest, reason: str) -> None:
    """Write ``failed`` with its reason when storage permits; the error that led here is the one to tell."""
    try:
        save_manifest(storage, transition(manifest, BackupState.FAILED, reason=reason))
    except StorageError:
        return  # without a storage there is nobody to tell; the manifest stays started and shows its age
