"""A server of our own, made from a physical backup: files, log, recovery up to the backup's moment.

While it recovers and is looked at, nobody else can reach it: it listens on a Unix socket in a closed folder
only. It never archives and never follows anything, whatever the configuration that came with the files says:
what is given on its command line wins over postgresql.conf and postgresql.auto.conf.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, ConnectionLostError, PreflightError
from lockkeeper.local.postgres_server import reachable_parent
from lockkeeper.models import BackupManifest, PhysicalFacts
from lockkeeper.physical.point import RecoveryPoint
from lockkeeper.physical.programs import PhysicalPrograms, find_physical_programs
from lockkeeper.postgres.connection import connect, fetch_value
from lockkeeper.process import RunningProgram, running

RECOVERY_TIMEOUT_S = 6 * 3600.0
STOP_TIMEOUT_S = 120.0
ROOM_FACTOR = 1.05
_POLL_S = 0.1
_PORT = 5432


@dataclass(frozen=True)
class Instance:
    """Where everything of one server brought back is.

    Attributes:
        folder: its folder; ``data``, ``wal`` and the log of what the server says are in it.
        programs: of its major version.
        manifest: what it was made from.
        until: a moment after the backup's own that it recovers to; None is the backup's.
    """

    folder: Path
    programs: PhysicalPrograms
    manifest: BackupManifest
    until: RecoveryPoint | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Segments of the write-ahead log that came with the backup."""
        return self.folder / "wal"

    @property
    def facts(self) -> PhysicalFacts:
        """The manifest's facts; raises BackupCorruptError where there are none."""
        if self.manifest.physical is None:
            raise BackupCorruptError(f"Backup {self.manifest.id} is no physical one.", self.manifest.id)
        return self.manifest.physical


def postgres_cmd(programs: PhysicalPrograms, data: Path, settings: Mapping[str, str]) -> list[str]:
    """Return the argv of a server with these settings, which win over every file."""
    argv = [programs.path("postgres"), "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return argv


def closed_settings(instance: Instance, socket_folder: Path) -> dict[str, str]:
    """Return the settings of a server that recovers and can be reached by nobody but us."""
    return {
        "config_file": str(instance.folder / "closed.conf"),
        "hba_file": str(instance.folder / "closed_hba.conf"),
        "ident_file": str(instance.folder / "closed.conf"),
        "data_directory": str(instance.data),
        "listen_addresses": "",
        "unix_socket_directories": str(socket_folder),
        "port": str(_PORT),
        "hot_standby": "off",
        "archive_mode": "off",
        "archive_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "logging_collector": "off",
        "log_destination": "stderr",
        "external_pid_file": "",
        "ssl": "off",
        "shared_preload_libraries": "",
        "session_preload_libraries": "",
        "cluster_name": "lockkeeper",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        **instance.facts.settings,
        **recovery_settings(instance),
    }


def recovery_settings(instance: Instance) -> dict[str, str]:
    """Return the settings that bring the server to the backup's moment and then open it."""
    until = instance.until or RecoveryPoint(lsn=instance.facts.recovery_lsn)
    return {
        "restore_command": f"cp {shlex.quote(str(instance.log))}/%f %p",
        "recovery_target_action": "promote",
        "recovery_target_timeline": "current",
        **until.settings(),
    }


def require_room(folder: Path, manifest: BackupManifest) -> None:
    """Raise PreflightError when the folder's disk cannot hold the server."""
    facts = manifest.physical
    needed = int((facts.cluster_bytes + 2 * facts.wal_bytes) * ROOM_FACTOR) if facts else 0
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PreflightError(
            [
                f"disk: the server takes {needed // 2**20} MiB, {folder} has {free // 2**20} MiB free. Free "
                "some, or set the policy physical_folder to a larger disk"
            ]
        )


def give(path: Path, user: str | None) -> None:
    """Make the server's user the owner of a file or folder."""
    if user is not None:
        shutil.chown(path, user)


@contextlib.contextmanager
def recovered(instance: Instance, target: Target, run_id: str) -> Iterator[URL]:
    """Run the server for the block, recovered to its moment; yields the database's URL on its socket.

    It is shut down in order at the end, so that it can be started again.

    Raises:
        BackupCorruptError: it does not recover; the message has the end of what the server says.
    """
    (instance.data / "recovery.signal").touch()
    give(instance.data / "recovery.signal", instance.programs.user)
    with tempfile.TemporaryDirectory(prefix="lk-", dir=reachable_parent()) as name:
        # A socket's path has at most 107 bytes, so it cannot be in the instance's own folder.
        sockets = Path(name)
        give(sockets, instance.programs.user)
        argv = postgres_cmd(instance.programs, instance.data, closed_settings(instance, sockets))
        url = target.url.set(host=None, port=None, password=None, query={"host": name, "port": str(_PORT)})
        with running(
            argv,
            stdout=subprocess.DEVNULL,
            user=instance.programs.user,
            cwd=Path("/"),
            env=server_environment(),
        ) as server:
            _wait_until_open(server, url, instance.manifest, run_id)
            try:
                yield url
            finally:
                server.signal(signal.SIGINT)
                server.wait(STOP_TIMEOUT_S)


def server_environment() -> dict[str, str]:
    """Return an environment for a server: none of ours may set what libpq or the server would read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _wait_until_open(server: RunningProgram, url: URL, manifest: BackupManifest, run_id: str) -> None:
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    while True:
        if server.has_ended():
            raise BackupCorruptError(
                f"Backup {manifest.id} does not recover: {server.stderr().strip()[-2000:]}", manifest.id
            )
        with contextlib.suppress(ConnectionLostError), connect(url, "recovery", run_id=run_id) as connection:
            if not fetch_value(connection, "SELECT pg_catalog.pg_is_in_recovery()"):
                return
        if time.monotonic() > deadline:
            raise BackupCorruptError(f"Backup {manifest.id} did not recover in time.", manifest.id)
        time.sleep(_POLL_S)


def instance_of(
    target: Target, manifest: BackupManifest, folder: Path, until: RecoveryPoint | None = None
) -> Instance:
    """Return the instance that will be in ``folder``; raises ConfigurationError without its programs."""
    programs = find_physical_programs(manifest.server_version_num, target.client_bin_dir)
    return Instance(folder, programs, manifest, until)
