"""Restores a backup beside the damaged database and swaps it in; the damaged one becomes a quarantine.

Until the swap, which is one transaction, the original serves as it is; the fence, in which nobody can
connect, is only as long as the proof and the renames. Whatever fails, the fence is lifted and the copy
dropped. Restoring loses what was committed since the backup: ``before_swap`` is where the caller looks
(``written_since``), while nobody can write any more, and refuses by raising.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.backup.copy import RestoredCopy, restored_copy
from lockkeeper.backup.manifest import note_failure, read_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.verify import mark_verified, require_state, summary
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, ConnectionLostError, DatabaseError, PreflightError
from lockkeeper.models import BackupManifest, BackupState, DatabaseProperties, RestoreReport, utc_now
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import drop_database, exists, quarantine_name
from lockkeeper.postgres.fence import fence, refuse_prepared_transactions, swap, take_name
from lockkeeper.postgres.properties import apply_properties
from lockkeeper.recovery.fence_guard import guarded_fence, lift
from lockkeeper.recovery.sequences import carry_sequences
from lockkeeper.recovery.write_proof import FencedScene
from lockkeeper.redaction import redact
from lockkeeper.storage import open_storage

LOCK_TIMEOUT_MS = 15_000
LIFT_TIMEOUT_S = 120.0
_LOCAL_HOSTS = frozenset({None, "localhost", "127.0.0.1", "::1"})


BeforeSwap = Callable[[FencedScene], None]


class _Swapped(NamedTuple):
    quarantine: str | None
    fence_s: float
    warnings: tuple[str, ...]


def restore_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    reason: str,
    before_swap: BeforeSwap | None = None,
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Put a backup in the place of the target's database; the caller holds the migration lock.

    Args:
        target: whose database.
        backup_id: a backup that is ``uploaded`` or ``verified``; it is compared anyway before the swap.
        run_id: the run that does it.
        reason: why, written on the quarantined database.
        before_swap: called under the fence with the original; raising leaves everything as it was.
        progress: told the stages and the downloaded bytes.

    Raises:
        BackupCorruptError: the backup is not what its manifest says; the original serves on.
        PreflightError: the server's disk cannot hold the copy.
        DatabaseError: PostgreSQL refused a step; the original serves on.
        LockkeeperError: as ``restored_copy``, and what ``before_swap`` raised; the original serves on.
    """
    began = time.monotonic()
    storage = open_storage(target.storage)
    manifest = read_manifest(storage, target.name, backup_id)
    require_state(manifest)
    tell = progress or silent
    _check_server(target, manifest, run_id)
    try:
        with restored_copy(
            target, storage, manifest, target.maintenance_url, "restore", run_id=run_id, progress=tell
        ) as copy:
            if manifest.state is BackupState.UPLOADED:
                proof = summary(manifest, copy.restore_s, time.monotonic() - began)
                manifest = mark_verified(storage, manifest, proof)
            properties = _prepare(target, manifest, copy, run_id)
            tell(Progress("swap"))
            swapped = _put_in_place(target, copy, properties, run_id, reason, before_swap)
    except BackupCorruptError as error:
        note_failure(storage, manifest, redact(str(error)))
        raise
    return _report(target, manifest, [*copy.warnings, *swapped.warnings], swapped, run_id, began)


def _report(
    target: Target,
    manifest: BackupManifest,
    warnings: list[str],
    swapped: _Swapped,
    run_id: str,
    began: float,
) -> RestoreReport:
    quarantine = swapped.quarantine
    if quarantine and not target.policies.keep_quarantine:
        quarantine = _drop_quarantine(target, quarantine, run_id, warnings)
    return RestoreReport(
        backup_id=manifest.id,
        database=target.database,
        quarantine_database=quarantine,
        fence_s=round(swapped.fence_s, 3),
        duration_s=round(time.monotonic() - began, 3),
        revisions=manifest.revisions,
        warnings=tuple(warnings),
    )


def _check_server(target: Target, manifest: BackupManifest, run_id: str) -> None:
    """Refuse early what would fail late: prepared transactions, and a disk that is known to be too small."""
    with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
        refuse_prepared_transactions(connection, target.database)
        if target.url.host not in _LOCAL_HOSTS:
            return  # the disk of another machine cannot be seen from here
        with contextlib.suppress(DatabaseError, OSError):
            folder = str(fetch_value(connection, "SHOW data_directory"))
            free, needed = shutil.disk_usage(folder).free, manifest.database_bytes or 0
            if free < needed:
                raise PreflightError(
                    [
                        f"the copy takes {needed // 2**20} MiB, the server's disk has {free // 2**20} MiB "
                        "free. Free some space: drop former quarantines (lockkeeper status lists them)"
                    ]
                )


def _prepare(
    target: Target, manifest: BackupManifest, copy: RestoredCopy, run_id: str
) -> DatabaseProperties | None:
    """Make the copy ready to serve: statistics for the planner, then owner, grants and settings."""
    with connect(copy.url, "analyze", run_id=run_id) as connection:
        execute(connection, "ANALYZE")
    if manifest.properties is not None:
        with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
            apply_properties(connection, copy.name, manifest.properties)
    return manifest.properties


def _put_in_place(
    target: Target,
    copy: RestoredCopy,
    properties: DatabaseProperties | None,
    run_id: str,
    reason: str,
    before_swap: BeforeSwap | None,
) -> _Swapped:
    comment = properties.comment if properties else None
    url = target.maintenance_url
    with connect(url, "restore", run_id=run_id, lock_timeout_ms=LOCK_TIMEOUT_MS) as server:
        if not exists(server, target.database):
            take_name(server, database=target.database, copy=copy.name, comment=comment)
            return _Swapped(None, 0.0, ())
        warnings = _slot_warnings(server, target.database)
        quarantine = quarantine_name(target.database, utc_now())
        with guarded_fence(url, target.database, run_id), _fenced(target, server, run_id, reason) as fenced:
            if before_swap:
                before_swap(fenced.database)
            with connect(copy.url, "sequences", run_id=run_id) as there:
                warnings += carry_sequences(fenced.database.connection, there)
            fenced.database.connection.close()
            try:
                swap(
                    server,
                    database=target.database,
                    copy=copy.name,
                    quarantine=quarantine,
                    run_id=run_id,
                    reason=reason,
                    comment=comment,
                )
            except ConnectionLostError:
                if not _is_swapped(url, quarantine, run_id):
                    raise
            fence_s = time.monotonic() - fenced.began
    return _Swapped(quarantine, fence_s, tuple(warnings))


class _Fenced(NamedTuple):
    database: FencedScene
    began: float


@contextlib.contextmanager
def _fenced(target: Target, server: Connection, run_id: str, reason: str) -> Iterator[_Fenced]:
    """Close the database for the block; after an error it is open again."""
    with connect(target.url, "proof", run_id=run_id) as helper:
        # It must outlive whatever the server ends idle sessions for.
        execute(helper, "SELECT pg_catalog.set_config('statement_timeout', '0', false)")
        pid = helper.info.backend_pid
        began = fence(server, target.database, run_id=run_id, reason=reason, keep=[pid])
        try:
            yield _Fenced(FencedScene(helper), began)
        except BaseException:
            lift(target.maintenance_url, target.database, run_id, LIFT_TIMEOUT_S)
            raise


def _is_swapped(maintenance_url: URL, quarantine: str, run_id: str) -> bool:
    """Whether a commit whose answer was lost has happened; the quarantine's name is this swap's alone."""
    with connect(maintenance_url, "restore", run_id=run_id) as connection:
        return exists(connection, quarantine)


def _slot_warnings(server: Connection, database: str) -> list[str]:
    query = "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = %s ORDER BY 1"
    return [
        f"logical replication slot {name} stays with the quarantined database and keeps WAL: make a new one "
        "for its consumer and drop this one"
        for (name,) in fetch_all(server, query, (database,))
    ]


def _drop_quarantine(target: Target, quarantine: str, run_id: str, warnings: list[str]) -> str | None:
    try:
        with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
            drop_database(connection, quarantine)
    except DatabaseError as error:
        warnings.append(f"database {quarantine} could not be dropped: {error}")
        return quarantine
    return None
