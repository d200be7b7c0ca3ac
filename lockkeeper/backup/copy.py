"""A backup restored into a database of its own and compared with its manifest.

Verification makes one and drops it; a restore makes one and lets it take the original's place. Either way
it is dropped under the name it was made with, which after a swap is nobody's any more.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup.archive import RestoreOptions, restore_archive
from lockkeeper.backup.progress import Progress, ProgressCallback
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, BackupError, ConfigurationError, DatabaseError
from lockkeeper.models import BackupManifest, SchemaFingerprint
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import create_scratch, drop_database
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.storage import Storage

_CREATE_ROLE = re.compile(r'^CREATE ROLE ("(?:[^"]|"")+"|\S+?)(?:;| WITH )', re.MULTILINE)


class RestoredCopy(NamedTuple):
    """A database that holds exactly what the manifest says."""

    name: str
    url: URL
    restore_s: float
    warnings: tuple[str, ...]


class _Server(NamedTuple):
    version_num: int
    superuser: bool
    is_source: bool


@contextlib.contextmanager
def restored_copy(
    target: Target,
    storage: Storage,
    manifest: BackupManifest,
    server_url: URL,
    purpose: str,
    *,
    run_id: str,
    progress: ProgressCallback,
    keep: bool = False,
) -> Iterator[RestoredCopy]:
    """Restore a backup into a scratch database on ``server_url`` and prove it.

    It is dropped after the block, unless ``keep`` says that the run still needs it (then
    ``recovery.drop_scratch_databases`` removes it) and the block ended well.

    Raises:
        BackupCorruptError: missing, changed, or not what the manifest says once it is restored.
        BackupError: intact, but this server could not take it.
        ConfigurationError: the server is of another major version, or client programs are missing.
        DatabaseError: the scratch database could not be made or dropped.
        StorageError: storage failed.
    """
    with connect(server_url, purpose, run_id=run_id) as connection:
        server = _inspect(connection, manifest, target)
        programs = find_client_programs(server.version_num, target.client_bin_dir)
        if not server.is_source:
            _make_missing_roles(connection, manifest)
        name = create_scratch(
            connection,
            manifest.database,
            purpose,
            run_id=run_id,
            reason=f"backup {manifest.id} is restored here to be compared",
            properties=manifest.properties,
            same_server=server.is_source,
        )
    url = server_url.set(database=name)
    try:
        began = time.monotonic()
        options = RestoreOptions(target.policies.restore_jobs, server.is_source, server.superuser)
        warnings = restore_archive(
            storage, manifest, url, programs, options, run_id=run_id, progress=progress
        )
        restore_s = time.monotonic() - began
        progress(Progress("compare"))
        _compare(manifest, url, run_id, target.policies.restore_jobs)
        yield RestoredCopy(name, url, restore_s, tuple(warnings))
    except BaseException:
        with contextlib.suppress(DatabaseError):  # the first error is the one to tell; its note stays
            _drop(server_url, name, run_id)
        raise
    if not keep:
        _drop(server_url, name, run_id)


def _drop(server_url: URL, name: str, run_id: str) -> None:
    with connect(server_url, "drop", run_id=run_id) as connection:
        drop_database(connection, name)


def _inspect(connection: Connection, manifest: BackupManifest, target: Target) -> _Server:
    version = int(fetch_value(connection, "SHOW server_version_num"))
    if version // 10000 != manifest.server_version_num // 10000:
        raise ConfigurationError(
            f"Backup {manifest.id} was made on PostgreSQL {manifest.server_version_num // 10000}; the server "
            f"to restore it on is {version // 10000}. Name one of the same major version as scratch_url."
        )
    superuser = fetch_value(
        connection, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )
    try:
        query = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"
        is_source = fetch_value(connection, query) == manifest.system_identifier
    except DatabaseError:
        is_source = target.scratch_url is None
    return _Server(version, bool(superuser), is_source)


def _make_missing_roles(connection: Connection, manifest: BackupManifest) -> None:
    """Make the source's roles, unable to log in, where another server lacks them; they stay there."""
    known = {name for (name,) in fetch_all(connection, "SELECT rolname FROM pg_catalog.pg_roles")}
    for quoted in _CREATE_ROLE.findall(manifest.roles_sql or ""):
        name = quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted
        if name not in known:
            execute(connection, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))


def _dumpable(schema: SchemaFingerprint) -> SchemaFingerprint:
    """Return a schema without what pg_dump leaves out: invalid indexes, disabled triggers of foreign keys."""
    objects = dict(schema.objects)
    objects["index"] = {name: index for name, index in objects.get("index", {}).items() if index["valid"]}
    objects["constraint"] = {
        name: {**constraint, "triggers disabled": 0}
        for name, constraint in objects.get("constraint", {}).items()
    }
    return SchemaFingerprint(objects=objects)


def _compare(manifest: BackupManifest, url: URL, run_id: str, jobs: int) -> None:
    if manifest.schema_fingerprint is None or manifest.data_fingerprint is None:
        raise BackupError(f"The manifest of backup {manifest.id} has no fingerprints.", manifest.id)
    with connect(url, "compare", run_id=run_id) as connection:
        findings = compare_schemas(
            _dumpable(manifest.schema_fingerprint), _dumpable(schema_fingerprint(connection))
        )
    restored = data_fingerprint(url, jobs=jobs, run_id=run_id)
    # pg_restore refreshes materialized views, and no snapshot holds sequences back.
    findings += compare_data(
        manifest.data_fingerprint, restored, ignore_materialized_views=True, sequences_may_be_ahead=True
    )
    if findings:
        shown = "; ".join(findings[:10]) + (f"; and {len(findings) - 10} more" if findings[10:] else "")
        raise BackupCorruptError(
            f"Backup {manifest.id} does not restore to what its manifest says: {shown}", manifest.id
        )
