"""pg_dump's output, compressed, hashed and on its way to storage as it is made.

Nothing of it is kept on local disk, and memory stays bounded (one chunk, zstd's jobs, the storage's parts).
A dump is one zstd stream of two outputs at one snapshot: the schema as an archive in pg_dump's custom
format, then the data as a script, which any number of sessions can load (``parallel_copy``). In an archive
every row would carry five bytes of length. pg_dump's own gzip is what costs time, a fast zstd does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple

import zstandard
from sqlalchemy.engine import URL

from lockkeeper.backup.progress import ProgressCallback, counted
from lockkeeper.errors import ProgramError
from lockkeeper.postgres.clients import ClientPrograms
from lockkeeper.postgres.connection import application_name, libpq_environment
from lockkeeper.process import RunningProgram, running
from lockkeeper.storage import Storage

LOCK_WAIT_TIMEOUT_MS = 60_000
# Two small hash tables (they fit the L2 cache) in a small window: measured on mixed types 2 % smaller than
# level 1 and 4 % smaller than gzip -6, for a seventh of gzip's CPU. Level 3 itself costs half as much again.
COMPRESSION = {
    "strategy": zstandard.STRATEGY_DFAST, "window_log": 18, "hash_log": 17, "chain_log": 16, "min_match": 6
}  # fmt: skip
_PARTS: tuple[Literal["schema"], Literal["data"]] = ("schema", "data")
_READ_BYTES = 1024 * 1024
_PIPE_BYTES = 1024 * 1024  # Linux's limit for ordinary users; the default is 64 KiB
_F_SETPIPE_SZ = 1031
_MAX_THREADS = 4


class StoredDump(NamedTuple):
    """A dump that is complete in storage. ``sha256`` is that of the stored (compressed) bytes.

    ``schema_bytes``: how many of the uncompressed bytes, the first, are the archive of the schema.
    """

    size_bytes: int
    uncompressed_bytes: int
    schema_bytes: int
    sha256: str


def pg_dump_cmd(programs: ClientPrograms, part: Literal["schema", "data"], snapshot: str) -> list[str]:
    """Return the argv of pg_dump at an exported snapshot; where to connect to is in the environment."""
    schema = ("--format=custom", "--compress=0", "--section=pre-data", "--section=post-data")
    return [
        str(programs.pg_dump),
        *(schema if part == "schema" else ("--format=plain", "--section=data")),
        f"--snapshot={snapshot}",
        "--no-password",
        f"--lock-wait-timeout={LOCK_WAIT_TIMEOUT_MS}",
    ]


def pg_dumpall_roles_cmd(programs: ClientPrograms, maintenance_database: str) -> list[str]:
    """Return the argv that prints the server's roles without their passwords."""
    return [
        str(programs.pg_dumpall),
        "--roles-only",
        "--no-role-passwords",
        "--no-password",
        f"--database={maintenance_database}",
    ]


def client_environment(url: URL, role: str, run_id: str | None) -> dict[str, str]:
    """Return the environment of a client program: this process's own, without its PG*, plus the URL's."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {**inherited, **libpq_environment(url), "PGAPPNAME": application_name(role, run_id)}


class Measured:
    """Passes compressed chunks on and keeps their hash."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.uncompressed_bytes = 0
        self.schema_bytes = 0

    def schema(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Count what belongs to the schema."""
        for chunk in chunks:
            self.schema_bytes += len(chunk)
            yield chunk

    def compressed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield one zstd stream of all chunks."""
        threads = min(os.cpu_count() or 1, _MAX_THREADS)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            3, threads=threads, write_checksum=True, **COMPRESSION
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        for chunk in chunks:
            self.uncompressed_bytes += len(chunk)
            yield from self._hashed(compressor.compress(chunk))
        yield from self._hashed(compressor.flush())

    def _hashed(self, piece: bytes) -> Iterator[bytes]:
        if piece:
            self.sha256.update(piece)
            yield piece


def program_output(program: RunningProgram) -> Iterator[bytes]:
    """Yield what the program prints; its end counts only with exit code 0, since a killed one ends too."""
    if program.stdout is None:
        raise ProgramError(program.argv, None, "no stdout pipe")
    descriptor = program.stdout.fileno()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the limit of pipes is used up: slower, not wrong
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
    while chunk := os.read(descriptor, _READ_BYTES):
        yield chunk
    program.check()


def stream_dump(
    url: URL,
    programs: ClientPrograms,
    snapshot: str,
    storage: Storage,
    key: str,
    *,
    expected_bytes: int,
    run_id: str | None,
    progress: ProgressCallback,
) -> StoredDump:
    """Dump the database at ``snapshot`` to ``key``; either all of it is there afterwards, or nothing.

    Args:
        url: the database.
        programs: client programs that fit its server.
        snapshot: exported by a transaction that stays open for the length of the call.
        storage: where to.
        key: the object's key.
        expected_bytes: the database's size, for the storage's planning.
        run_id: becomes part of pg_dump's application_name.
        progress: told the uncompressed bytes.

    Raises:
        ProgramError: pg_dump failed or was killed.
        StorageError: storage failed.
    """
    measured = Measured()
    environment = client_environment(url, "dump", run_id)
    with contextlib.ExitStack() as stack:
        schema, data = (
            stack.enter_context(
                running(pg_dump_cmd(programs, part, snapshot), env=environment, stdout=subprocess.PIPE)
            )
            for part in _PARTS
        )
        output = chain(measured.schema(program_output(schema)), program_output(data))
        chunks = counted(output, "dump", expected_bytes, progress)
        size = storage.put_stream(key, measured.compressed(chunks), expected_bytes=expected_bytes)
    return StoredDump(size, measured.uncompressed_bytes, measured.schema_bytes, measured.sha256.hexdigest())
