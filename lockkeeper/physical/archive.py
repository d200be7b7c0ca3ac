"""The archive of the write-ahead log: what is written after a physical backup, in storage within seconds.

It is received over the replication protocol, like the backup, so nothing is set up on the server. No slot
holds log back there: while nobody receives, the server may recycle what was not received yet. Then the
archive has a gap, which is told; recovery goes as far as the gap, and a new physical backup ends that.

Layout: ``<target>/wal/<system>/<segment>.zst``, and the segment that is still being written as
``<segment>.partial.zst``. Objects are replaced by themselves, so anything here can run twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from lockkeeper.backup.dump import client_environment
from lockkeeper.config import Target
from lockkeeper.errors import (
    BackupCorruptError,
    BackupError,
    LockkeeperError,
    PreflightError,
    ProgramError,
    RefusedError,
)
from lockkeeper.models import BackupManifest
from lockkeeper.physical.cluster import read_cluster, read_system
from lockkeeper.physical.programs import PhysicalPrograms, find_physical_programs
from lockkeeper.physical.readiness import require_ready
from lockkeeper.physical.wal import (
    PARTIAL,
    compressed_file,
    decompress_file,
    received_segments,
    receiving_log,
)
from lockkeeper.postgres.connection import connect
from lockkeeper.recovery.capture.files import captures_home, claimed
from lockkeeper.storage import Storage, open_storage

PARTIAL_INTERVAL_S = 5.0
RETRY_S = 5.0
_POLL_S = 0.2
_RECYCLED = "has already been removed"
_LOG_ID_BYTES = 2**32


def archive_prefix(target: str, system: str) -> str:
    """Return the prefix of a server's archived log."""
    return f"{target}/wal/{system}/"


def next_segment(name: str, segment_bytes: int) -> str:
    """Return the name of the segment after this one ("XLogFileName", xlog_internal.h)."""
    timeline, log, part = name[:8], int(name[8:16], 16), int(name[16:24], 16)
    number = log * (_LOG_ID_BYTES // segment_bytes) + part + 1
    log, part = divmod(number, _LOG_ID_BYTES // segment_bytes)
    return f"{timeline}{log:08X}{part:08X}"


class Archiver:
    """Receives and stores one server's log, until told to stop."""

    def __init__(self, target: Target, tell: Callable[[str], None]) -> None:
        with connect(target.url, "archive") as connection:
            cluster = read_cluster(connection)
            self._system = read_system(connection)
        require_ready(target, cluster)
        self._programs: PhysicalPrograms = find_physical_programs(
            cluster.server_version_num, target.client_bin_dir
        )
        self._target = target
        self._storage = open_storage(target.storage)
        self._tell = tell
        self._environment = client_environment(target.maintenance_url, "archive", None)
        self._environment.pop("PGDATABASE", None)
        self._stored: set[str] = set()
        self._partial_seen: tuple[str, int] | None = None
        self._partial_at = 0.0
        self.segments = 0

    @property
    def _folder(self) -> Path:
        return captures_home().with_name("archive") / self._target.name / self._system

    def run(self, stopped: Callable[[], bool]) -> int:
        """Receive and store until ``stopped``; returns how many segments were completed.

        A lost server or storage is tried again for ever: what was received is kept meanwhile.

        Raises:
            RefusedError: somebody else on this machine archives this server.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with claimed(self._folder.with_name(f".{self._system}.lock")) as ours:
            if not ours:
                raise RefusedError(f"The log of target {self._target.name} is archived by another process.")
            while not stopped():
                try:
                    self._follow(stopped)
                except LockkeeperError as error:
                    self._explain(error)
                    _wait(RETRY_S, stopped)
        return self.segments

    def _follow(self, stopped: Callable[[], bool]) -> None:
        with receiving_log(self._programs, self._folder, self._environment) as program:
            while not stopped():
                if program.has_ended():
                    program.check()
                    raise BackupError("pg_receivewal has ended by itself.")
                self.store()
                time.sleep(_POLL_S)
        self.store(at_once=True)

    def _explain(self, error: LockkeeperError) -> None:
        if isinstance(error, ProgramError) and _RECYCLED in error.stderr:
            for path in received_segments(self._folder):
                path.unlink()
            self._tell(
                "The server has recycled log that was not received: the archive has a gap, and begins anew. "
                f"Make a new backup: lockkeeper backup {self._target.name} --kind physical"
            )
            return
        self._tell(f"interrupted, trying again: {error}")

    def store(self, at_once: bool = False) -> None:
        """Store what is complete, and now and then (or ``at_once``) what is still being written.

        The newest file always stays: from it pg_receivewal sees where to go on.
        """
        paths = received_segments(self._folder)
        for path in paths:
            if path.name.endswith(PARTIAL):
                self._store_partial(path, at_once)
                continue
            if path.name not in self._stored:
                self._put(path, path.name)
                self._storage.delete(f"{self._prefix}{path.name}{PARTIAL}.zst")
                self._stored.add(path.name)
                self.segments += 1
            if path != paths[-1]:
                path.unlink()

    def _store_partial(self, path: Path, at_once: bool) -> None:
        try:
            seen = (path.name, path.stat().st_mtime_ns)
            due = at_once or time.monotonic() - self._partial_at >= PARTIAL_INTERVAL_S
            if due and seen != self._partial_seen:
                self._put(path, path.name)
                self._partial_seen, self._partial_at = seen, time.monotonic()
        except FileNotFoundError:
            return  # it was completed, and so renamed, at this moment

    @property
    def _prefix(self) -> str:
        return archive_prefix(self._target.name, self._system)

    def _put(self, path: Path, name: str) -> None:
        key = f"{self._prefix}{name}.zst"
        self._storage.put_stream(key, compressed_file(path), expected_bytes=path.stat().st_size)


def _wait(duration_s: float, stopped: Callable[[], bool]) -> None:
    deadline = time.monotonic() + duration_s
    while not stopped() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def fetch_archived(storage: Storage, manifest: BackupManifest, folder: Path) -> int:
    """Bring the log that was archived since the backup into ``folder``, up to its end or its first gap.

    The backup's own last segment is replaced: there it ends at the backup's moment.

    Returns:
        How many segments came.

    Raises:
        BackupCorruptError: the archive does not reach back to the backup, or is damaged.
        PreflightError: the disk is too small for it.
        StorageError: storage failed.
    """
    facts, system = manifest.physical, manifest.system_identifier
    if facts is None or system is None:
        raise BackupCorruptError(
            f"Backup {manifest.id} does not say which server's log it needs.", manifest.id
        )
    prefix = archive_prefix(manifest.target, system)
    stored = {item.key.removeprefix(prefix).removesuffix(".zst") for item in storage.list(prefix)}
    wanted, count = facts.last_segment, 0
    segment_bytes = (folder / wanted).stat().st_size
    while found := next((name for name in (wanted, wanted + PARTIAL) if name in stored), None):
        if shutil.disk_usage(folder).free < 2 * segment_bytes:
            raise PreflightError([f"disk: no room in {folder} for the archived log from {wanted} on"])
        decompress_file(storage.open_stream(f"{prefix}{found}.zst"), folder / wanted, manifest)
        wanted, count = next_segment(wanted, segment_bytes), count + 1
    if not count:
        raise BackupCorruptError(
            f"The archive has no segment {wanted}: it does not reach back to backup {manifest.id}. Was "
            f"`lockkeeper archive {manifest.target}` running since before it was made?",
            manifest.id,
        )
    return count


def expire_archived(storage: Storage, target: str, kept: list[BackupManifest]) -> int:
    """Delete the archived log that no physical backup which is kept needs; returns how many segments went."""
    needed: dict[str, str] = {}
    for manifest in kept:
        if manifest.physical and manifest.system_identifier:
            first = manifest.physical.first_segment
            needed[manifest.system_identifier] = min(needed.get(manifest.system_identifier, first), first)
    gone = 0
    for item in storage.list(f"{target}/wal/"):
        system, _, name = item.key.removeprefix(f"{target}/wal/").partition("/")
        if system in needed and name[8:24] < needed[system][8:]:
            storage.delete(item.key)
            gone += 1
    return gone
