"""Snapshots as backups: made, waited for, written down, and deleted when retention lets them go."""

from __future__ import annotations

import time
from collections.abc import Callable

from lockkeeper.backup.attempt import begin, making
from lockkeeper.backup.counters import read_counters
from lockkeeper.backup.manifest import (
    list_backups,
    save_manifest,
    transition,
)
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.errors import ManagedServiceError
from lockkeeper.managed.service import Service, open_service
from lockkeeper.models import BackupKind, BackupManifest, BackupState
from lockkeeper.postgres.connection import connect, fetch_value
from lockkeeper.postgres.fingerprint import schema_fingerprint
from lockkeeper.postgres.version_table import read_revisions
from lockkeeper.storage import open_storage

POLL_S = 15.0
SNAPSHOT_TIMEOUT_S = 6 * 3600.0
FAILED_STATUSES = (
    "failed",
    "incompatible-restore",
    "incompatible-parameters",
    "incompatible-network",
)


def snapshot_name(manifest: BackupManifest) -> str:
    """Return the service's name for a backup's snapshot: letters, digits and hyphens."""
    return f"lockkeeper-{manifest.target}-{manifest.id.lower()}"


def create_snapshot_backup(
    target: Target,
    *,
    run_id: str,
    version_table: str | None = None,
    progress: ProgressCallback | None = None,
    service: Service | None = None,
) -> BackupManifest:
    """Make a snapshot with the managed service and return the manifest, in state ``uploaded``.

    Takes no lock in the database. A process that dies leaves a snapshot, which is deleted when its manifest,
    ``started`` for ever, expires.

    Raises:
        ConfigurationError: the target does not say what to make snapshots of.
        BackupError: the service refused, or the snapshot failed; it is deleted.
    """
    service = service or open_service(target)
    storage = open_storage(target.storage)
    manifest = begin(storage, target, BackupKind.SNAPSHOT)
    began, name = time.monotonic(), snapshot_name(manifest)
    with making(storage, manifest, lambda _: _delete_quietly(service, name)):
        manifest = _with_facts(target, manifest, run_id, version_table)
        service.create_snapshot(name)
        wait_for(lambda: service.snapshot_status(name), f"snapshot {name}", progress or silent)
        timings = {"total": round(time.monotonic() - began, 3)}
        done = transition(manifest, BackupState.UPLOADED, dump_key=name, timings_s=timings)
        save_manifest(storage, done)
    return done


def _with_facts(
    target: Target, manifest: BackupManifest, run_id: str, version_table: str | None
) -> BackupManifest:
    """Read what the database is just before the snapshot: the service tells of no moment of its own."""
    with connect(target.url, "snapshot", run_id=run_id) as connection:
        counters = read_counters(connection)
        changes = {
            "server_version_num": int(fetch_value(connection, "SHOW server_version_num")),
            "database_bytes": int(fetch_value(connection, "SELECT pg_database_size(current_database())")),
            "lsn": str(fetch_value(connection, "SELECT pg_current_wal_insert_lsn()::text")),
            "revisions": read_revisions(connection, version_table),
            "schema_fingerprint": schema_fingerprint(connection),
            "write_counters": counters.counters,
            "counters_epoch": counters.epoch,
            "table_identities": counters.identities,
        }
    return manifest.model_copy(update=changes)


def _delete_quietly(service: Service, name: str) -> None:
    try:
        service.delete_snapshot(name)
    except ManagedServiceError:
        return  # the error that led here says more, and the next expiry tries again


def wait_for(status: Callable[[], str | None], what: str, progress: ProgressCallback) -> None:
    """Wait until ``status`` is available; a service that cannot be asked for a moment is asked again.

    Raises:
        ManagedServiceError: it failed, is gone, or takes longer than ``SNAPSHOT_TIMEOUT_S``.
    """
    deadline = time.monotonic() + SNAPSHOT_TIMEOUT_S
    while time.monotonic() < deadline:
        found = status()
        progress(Progress(f"{what} is {found or 'not there'}"))
        if found == "available":
            return
        if found is None or found in FAILED_STATUSES:
            raise ManagedServiceError(f"{what} is {found or 'gone'}", None)
        time.sleep(POLL_S)
    raise ManagedServiceError(f"{what} was not available within {SNAPSHOT_TIMEOUT_S / 3600:.0f} h", None)


def delete_expired_snapshots(target: Target, service: Service | None = None) -> list[str]:
    """Delete the snapshots of expired and failed backups that are still there; returns their names.

    May run twice, after a kill between the manifest and the snapshot too.

    Raises:
        ManagedServiceError: the service refused.
    """
    gone = [
        snapshot_name(manifest)
        for manifest in list_backups(target)
        if manifest.kind is BackupKind.SNAPSHOT
        and manifest.state in (BackupState.EXPIRED, BackupState.FAILED)
    ]
    if not gone:
        return []
    service = service or open_service(target)
    there = [name for name in gone if service.snapshot_status(name) is not None]
    for name in there:
        service.delete_snapshot(name)
    return there
