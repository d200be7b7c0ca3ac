"""Proves a physical backup: a server is started from what the storage holds, and its content is read.

Every file is compared with the checksum that the server itself gave (pg_verifybackup), the log is replayed
to the backup's moment, every row of the target's database is read, and compared with what production held at
that very moment, where the backup knows that. Where it does not, what was read becomes what every later
restore is compared with.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.backup.attempt import proving
from lockkeeper.backup.manifest import read_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.verify import mark_verified, require_state, summary
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError
from lockkeeper.models import BackupManifest, BackupVerification, DataFingerprint
from lockkeeper.physical.files import lay_out
from lockkeeper.physical.instance import Instance, instance_of, recovered, require_room
from lockkeeper.physical.scratch import scratch_folder
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.storage import Storage, open_storage


class Recovered(NamedTuple):
    """A server that holds exactly what its manifest says, still running for nobody but us.

    ``content`` is what was read of it; ``restore_s`` until it answered, ``compare_s`` for reading it.
    """

    url: URL
    content: DataFingerprint
    restore_s: float
    compare_s: float


@contextlib.contextmanager
def compared(
    target: Target, storage: Storage, instance: Instance, run_id: str, progress: ProgressCallback
) -> Iterator[Recovered]:
    """Bring a backup back in the instance's folder, compare it, and keep the server for the block.

    Raises:
        BackupCorruptError: it does not come back, or as something else than the manifest says.
        LockkeeperError: storage, disk or programs failed.
    """
    began = time.monotonic()
    lay_out(instance, storage, progress)
    progress(Progress("recovery"))
    with recovered(instance, target, run_id) as url:
        restore_s = time.monotonic() - began
        progress(Progress("compare"))
        content = _compare(instance, url, run_id, target.policies.restore_jobs)
        yield Recovered(url, content, restore_s, time.monotonic() - began - restore_s)


def _compare(instance: Instance, url: URL, run_id: str, jobs: int) -> DataFingerprint:
    manifest = instance.manifest
    with connect(url, "compare", run_id=run_id) as connection:
        schema = schema_fingerprint(connection)
    content = data_fingerprint(url, jobs=jobs, run_id=run_id)
    if instance.until is not None:
        return content  # every row could be read; there is nothing that it could be compared with
    findings = []
    if manifest.schema_fingerprint is not None:
        findings += compare_schemas(manifest.schema_fingerprint, schema)
    if manifest.data_fingerprint is not None:
        ignored = manifest.physical.not_logged if manifest.physical else ()
        findings += compare_data(
            manifest.data_fingerprint, content, ignore_tables=ignored, sequences_may_be_ahead=True
        )
    if findings:
        shown = "; ".join(findings[:10]) + (f"; and {len(findings) - 10} more" if findings[10:] else "")
        raise BackupCorruptError(
            f"Backup {manifest.id} does not come back as what its manifest says: {shown}", manifest.id
        )
    return content


def verify_physical_backup(
    target: Target, backup_id: str, *, run_id: str, progress: ProgressCallback | None = None
) -> tuple[BackupManifest, BackupVerification]:
    """Start a server from a backup, compare it, remove it; the manifest is ``verified`` then. May run twice.

    A backup that is found to be bad becomes ``failed``; when the check could not run its state stays.

    Raises:
        BackupCorruptError: the message names what is missing, changed or different.
        BackupError: the backup is not in a state to be verified.
        BackupNotFoundError: no such backup.
        ConfigurationError: there are no fitting programs on this machine.
        PreflightError: the disk cannot hold the server.
    """
    began, storage = time.monotonic(), open_storage(target.storage)
    manifest = read_manifest(storage, target.name, backup_id)
    require_state(manifest)
    with proving(storage, manifest):
        with scratch_folder(target) as folder:
            require_room(folder, manifest)
            instance = instance_of(target, manifest, folder)
            with compared(target, storage, instance, run_id, progress or silent) as found:
                manifest = with_content(manifest, found.content)
        verification = summary(manifest, found.restore_s, time.monotonic() - began)
        manifest = mark_verified(storage, manifest, verification)
    return manifest, verification


def with_content(manifest: BackupManifest, content: DataFingerprint) -> BackupManifest:
    """Keep what was read as what later restores must hold, where production's own is not known."""
    if manifest.data_fingerprint is not None:
        return manifest
    return manifest.model_copy(update={"data_fingerprint": content})
