"""A stored dump on its way back into a database: checked while it is read, restored in parallel if it can be.

pg_restore's parallel jobs need a seekable archive, so the dump is decompressed into a temporary file that
has no name (it is gone when its process is) where the local disk has room, and otherwise streamed through
one job's stdin. In a file, nothing is restored before size and checksum are proven.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import zstandard
from sqlalchemy.engine import URL

from lockkeeper.backup.archive_index import write_offsets
from lockkeeper.backup.dump import client_environment
from lockkeeper.backup.progress import ProgressCallback, counted
from lockkeeper.backup.read_ahead import read_ahead
from lockkeeper.errors import BackupCorruptError, BackupError, ProgramError
from lockkeeper.models import BackupManifest
from lockkeeper.postgres.clients import ClientPrograms
from lockkeeper.process import running
from lockkeeper.storage import Storage

LOCAL_RESERVE_BYTES = 256 * 1024 * 1024
RESTORE_OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem=128MB"
"""Settings of the restoring sessions: a copy is worth nothing before its end, no commit must be durable."""
_LINUX = sys.platform == "linux"


def restore_disk_bytes(database_bytes: int) -> int:
    """Return the local disk space in bytes that a parallel restore of a database wants, at most or so.

    The uncompressed archive has no indexes, but values are wider as text. Without the room a restore
    streams with one job, which is slower.
    """
    return database_bytes + database_bytes // 4 + LOCAL_RESERVE_BYTES


class RestoreOptions(NamedTuple):
    """How to restore. ``tablespaces``: whether the recorded ones exist where it goes."""

    jobs: int
    tablespaces: bool
    superuser: bool


def conninfo_database(database: str) -> str:
    """Return ``database`` as a connection string, since pg_restore would read a name with '=' as one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def pg_restore_cmd(
    programs: ClientPrograms,
    database: str,
    options: RestoreOptions,
    archive: str | None = None,
    use_list: str | None = None,
) -> list[str]:
    """Return the argv of pg_restore from the file ``archive``, or (None) from its stdin.

    Subscriptions are left out: a copy that subscribed would take its original's changes away.
    """
    argv = [
        str(programs.pg_restore),
        "--format=custom",
        "--exit-on-error",
        "--no-password",
        "--no-subscriptions",
        f"--dbname={conninfo_database(database)}",
    ]
    if not options.tablespaces:
        argv.append("--no-tablespaces")
    if use_list is not None:
        argv.append(f"--use-list={use_list}")
    if archive is not None:
        argv += [f"--jobs={options.jobs}", archive]
    return argv


def pg_restore_list_cmd(programs: ClientPrograms, archive: str) -> list[str]:
    """Return the argv that lists an archive's contents."""
    return [str(programs.pg_restore), "--format=custom", "--list", archive]


def wanted_entries(listing: str, superuser: bool) -> str:
    """Return the list of what to restore: an ordinary role may not comment on a superuser's extension.

    CREATE EXTENSION sets the same comment by itself, from the extension's own control file.
    """
    lines = listing.splitlines()
    return "\n".join(line for line in lines if superuser or " COMMENT - EXTENSION " not in line) + "\n"


def listed_subscriptions(listing: str) -> list[str]:
    """Return the subscriptions that an archive holds."""
    found = [line.partition(" SUBSCRIPTION - ")[2] for line in listing.splitlines()]
    return [entry.rsplit(" ", 1)[0] for entry in found if entry]


def checked_chunks(storage: Storage, manifest: BackupManifest) -> Iterator[bytes]:
    """Yield the stored bytes; after the last one size and checksum have been compared with the manifest.

    Raises:
        BackupCorruptError: the object is missing, has another length, or other contents.
        StorageError: storage failed.
    """
    key = manifest.dump_key
    if key is None:
        raise BackupCorruptError(f"Backup {manifest.id} names no dump: it was never complete.", manifest.id)
    size = storage.size(key)
    if size is None:
        raise BackupCorruptError(
            f"The dump {key!r} of backup {manifest.id} is missing in {storage.describe()}.", manifest.id
        )
    if size != manifest.size_bytes:
        raise BackupCorruptError(
            f"The dump {key!r} has {size} bytes, its manifest says {manifest.size_bytes}: "
            "it is truncated or another one.",
            manifest.id,
        )
    digest = hashlib.sha256()
    for chunk in storage.open_stream(key):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != manifest.sha256:
        raise BackupCorruptError(
            f"The dump {key!r} has the right length but another sha256 than its manifest: "
            "its contents were changed, or it is that of another backup.",
            manifest.id,
        )


def archive_chunks(storage: Storage, manifest: BackupManifest, progress: ProgressCallback) -> Iterator[bytes]:
    """Yield the uncompressed archive; raises as ``checked_chunks``."""
    stored = read_ahead(checked_chunks(storage, manifest))
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in counted(stored, "download", manifest.size_bytes, progress):
        try:
            piece = decompressor.decompress(chunk)
        except zstandard.ZstdError as error:
            for _ in stored:  # the checksum at the end has the better message
                pass
            raise BackupCorruptError(
                f"The dump {manifest.dump_key!r} cannot be decompressed: {error}.", manifest.id
            ) from error
        if piece:
            yield piece


def restore_archive(
    storage: Storage,
    manifest: BackupManifest,
    url: URL,
    programs: ClientPrograms,
    options: RestoreOptions,
    *,
    run_id: str,
    progress: ProgressCallback,
) -> list[str]:
    """Restore a backup into the empty database that ``url`` names; returns warnings.

    Raises:
        BackupCorruptError: what is stored is not what the manifest says.
        BackupError: the archive is intact, but PostgreSQL or the local disk did not take it.
        StorageError: storage failed.
    """
    environment = client_environment(url, "restore", run_id)
    environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} {RESTORE_OPTIONS}".strip()
    chunks = archive_chunks(storage, manifest, progress)
    needed = (manifest.uncompressed_bytes or 0) + LOCAL_RESERVE_BYTES
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free < needed:
            _restore_stream(chunks, programs, str(url.database), options, environment)
            return [f"restored with one job: {needed} bytes are not free in {tempfile.gettempdir()}"]
        with _seekable(chunks, manifest) as (file, path):
            return _restore_file(file, path, programs, str(url.database), options, environment)
    except ProgramError as error:
        raise BackupError(
            f"Backup {manifest.id} is intact but could not be restored: {error}", manifest.id
        ) from error


@contextlib.contextmanager
def _seekable(chunks: Iterator[bytes], manifest: BackupManifest) -> Iterator[tuple[IO[bytes], str]]:
    """Yield the whole archive as a file that vanishes with its last descriptor, and a path to it."""
    with contextlib.ExitStack() as stack:
        if _LINUX:
            file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(prefix="lockkeeper-"))
            path = f"/proc/self/fd/{file.fileno()}"
        else:
            named = stack.enter_context(tempfile.NamedTemporaryFile(prefix="lockkeeper-"))
            file, path = named.file, named.name
        try:
            for chunk in read_ahead(chunks):
                file.write(chunk)
            write_offsets(file)
            file.flush()
        except OSError as error:
            raise BackupError(
                f"The local disk does not take the archive of {manifest.uncompressed_bytes} bytes "
                f"in {tempfile.gettempdir()}: {error.strerror}. Free some space, or set TMPDIR.",
                manifest.id,
            ) from error
        yield file, path


def _restore_file(
    file: IO[bytes],
    path: str,
    programs: ClientPrograms,
    database: str,
    options: RestoreOptions,
    environment: dict[str, str],
) -> list[str]:
    with contextlib.ExitStack() as stack:
        listing = _run(pg_restore_list_cmd(programs, path), environment, (file.fileno(),))
        use_list, descriptors = None, [file.fileno()]
        if not options.superuser:
            entries = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="lockkeeper-"))
            entries.write(wanted_entries(listing, superuser=False))
            entries.flush()
            use_list = entries.name
        _run(pg_restore_cmd(programs, database, options, path, use_list), environment, descriptors)
    return [
        f"subscription {name} is not restored: create it again if it is wanted"
        for name in listed_subscriptions(listing)
    ]


def _run(argv: list[str], environment: dict[str, str], descriptors: Sequence[int]) -> str:
    with running(argv, env=environment, pass_fds=descriptors) as program:
        output = program.stdout.read() if program.stdout else b""
        program.check()
    return output.decode(errors="replace")


def _restore_stream(
    chunks: Iterator[bytes],
    programs: ClientPrograms,
    database: str,
    options: RestoreOptions,
    environment: dict[str, str],
) -> None:
    argv = pg_restore_cmd(programs, database, options)
    with running(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as program:
        if program.stdin is None:
            raise ProgramError(argv, None, "no stdin pipe")
        try:
            for chunk in chunks:
                program.stdin.write(chunk)
            program.stdin.close()
        except BrokenPipeError:
            for _ in chunks:  # a corrupt archive is the better explanation, if it is one
                pass
        program.check()
