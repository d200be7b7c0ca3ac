"""A stored dump on its way back into a database, in parallel, without a copy of it on the local disk.

The schema's archive, which comes first, is kept in a temporary file without a name: pg_restore makes what
comes before the data (tables) from it and, in parallel, what comes after them (indexes, constraints,
triggers). The rows between run from storage through the decompressor into several COPY at once. Size and
checksum are proven before an index is built.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import IO, Literal, NamedTuple

import zstandard
from sqlalchemy.engine import URL

from lockkeeper.backup.dump import client_environment
from lockkeeper.backup.parallel_copy import run_parts
from lockkeeper.backup.progress import ProgressCallback, counted
from lockkeeper.backup.read_ahead import read_ahead
from lockkeeper.backup.script import script_parts
from lockkeeper.errors import BackupCorruptError, BackupError, DatabaseError, ProgramError
from lockkeeper.models import BackupManifest
from lockkeeper.postgres.clients import ClientPrograms
from lockkeeper.process import running
from lockkeeper.storage import Storage

RESTORE_OPTIONS = "-c synchronous_commit=off -c max_parallel_maintenance_workers=0"
"""Settings of the restoring sessions: a copy is worth nothing before its end, so no commit must be durable;
several indexes are built at once, and workers within each would only cost more CPU (a third, measured)."""
ENTRY_BYTES = 48
"""Of a row that is sorted or hashed by a short key: the server's own 24 bytes, and as many for the key."""
MOST_MEMORY_MB = 128
SORT_RUNS, LEAST_SORT_MEMORY_MB = 10, 8
"""How an index's sort is split: a run that fits into the cache, and few enough of them to be merged cheaply,
took 0.6 of the time of one sort of everything in memory."""
HASH_PARTS, LEAST_HASH_MEMORY_MB = 256, 1
"""How a foreign key's check, a hash join, is split: a part that fits into a core's cache took half of the
time of one whose every probe waits for main memory; more parts would need too many files at once."""
SUPERUSER_OPTIONS = "-c deadlock_timeout=10ms"
"""For who may set it: an autovacuum that is in an ALTER TABLE's way is ended when this has passed, and
autovacuum takes a liking to every table that has just been filled."""
_LAST_ENTRY = re.compile(
    r"\d+; \d+ \d+ "
    r"(FK CONSTRAINT|EVENT TRIGGER|COMMENT .*CONSTRAINT|(COMMENT|SECURITY LABEL) - EVENT TRIGGER) "
)
_LINUX = sys.platform == "linux"


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
    section: Literal["pre-data", "post-data"],
    database: str,
    options: RestoreOptions,
    archive: str,
    use_list: str,
) -> list[str]:
    """Return the argv of pg_restore of a section's entries in ``use_list``; ``archive`` needs only the head.

    Subscriptions are left out: a copy that subscribed would take its original's changes away.
    """
    argv = [
        str(programs.pg_restore),
        "--format=custom",
        f"--section={section}",
        "--exit-on-error",
        "--no-password",
        "--no-subscriptions",
        f"--use-list={use_list}",
        f"--dbname={conninfo_database(database)}",
    ]
    if not options.tablespaces:
        argv.append("--no-tablespaces")
    if section == "post-data":
        argv.append(f"--jobs={options.jobs}")
    return [*argv, archive]


def memory_option(manifest: BackupManifest, parts: int, least_mb: int) -> str:
    """Return the setting with which what the largest table's rows need is done in about ``parts`` parts."""
    tables = manifest.data_fingerprint.tables.values() if manifest.data_fingerprint else ()
    rows = max((table.rows for table in tables), default=0)
    memory_mb = min(max(rows * ENTRY_BYTES // parts // 2**20, least_mb), MOST_MEMORY_MB)
    return f"-c maintenance_work_mem={memory_mb}MB"


def pg_restore_list_cmd(programs: ClientPrograms, archive: str) -> list[str]:
    """Return the argv that lists an archive's contents."""
    return [str(programs.pg_restore), "--format=custom", "--list", archive]


def wanted_entries(listing: str, superuser: bool) -> list[str]:
    """Return the list of what to restore: an ordinary role may not comment on a superuser's extension.

    CREATE EXTENSION sets the same comment by itself, from the extension's own control file.
    """
    return [line for line in listing.splitlines() if superuser or " COMMENT - EXTENSION " not in line]


def others_and_last(entries: list[str]) -> tuple[list[str], list[str]]:
    """Take apart what comes after all else: foreign keys, and event triggers, which would fire for them.

    With the comments of constraints and event triggers, which can only follow what they are about.
    """
    others: list[str] = []
    last: list[str] = []
    for entry in entries:
        (last if _LAST_ENTRY.match(entry) else others).append(entry)
    return others, last


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
        BackupError: the archive is intact, but PostgreSQL did not take it.
        StorageError: storage failed.
    """
    environment = client_environment(url, "restore", run_id)
    own = f"{RESTORE_OPTIONS} {memory_option(manifest, SORT_RUNS, LEAST_SORT_MEMORY_MB)}"
    if options.superuser:
        own = f"{own} {SUPERUSER_OPTIONS}"
    settings = f"{environment.get('PGOPTIONS', '')} {own}".strip()
    environment["PGOPTIONS"] = settings
    destination = _Destination(
        programs, url.update_query_dict({"options": settings}), options, environment, run_id
    )
    with contextlib.closing(read_ahead(archive_chunks(storage, manifest, progress))) as chunks:
        try:
            listing = _restore(chunks, manifest, destination)
        except (BackupError, DatabaseError, ProgramError) as error:
            for _ in chunks:  # that the dump is corrupt is the better explanation, if it is
                pass
            if isinstance(error, BackupError):
                raise
            raise BackupError(
                f"Backup {manifest.id} is intact but could not be restored: {error}", manifest.id
            ) from error
    return [
        f"subscription {name} is not restored: create it again if it is wanted"
        for name in listed_subscriptions(listing)
    ]


def _restore(chunks: Iterator[bytes], manifest: BackupManifest, destination: _Destination) -> str:
    """Restore what comes before the data, the data, and what comes after; returns the archive's listing."""
    schema, data = _schema_and_data(chunks, manifest)
    with _archive_file(schema) as archive:
        listing = _run(pg_restore_list_cmd(destination.programs, archive.path), archive, destination)
        entries = wanted_entries(listing, destination.options.superuser)
        _restore_section("pre-data", archive, entries, destination)
        run_parts(script_parts(data), destination.url, destination.options.jobs, run_id=destination.run_id)
        others, last = others_and_last(entries)
        _restore_section("post-data", archive, others, destination)
        if last:
            memory = memory_option(manifest, HASH_PARTS, LEAST_HASH_MEMORY_MB)
            _restore_section("post-data", archive, last, destination.with_settings(memory))
    return listing


class _Destination(NamedTuple):
    programs: ClientPrograms
    url: URL
    options: RestoreOptions
    environment: dict[str, str]
    run_id: str

    def with_settings(self, settings: str) -> _Destination:
        """Return it with other settings of its programs' sessions: of two values the last one counts."""
        options = f"{self.environment['PGOPTIONS']} {settings}"
        return self._replace(environment={**self.environment, "PGOPTIONS": options})


class _Archive(NamedTuple):
    """An archive in a file, and a path to it for a child that inherits the descriptor."""

    file: IO[bytes]
    path: str


def _schema_and_data(chunks: Iterator[bytes], manifest: BackupManifest) -> tuple[bytes, Iterator[bytes]]:
    """Take the schema's archive from the front; what is left are the data."""
    wanted, front = manifest.schema_bytes or 0, bytearray()
    while len(front) < wanted:
        front += next(chunks, b"") or _end_of_dump(manifest)
    return bytes(front[:wanted]), chain([bytes(front[wanted:])], chunks)


def _end_of_dump(manifest: BackupManifest) -> bytes:
    raise BackupCorruptError(
        f"The dump {manifest.dump_key!r} ends within its first {manifest.schema_bytes} bytes.", manifest.id
    )


@contextlib.contextmanager
def _archive_file(content: bytes) -> Iterator[_Archive]:
    """Yield a file that vanishes with its last descriptor, so that a kill leaves nothing behind."""
    with contextlib.ExitStack() as stack:
        if _LINUX:
            file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(prefix="lockkeeper-"))
            path = f"/proc/self/fd/{file.fileno()}"
        else:
            named = stack.enter_context(tempfile.NamedTemporaryFile(prefix="lockkeeper-"))
            file, path = named.file, named.name
        file.write(content)
        file.flush()
        yield _Archive(file, path)


def _restore_section(
    section: Literal["pre-data", "post-data"],
    archive: _Archive,
    entries: list[str],
    destination: _Destination,
) -> None:
    programs, url, options, _, _ = destination
    with tempfile.NamedTemporaryFile(prefix="lockkeeper-") as use_list:
        use_list.writelines(f"{entry}\n".encode() for entry in entries)
        use_list.flush()
        argv = pg_restore_cmd(programs, section, str(url.database), options, archive.path, use_list.name)
        _run(argv, archive, destination)


def _run(argv: list[str], archive: _Archive, destination: _Destination) -> str:
    with running(argv, env=destination.environment, pass_fds=(archive.file.fileno(),)) as program:
        output = program.stdout.read() if program.stdout else b""
        program.check()
    return output.decode(errors="replace")
