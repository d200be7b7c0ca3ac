"""Makes a physical backup: the files of the target's server at work, streamed to storage, and their log.

States as of every backup: ``started`` before the server is burdened, ``uploaded`` when all is in storage. On
every failure nothing is left that could be taken for a backup, and nothing on the server.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import Any

from lockkeeper.backup.attempt import begin, making
from lockkeeper.backup.create import facts_of
from lockkeeper.backup.dump import Measured, client_environment, program_output
from lockkeeper.backup.manifest import (
    backup_prefix,
    base_key,
    manifest_key,
    save_manifest,
    transition,
)
from lockkeeper.backup.progress import Progress, ProgressCallback, counted, silent
from lockkeeper.config import Target
from lockkeeper.errors import StorageError
from lockkeeper.models import BackupKind, BackupManifest, BackupState, PhysicalFacts
from lockkeeper.physical.cluster import (
    Cluster,
    read_cluster,
    read_not_logged,
    read_recovery_settings,
)
from lockkeeper.physical.moment import Moment, agreed_moment
from lockkeeper.physical.programs import PhysicalPrograms, find_physical_programs
from lockkeeper.physical.readiness import require_ready
from lockkeeper.physical.scratch import scratch_folder
from lockkeeper.physical.wal import kept_log, receive_until, receiving_log, store_log
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import data_fingerprint, schema_fingerprint
from lockkeeper.postgres.version_table import read_revisions
from lockkeeper.process import running
from lockkeeper.storage import Storage, open_storage

FINGERPRINT_JOBS = 2
"""Sessions that read the live database: what a production server may be asked for."""


def pg_basebackup_cmd(programs: PhysicalPrograms) -> list[str]:
    """Return the argv of a backup as one tar on stdout, without log; where from is in the environment."""
    return [
        programs.path("pg_basebackup"), "--format=tar", "--pgdata=-", "--wal-method=none",
        "--checkpoint=fast", "--no-password",
    ]  # fmt: skip


def create_physical_backup(
    target: Target,
    *,
    run_id: str,
    version_table: str | None = None,
    progress: ProgressCallback | None = None,
) -> BackupManifest:
    """Copy the target's whole server to storage and return the manifest, in state ``uploaded``.

    Takes no lock on tables; asks for a checkpoint at once, reads every file once and then every table of the
    target's database, and occupies two WAL senders and a temporary replication slot meanwhile (a second one
    for a moment). What is written to the log meanwhile stays on the server, and needs room here, too. May run
    twice at the same time.

    Raises:
        RefusedError: a tablespace, missing programs or privileges; nothing was begun.
        BackupError: it could not be made; nothing is left that could be taken for a backup.
        StorageError: storage does not even take the first manifest.
    """
    with connect(target.url, "physical", run_id=run_id) as connection:
        cluster = read_cluster(connection)
    require_ready(target, cluster)
    programs = find_physical_programs(cluster.server_version_num, target.client_bin_dir)
    storage = open_storage(target.storage)
    manifest = begin(storage, target, BackupKind.PHYSICAL, cluster.server_version_num)
    with making(storage, manifest, lambda _: _delete_all_but_manifest(storage, manifest)):
        making_it = _Making(target, storage, manifest, cluster, programs, run_id, progress or silent)
        done = making_it.make(version_table)
        save_manifest(storage, done)
    return done


def _delete_all_but_manifest(storage: Storage, manifest: BackupManifest) -> None:
    with contextlib.suppress(StorageError):
        for item in storage.list(backup_prefix(manifest.target, manifest.id)):
            if item.key != manifest_key(manifest.target, manifest.id):
                storage.delete(item.key)


class _Making:
    """One backup while it is made."""

    def __init__(
        self,
        target: Target,
        storage: Storage,
        manifest: BackupManifest,
        cluster: Cluster,
        programs: PhysicalPrograms,
        run_id: str,
        progress: ProgressCallback,
    ) -> None:
        self._target = target
        self._storage = storage
        self._manifest = manifest
        self._cluster = cluster
        self._programs = programs
        self._run_id = run_id
        self._progress = progress
        self._environment = client_environment(target.maintenance_url, "physical", run_id)
        # libpq's clients for replication connect to no database.
        self._environment.pop("PGDATABASE", None)

    def make(self, version_table: str | None) -> BackupManifest:
        began = time.monotonic()
        with scratch_folder(self._target) as folder, kept_log(self._target.url, self._run_id):
            with receiving_log(self._programs, folder, self._environment):
                base = self._stream_base()
                base_s = time.monotonic() - began
            self._progress(Progress("compare"))
            with agreed_moment(self._target, self._cluster, self._run_id) as moment:
                receive_until(self._programs, folder, self._environment, moment.end_lsn)
                segments, wal_bytes = store_log(self._storage, self._manifest, folder)
                content = self._content(moment, version_table)
        physical = PhysicalFacts(
            recovery_lsn=moment.lsn,
            at_snapshot=moment.at_snapshot,
            timeline=int(segments[0][:8], 16),
            first_segment=segments[0],
            last_segment=segments[-1],
            wal_bytes=wal_bytes,
            cluster_bytes=int(base["uncompressed_bytes"]),
            **content.pop("physical"),
        )
        timings = {"dump": round(base_s, 3), "total": round(time.monotonic() - began, 3)}
        return transition(
            self._manifest,
            BackupState.UPLOADED,
            physical=physical,
            timings_s={**timings, "fingerprint": round(content.pop("fingerprint_s"), 3)},
            **{**facts_of(moment.facts), "lsn": moment.lsn},
            **base,
            **content,
        )

    def _stream_base(self) -> dict[str, Any]:
        """Stream the files to storage; returns the manifest's facts about them."""
        measured, expected = Measured(), self._cluster.size_bytes
        key = base_key(self._target.name, self._manifest.id)
        argv = pg_basebackup_cmd(self._programs)
        with running(argv, env=self._environment, stdout=subprocess.PIPE) as program:
            chunks = counted(program_output(program), "backup", expected, self._progress)
            size = self._storage.put_stream(key, measured.compressed(chunks), expected_bytes=expected)
        return {
            "dump_key": key,
            "size_bytes": size,
            "uncompressed_bytes": measured.uncompressed_bytes,
            "sha256": measured.sha256.hexdigest(),
        }

    def _content(self, moment: Moment, version_table: str | None) -> dict[str, Any]:
        """Return what the database holds at the moment, as far as it can be compared later."""
        began = time.monotonic()
        found: dict[str, Any] = {
            "revisions": read_revisions(moment.keeper, version_table),
            "schema_fingerprint": schema_fingerprint(moment.keeper),
            "physical": {
                "settings": read_recovery_settings(moment.keeper),
                "not_logged": read_not_logged(moment.keeper),
            },
        }
        if moment.at_snapshot:
            data = data_fingerprint(
                self._target.url,
                snapshot=moment.facts.snapshot,
                jobs=FINGERPRINT_JOBS,
                run_id=self._run_id,
            )
            found["data_fingerprint"] = data.model_copy(update={"sequences": moment.facts.sequences})
        return {**found, "fingerprint_s": time.monotonic() - began}
