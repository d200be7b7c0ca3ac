"""A physical backup's files, brought from storage into an empty folder and compared with what they were."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
from pathlib import Path

from lockkeeper.backup.archive import archive_chunks
from lockkeeper.backup.progress import Progress, ProgressCallback
from lockkeeper.errors import BackupCorruptError, ProgramError
from lockkeeper.physical.archive import fetch_archived
from lockkeeper.physical.instance import Instance, give
from lockkeeper.physical.wal import fetch_log
from lockkeeper.process import run_program, running
from lockkeeper.storage import Storage
from lockkeeper.storage.local import disk_of

VERIFY_TIMEOUT_S = 6 * 3600.0
FULL_DISK_BYTES = 1 << 20
"""With less free than this tar has ended for want of room: nobody waits for the rest of the archive then."""
_HBA = "local all all trust\n"
logger = logging.getLogger(__name__)


def pg_verifybackup_cmd(instance: Instance) -> list[str]:
    """Return the argv that compares every file, and the log, with the manifest of pg_basebackup."""
    return [
        instance.programs.path("pg_verifybackup"), "--quiet", f"--wal-directory={instance.log}",
        str(instance.data),
    ]  # fmt: skip


def lay_out(instance: Instance, storage: Storage, progress: ProgressCallback) -> None:
    """Bring the backup's files and log into the empty folder, and compare each with its checksum.

    Raises:
        BackupCorruptError: what is stored is not what was backed up.
        ProgramError: tar cannot write.
        StorageError: storage failed.
    """
    for folder in (instance.data, instance.log):
        folder.mkdir(mode=0o700)
        give(folder, instance.programs.user)
    (instance.folder / "closed.conf").touch()
    (instance.folder / "closed_hba.conf").write_text(_HBA)
    _extract(instance, storage, progress)
    fetch_log(storage, instance.manifest, instance.log)
    if instance.until is not None:
        fetch_archived(storage, instance.manifest, instance.log)
    for path in instance.log.iterdir():
        give(path, instance.programs.user)
    progress(Progress("checksums"))
    _check_files(instance)


def _check_files(instance: Instance) -> None:
    """Compare every file with the server's own list of them.

    Where pg_verifybackup itself crashes (that of 18 in the wheel does), names and sizes are compared. What
    came from the storage is what was put there in any case: its sha256 was compared.
    """
    try:
        run_program(
            pg_verifybackup_cmd(instance),
            user=instance.programs.user,
            cwd=Path("/"),
            timeout_s=VERIFY_TIMEOUT_S,
        )
    except ProgramError as error:
        crashed = (error.program_exit_code or 0) < 0
        if crashed and not (wrong := _wrong_sizes(instance.data)):
            logger.warning("%s; names and sizes of all files were compared instead of their checksums", error)
            return
        raise BackupCorruptError(
            f"Backup {instance.manifest.id} is not what was backed up: "
            + ("; ".join(wrong[:10]) if crashed else str(error)),
            instance.manifest.id,
        ) from error


def _wrong_sizes(data: Path) -> list[str]:
    """Name the files that are missing or of another size than the server had said."""
    listed = json.loads((data / "backup_manifest").read_bytes())["Files"]
    wrong = []
    for entry in listed:
        encoded = entry.get("Encoded-Path")
        path = data / (
            bytes.fromhex(encoded).decode("utf-8", "surrogateescape") if encoded else entry["Path"]
        )
        size = path.stat().st_size if path.exists() else None
        if size != entry["Size"]:
            wrong.append(f"{path.relative_to(data)} has {size} bytes, not {entry['Size']}")
    return wrong


def _extract(instance: Instance, storage: Storage, progress: ProgressCallback) -> None:
    argv = ["tar", "-x", "-f", "-", "-C", str(instance.data)]
    with running(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, user=instance.programs.user, cwd=Path("/")
    ) as tar:
        if tar.stdin is None:
            raise ProgramError(argv, None, "no stdin pipe")
        chunks = archive_chunks(storage, instance.manifest, progress)
        with contextlib.suppress(BrokenPipeError):  # tar's own message says why
            for chunk in chunks:
                tar.stdin.write(chunk)
            tar.stdin.close()
        if disk_of(instance.data).free_bytes > FULL_DISK_BYTES:
            for _ in chunks:  # that the files are corrupt is the better explanation, if they are
                pass
        tar.check()
