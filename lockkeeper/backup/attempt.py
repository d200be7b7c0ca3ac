"""A backup while it is made or proven: how its manifest begins, and what it says when that goes wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from lockkeeper.backup.manifest import (
    new_backup_id,
    note_failure,
    read_manifest,
    save_manifest,
    transition,
)
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, BackupError, LockkeeperError, RefusedError
from lockkeeper.models import BackupKind, BackupManifest, BackupState, utc_now
from lockkeeper.redaction import redact
from lockkeeper.storage import Storage


def begin(
    storage: Storage, target: Target, kind: BackupKind = BackupKind.DUMP, server_version_num: int = 0
) -> BackupManifest:
    """Write a new backup's first manifest before the database is burdened; raises StorageError."""
    now = utc_now()
    manifest = BackupManifest(
        id=new_backup_id(now),
        kind=kind,
        target=target.name,
        database=target.database,
        state=BackupState.STARTED,
        created_at=now,
        updated_at=now,
        server_version_num=server_version_num,
    )
    save_manifest(storage, manifest)
    return manifest


@contextlib.contextmanager
def making(
    storage: Storage, manifest: BackupManifest, clean_up: Callable[[BaseException], None]
) -> Iterator[None]:
    """When the block ends early: clean up, note ``failed`` with the reason, raise.

    Raises:
        BackupError: for every error of ours but a refusal, which goes on as it is.
    """
    try:
        yield
    except BaseException as error:
        clean_up(error)
        note_failure(storage, manifest, redact(str(error)) or type(error).__name__)
        if isinstance(error, LockkeeperError) and not isinstance(error, (BackupError, RefusedError)):
            raise BackupError(
                f"Backup {manifest.id} of {manifest.database!r} failed: {error}", manifest.id
            ) from error
        raise


@contextlib.contextmanager
def proving(storage: Storage, manifest: BackupManifest) -> Iterator[None]:
    """Note ``failed`` when the block finds the backup to be bad; when it could not look, the state stays."""
    try:
        yield
    except BackupCorruptError as error:
        note_failure(storage, manifest, redact(str(error)))
        raise
    except LockkeeperError as error:
        reason = f"the last verification could not run: {redact(str(error))}"
        with contextlib.suppress(LockkeeperError):  # the error that is on its way up says more
            kept = read_manifest(storage, manifest.target, manifest.id)  # it may have been proven meanwhile
            save_manifest(storage, transition(kept, kept.state, reason=reason))
        raise
