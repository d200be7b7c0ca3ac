"""The way back from a snapshot: a new instance of the service, read as a whole, beside the source.

For a proof it has a fixed name and is deleted again: what a process that died has left is found by the next
one. For a restore it stays, and a restore that is run again goes on with it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.backup.attempt import proving
from lockkeeper.backup.manifest import latest_verified, read_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.verify import mark_verified, require_state, summary
from lockkeeper.config import Target
from lockkeeper.drill.rehearse import report_of
from lockkeeper.errors import BackupCorruptError, ManagedServiceError, RefusedError
from lockkeeper.managed import backups
from lockkeeper.managed.service import Service, open_service
from lockkeeper.models import (
    BackupKind,
    BackupManifest,
    BackupVerification,
    DataFingerprint,
    DrillReport,
    Instance,
    RestoreReport,
    utc_now,
)
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.storage import open_storage

_LONGEST_NAME = 63


class Back(NamedTuple):
    """An instance that came back: the database's URL on it, its content, and how long both took."""

    url: URL
    content: DataFingerprint
    restore_s: float
    compare_s: float


def proof_name(target: Target) -> str:
    """Return the name of the instance that proofs and drills make."""
    return f"lockkeeper-proof-{target.name}"[:_LONGEST_NAME].rstrip("-")


@contextlib.contextmanager
def _proof(
    target: Target, service: Service, manifest: BackupManifest, run_id: str, progress: ProgressCallback
) -> Iterator[Back]:
    """Yield an instance made from the snapshot, deleted afterwards, and before, where one was left."""
    name = proof_name(target)
    _delete_and_wait(service, name, progress)
    began = time.monotonic()
    try:
        service.restore_snapshot(backups.snapshot_name(manifest), name)
        yield _bring_up(target, service, manifest, name, run_id, progress, began)
    finally:
        service.delete(name)


def _delete_and_wait(service: Service, name: str, progress: ProgressCallback) -> None:
    deadline = time.monotonic() + backups.SNAPSHOT_TIMEOUT_S
    while (left := service.server(name)) is not None:
        if left.status != "deleting":
            service.delete(name)
        if time.monotonic() > deadline:
            raise ManagedServiceError(f"instance {name} of an earlier proof does not go", None)
        progress(Progress(f"instance {name} of an earlier proof is {left.status}"))
        time.sleep(backups.POLL_S)


def _bring_up(
    target: Target,
    service: Service,
    manifest: BackupManifest | None,
    name: str,
    run_id: str,
    progress: ProgressCallback,
    began: float,
) -> Back:
    """Wait for an instance, read all of the database, and hold it against the manifest, if one is given."""

    def status() -> str | None:
        found = service.server(name)
        return found.status if found else None

    backups.wait_for(status, f"instance {name}", progress)
    found = service.server(name)
    if found is None or found.host is None:
        raise ManagedServiceError(f"instance {name} has no address", None)
    url = target.url.set(host=found.host, port=found.port)
    restore_s = time.monotonic() - began
    progress(Progress("compare"))
    with connect(url, "compare", run_id=run_id) as connection:
        schema = schema_fingerprint(connection)
    content = data_fingerprint(url, jobs=target.policies.restore_jobs, run_id=run_id)
    findings = []
    if manifest is not None and manifest.schema_fingerprint is not None:
        findings += compare_schemas(manifest.schema_fingerprint, schema)
    if manifest is not None and manifest.data_fingerprint is not None:
        findings += compare_data(manifest.data_fingerprint, content, sequences_may_be_ahead=True)
    if manifest is not None and findings:
        raise BackupCorruptError(
            f"Backup {manifest.id} does not come back as what its manifest says: {'; '.join(findings[:10])}",
            manifest.id,
        )
    return Back(url, content, restore_s, time.monotonic() - began - restore_s)


def verify_snapshot_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    progress: ProgressCallback | None = None,
    service: Service | None = None,
) -> tuple[BackupManifest, BackupVerification]:
    """Make an instance from a snapshot, read every row of it, delete it; the manifest is ``verified`` then.

    The service tells of no moment at which production could be compared: the schema is, and what was read is
    kept, so that every later proof must hold the same. One proof of a target at a time.

    Raises:
        BackupCorruptError: it does not come back as what the manifest says.
        LockkeeperError: the service refused, or the instance cannot be reached from here.
    """
    began, storage = time.monotonic(), open_storage(target.storage)
    service = service or open_service(target)
    manifest = read_manifest(storage, target.name, backup_id)
    require_state(manifest)
    with (
        proving(storage, manifest),
        _proof(target, service, manifest, run_id, progress or silent) as back,
    ):
        if manifest.data_fingerprint is None:
            manifest = manifest.model_copy(update={"data_fingerprint": back.content})
        verification = summary(manifest, back.restore_s, time.monotonic() - began)
        manifest = mark_verified(storage, manifest, verification)
    return manifest, verification


def restore_snapshot_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    until: str | None = None,
    progress: ProgressCallback | None = None,
    service: Service | None = None,
) -> RestoreReport:
    """Make an instance from a snapshot, or from the source's own log, and read every row of it.

    Run again it goes on with the instance that it had begun. The source is not touched.

    Args:
        target: whose backup.
        backup_id: a backup that is ``uploaded`` or ``verified``.
        run_id: names the connections.
        until: ``latest``, or a time (ISO 8601): point-in-time restore; default is the snapshot.
        progress: told how the instance stands.
        service: default is what the policies name.

    Raises:
        ConfigurationError: ``until`` is no time.
        LockkeeperError: the service refused, or the instance is not what it should be; it stays.
    """
    began, service = time.monotonic(), service or open_service(target)
    manifest = read_manifest(open_storage(target.storage), target.name, backup_id)
    require_state(manifest)
    name = f"lockkeeper-{manifest.id.lower()}" + ("" if until is None else "-pit")
    if service.server(name) is None:
        _begin(service, manifest, name, until)
    back = _bring_up(target, service, None if until else manifest, name, run_id, progress or silent, began)
    return RestoreReport(
        backup_id=manifest.id,
        database=target.database,
        quarantine_database=None,
        fence_s=0.0,
        duration_s=round(time.monotonic() - began, 3),
        revisions=manifest.revisions,
        instance=_instance(back.url, name, until or f"{manifest.created_at:%Y-%m-%d %H:%M:%S %Z}"),
    )


def _instance(url: URL, name: str, moment: str) -> Instance:
    return Instance(host=str(url.host), port=url.port or 5432, folder=name, recovery_lsn=moment)


def _begin(service: Service, manifest: BackupManifest, name: str, until: str | None) -> None:
    if until is None:
        service.restore_snapshot(backups.snapshot_name(manifest), name)
    else:
        service.restore_point(name, _time(until))


def _time(until: str) -> datetime | None:
    if until == "latest":
        return None
    try:
        return datetime.fromisoformat(until.replace("Z", "+00:00"))
    except ValueError as error:
        raise RefusedError(
            f"{until!r} is no time: a managed service comes back at 'latest' or at a time such as "
            "2026-11-23T10:45:00+00:00."
        ) from error


def drill_snapshot_backup(
    target: Target, *, run_id: str, progress: ProgressCallback | None = None, service: Service | None = None
) -> DrillReport:
    """Make an instance from the newest verified snapshot, read it, time it, delete it.

    Raises:
        RefusedError: there is no verified snapshot.
        BackupCorruptError: it does not come back.
    """
    manifest = latest_verified(target, BackupKind.SNAPSHOT)
    if manifest is None:
        raise RefusedError(
            f"Target {target.name} has no verified snapshot. "
            f"Make one: lockkeeper backup {target.name} --kind snapshot"
        )
    started_at = utc_now()
    with _proof(target, service or open_service(target), manifest, run_id, progress or silent) as back:
        return report_of(
            target,
            manifest,
            run_id,
            started_at,
            restore_s=back.restore_s,
            compare_s=back.compare_s,
            predicted_recovery_s=back.restore_s + back.compare_s,
            content=back.content,
        )
