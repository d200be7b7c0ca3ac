"""The write-ahead log that makes a base backup whole: received beside it, stored segment by segment.

A temporary replication slot keeps the server from recycling segments before they were received. It belongs to
a session of ours and ends with it, so that no death of this process leaves log on the server.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import zstandard
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup.manifest import backup_prefix, segment_key
from lockkeeper.errors import BackupCorruptError, BackupError
from lockkeeper.models import BackupManifest
from lockkeeper.physical.programs import PhysicalPrograms
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.process import RunningProgram, run_program, running
from lockkeeper.storage import Storage

PARTIAL = ".partial"
START_TIMEOUT_S = 60.0
FINISH_TIMEOUT_S = 600.0
_POLL_S = 0.05
_SEGMENT = re.compile(r"^[0-9A-F]{24}$")
_READ_BYTES = 2**20
_TEMPORARY_SLOT = "SELECT pg_catalog.pg_create_physical_replication_slot(%s, true, true)::text"


def pg_receivewal_cmd(programs: PhysicalPrograms, folder: Path, end_lsn: str | None) -> list[str]:
    """Return the argv that receives log into ``folder`` for ever, or up to ``end_lsn``."""
    until = [] if end_lsn is None else [f"--endpos={end_lsn}"]
    return [
        programs.path("pg_receivewal"), f"--directory={folder}", "--no-loop", "--no-sync", "--no-password",
        "--status-interval=1", *until,
    ]  # fmt: skip


@contextlib.contextmanager
def kept_log(url: URL, run_id: str) -> Iterator[None]:
    """Keep all log that is written from now on, on the server, for the length of the block.

    Raises:
        DatabaseError: not permitted, or no free slot.
    """
    with connect(url, "physical-log", run_id=run_id) as connection:
        for timeout in ("statement_timeout", "idle_session_timeout"):
            execute(connection, sql.SQL("SET {} = 0").format(sql.Identifier(timeout)))
        name = f"lockkeeper_log_{connection.info.backend_pid}"
        fetch_value(connection, _TEMPORARY_SLOT, (name,))
        yield


@contextlib.contextmanager
def receiving_log(
    programs: PhysicalPrograms, folder: Path, environment: Mapping[str, str]
) -> Iterator[RunningProgram]:
    """Receive the log into ``folder`` for the length of the block; it has begun when the block does.

    Raises:
        BackupError: it does not begin.
        ProgramError: it failed, such as when the server had recycled a segment before it was received.
    """
    with running(pg_receivewal_cmd(programs, folder, None), env=environment, stdout=None) as program:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not any(folder.iterdir()):
            if program.has_ended():
                program.check()
            if time.monotonic() > deadline:
                raise BackupError("pg_receivewal has received nothing of the write-ahead log.")
            time.sleep(_POLL_S)
        yield program
        program.signal(signal.SIGINT)
        program.check(timeout_s=FINISH_TIMEOUT_S)


def receive_until(
    programs: PhysicalPrograms, folder: Path, environment: Mapping[str, str], end_lsn: str
) -> None:
    """Go on where ``receiving_log`` has stopped, up to ``end_lsn``; raises ProgramError."""
    run_program(pg_receivewal_cmd(programs, folder, end_lsn), env=environment, timeout_s=FINISH_TIMEOUT_S)


def received_segments(folder: Path) -> list[Path]:
    """Return the segments in order; the last one may be a partial one, filled up with zeros."""
    return sorted(path for path in folder.iterdir() if _SEGMENT.match(path.name.removesuffix(PARTIAL)))


def store_log(storage: Storage, manifest: BackupManifest, folder: Path) -> tuple[list[str], int]:
    """Put the received segments into storage, each compressed; returns their names and their bytes."""
    names, total = [], 0
    for path in received_segments(folder):
        name = path.name.removesuffix(PARTIAL)
        storage.put_stream(
            segment_key(manifest.target, manifest.id, name),
            compressed_file(path),
            expected_bytes=path.stat().st_size,
        )
        names.append(name)
        total += path.stat().st_size
        path.unlink()
    return names, total


def compressed_file(path: Path) -> Iterator[bytes]:
    """Yield a segment as one zstd stream with a checksum."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_READ_BYTES), b""):
            yield compressor.compress(chunk)
    yield compressor.flush()


def fetch_log(storage: Storage, manifest: BackupManifest, folder: Path) -> None:
    """Bring the backup's segments back into ``folder``.

    Raises:
        BackupCorruptError: one is missing or damaged.
        StorageError: storage failed.
    """
    facts = manifest.physical
    if facts is None:
        raise BackupCorruptError(f"Backup {manifest.id} is no physical one.", manifest.id)
    prefix = f"{backup_prefix(manifest.target, manifest.id)}wal/"
    stored = [item.key for item in storage.list(prefix)]
    found = 0
    for key in stored:
        path = folder / key.removeprefix(prefix).removesuffix(".zst")
        found += decompress_file(storage.open_stream(key), path, manifest)
    if found != facts.wal_bytes:
        raise BackupCorruptError(
            f"The log of backup {manifest.id} has {found} bytes, its manifest says {facts.wal_bytes}.",
            manifest.id,
        )


def decompress_file(chunks: Iterable[bytes], path: Path, manifest: BackupManifest) -> int:
    """Write a segment; returns its bytes. Raises BackupCorruptError when it is damaged."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(decompressor.decompress(chunk))
            return file.tell()
    except zstandard.ZstdError as error:
        raise BackupCorruptError(
            f"Segment {path.name} of backup {manifest.id} cannot be decompressed: {error}.", manifest.id
        ) from error
