"""Makes a backup: dump, fingerprints and everything else about one moment of one database.

States: ``started`` when the first manifest is in storage (which proves that storage takes writes before
the database is burdened), ``uploaded`` when all is there. On every failure no dump is left, and the
manifest says ``failed`` and why, when storage still takes it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from lockkeeper.backup.attempt import begin, making
from lockkeeper.backup.dump import StoredDump, client_environment, pg_dumpall_roles_cmd, stream_dump
from lockkeeper.backup.manifest import (
    dump_key,
    save_manifest,
    transition,
)
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.snapshot import ExportedSnapshot, SnapshotFacts, keeping_snapshot
from lockkeeper.config import Target
from lockkeeper.errors import (
    DatabaseError,
    LockkeeperError,
    ProgramError,
    StorageError,
)
from lockkeeper.models import BackupManifest, BackupState, DataFingerprint, SchemaFingerprint
from lockkeeper.postgres.clients import ClientPrograms, find_client_programs
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    connect,
    fetch_all,
    fetch_value,
    named_query,
)
from lockkeeper.postgres.fingerprint import data_fingerprint, schema_fingerprint
from lockkeeper.postgres.fingerprint.data import ROLE
from lockkeeper.postgres.version_table import read_revisions
from lockkeeper.process import run_program
from lockkeeper.storage import Storage, open_storage

ROLES_TIMEOUT_S = 120.0
FINGERPRINT_JOBS = 2
"""Sessions that read the live database beside pg_dump's: what a production server may be asked for."""
_END_FINGERPRINT = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND application_name = %s
"""


class _Content(NamedTuple):
    """What the database holds at the snapshot, taken beside the dump."""

    schema: SchemaFingerprint
    data: DataFingerprint
    revisions: tuple[str, ...]
    fingerprint_s: float


def create_backup(
    target: Target,
    *,
    run_id: str,
    version_table: str | None = None,
    progress: ProgressCallback | None = None,
    snapshot: ExportedSnapshot | None = None,
) -> BackupManifest:
    """Back the target's database up to its storage and return the manifest, in state ``uploaded``.

    Takes ACCESS SHARE on every table (pg_dump, for its whole length), which blocks nothing but
    ACCESS EXCLUSIVE. May run twice at the same time: every backup has its own id.

    Args:
        target: what and where to.
        run_id: the run it is made for; part of every session's application_name.
        version_table: what the project calls it, qualified and quoted; default: the one ``alembic_version``.
        progress: told once a second how many bytes were dumped.
        snapshot: make it at this moment, such as a replication slot's; default is now.

    Raises:
        BackupError: it could not be made; nothing is left that could be taken for a backup.
        RefusedError: no fitting client programs, or a bad configuration.
        StorageError: storage does not even take the first manifest.
    """
    storage = open_storage(target.storage)
    manifest = begin(storage, target)

    def drop_dump(error: BaseException) -> None:
        key = dump_key(manifest.target, manifest.id)
        if not (isinstance(error, StorageError) and error.key == key):  # a failed upload has left nothing
            with contextlib.suppress(StorageError):
                storage.delete(key)

    with making(storage, manifest, drop_dump):
        done = _fill(target, storage, manifest, run_id, version_table, progress or silent, snapshot)
        save_manifest(storage, done)
    return done


def _fill(
    target: Target,
    storage: Storage,
    manifest: BackupManifest,
    run_id: str,
    version_table: str | None,
    progress: ProgressCallback,
    snapshot: ExportedSnapshot | None,
) -> BackupManifest:
    began = time.monotonic()
    with keeping_snapshot(target, run_id, snapshot) as (keeper, facts):
        programs = find_client_programs(facts.server_version_num, target.client_bin_dir)
        key = dump_key(target.name, manifest.id)
        with ThreadPoolExecutor(1, thread_name_prefix="content") as pool:
            beside = pool.submit(_content, target, keeper, facts, run_id, version_table)
            with _ending_on_error(target, keeper, beside, run_id):
                dump = stream_dump(
                    target.url,
                    programs,
                    facts.snapshot,
                    storage,
                    key,
                    expected_bytes=facts.database_bytes,
                    run_id=run_id,
                    progress=partial(_tell_while_healthy, beside, progress),
                )
            dump_s = time.monotonic() - began
            content = beside.result()
        roles, roles_how = _roles(target, programs, run_id)
    return transition(
        manifest,
        BackupState.UPLOADED,
        dump_key=key,
        captured=snapshot is not None,
        roles_sql=roles,
        revisions=content.revisions,
        schema_fingerprint=content.schema,
        data_fingerprint=content.data.model_copy(update={"sequences": facts.sequences}),
        tool_versions={"pg_dump": programs.version, "roles": roles_how},
        timings_s={
            "dump": round(dump_s, 3),
            "fingerprint": round(content.fingerprint_s, 3),
            "total": round(time.monotonic() - began, 3),
        },
        **facts_of(facts),
        **_facts_of_dump(dump),
    )


def _tell_while_healthy(beside: Future[_Content], progress: ProgressCallback, how_far: Progress) -> None:
    """Pass progress on; end the dump as soon as the fingerprint beside it has failed."""
    if beside.done():
        beside.result()
    progress(how_far)


@contextlib.contextmanager
def _ending_on_error(
    target: Target, keeper: Connection, beside: Future[_Content], run_id: str
) -> Iterator[None]:
    """End the sessions beside the dump when it fails: nobody would wait for their answer."""
    try:
        yield
    except BaseException:
        if beside.done():
            beside.result()  # an error there ends the snapshot, and pg_dump with it: it is the cause
        keeper.cancel()
        with (
            contextlib.suppress(DatabaseError),
            connect(target.maintenance_url, "cleanup", run_id=run_id) as connection,
        ):
            fetch_all(connection, _END_FINGERPRINT, (target.database, application_name(ROLE, run_id)))
        raise


def facts_of(facts: SnapshotFacts) -> dict[str, Any]:
    """Return the manifest's fields that tell of the database at the snapshot."""
    return {
        "server_version_num": facts.server_version_num,
        "system_identifier": facts.system_identifier,
        "snapshot": facts.snapshot,
        "lsn": facts.lsn,
        "properties": facts.properties,
        "database_bytes": facts.database_bytes,
        "write_counters": facts.counters.counters,
        "counters_epoch": facts.counters.epoch,
        "table_identities": facts.counters.identities,
        "layout": facts.layout,
    }


def _facts_of_dump(dump: StoredDump) -> dict[str, Any]:
    return {
        "size_bytes": dump.size_bytes,
        "uncompressed_bytes": dump.uncompressed_bytes,
        "schema_bytes": dump.schema_bytes,
        "sha256": dump.sha256,
    }


def _content(
    target: Target, keeper: Connection, facts: SnapshotFacts, run_id: str, version_table: str | None
) -> _Content:
    began = time.monotonic()
    revisions = read_revisions(keeper, version_table)
    schema = schema_fingerprint(keeper)
    data = data_fingerprint(target.url, snapshot=facts.snapshot, jobs=FINGERPRINT_JOBS, run_id=run_id)
    return _Content(schema, data, revisions, time.monotonic() - began)


def _roles(target: Target, programs: ClientPrograms, run_id: str) -> tuple[str | None, str]:
    """Return the server's roles as SQL and how they were found; a managed server may not show them."""
    with contextlib.suppress(ProgramError):
        argv = pg_dumpall_roles_cmd(programs, target.maintenance_database)
        environment = client_environment(target.maintenance_url, "roles", run_id)
        return run_program(argv, env=environment, timeout_s=ROLES_TIMEOUT_S), "pg_dumpall"
    with contextlib.suppress(LockkeeperError), connect(target.url, "roles", run_id=run_id) as connection:
        return fetch_value(connection, named_query("roles", "lockkeeper.backup"), ()), "own query"
    return None, "not permitted"
