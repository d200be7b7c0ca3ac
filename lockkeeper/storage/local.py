"""Storage in a folder: objects are files, readable by their owner only.

A file is written under a hidden name, flushed to disk and renamed: a power cut leaves the former object
or the new one, never half of one (``rename(2)``; the folder is flushed too).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lockkeeper.errors import StorageError
from lockkeeper.storage.protocol import CHUNK_BYTES, StoredObject

PARTIAL_SUFFIX = ".partial"


class Disk(NamedTuple):
    """The disk that a folder is on, and what is free there."""

    device: int
    free_bytes: int


def disk_of(folder: Path) -> Disk:
    """Return the disk of a folder, which need not be there yet; raises OSError where it cannot be seen."""
    absolute = folder.absolute()
    there = next(one for one in (absolute, *absolute.parents) if one.exists())
    return Disk(there.stat().st_dev, shutil.disk_usage(there).free)


class LocalStorage:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def describe(self) -> str:
        """Return the folder's path."""
        return str(self.root)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or key.startswith("/"):
            raise StorageError(f"{key!r} is not a key: it must be relative and stay inside the storage", key)
        return self.root.joinpath(*parts)

    def put_stream(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int | None = None) -> int:
        """Write a hidden file and rename it when it is complete and on disk."""
        path = self._path(key)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
        written = 0
        try:
            with _storage_errors(key, "write"):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    with _storage_errors(key, "write"):
                        file.write(chunk)
                    written += len(chunk)
                with _storage_errors(key, "write"):
                    file.flush()
                    os.fsync(file.fileno())
            with _storage_errors(key, "write"):
                partial.rename(path)
                flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
        return written

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write a small file, replacing the one that is there."""
        self.put_stream(key, [data])

    def open_stream(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the file's bytes from ``start`` on."""
        with _storage_errors(key, "read"), self._path(key).open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def get_bytes(self, key: str) -> bytes:
        """Return a small file."""
        with _storage_errors(key, "read"):
            return self._path(key).read_bytes()

    def list(self, prefix: str) -> list[StoredObject]:
        """Return the files whose key begins with ``prefix``; unfinished ones are left out."""
        folder = self.root / Path(prefix).parent if not prefix.endswith("/") else self._path(prefix)
        found = []
        with _storage_errors(prefix, "list"):
            for path in folder.rglob("*"):
                key = path.relative_to(self.root).as_posix()
                if not key.startswith(prefix) or path.name.endswith(PARTIAL_SUFFIX):
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                    if path.is_file():
                        found.append(StoredObject(key, path.stat().st_size))
        return sorted(found)

    def size(self, key: str) -> int | None:
        """Return the file's length, or None."""
        with _storage_errors(key, "read"):
            try:
                return self._path(key).stat().st_size
            except FileNotFoundError:
                return None

    def exists(self, key: str) -> bool:
        """Whether the file is there."""
        return self.size(key) is not None

    def delete(self, key: str) -> None:
        """Remove the file, and its folder when that is empty then."""
        path = self._path(key)
        with _storage_errors(key, "delete"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def flush_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _storage_errors(key: str, verb: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{key!r} is not in the storage folder", key) from error
    except OSError as error:
        raise StorageError(f"Cannot {verb} {key!r} in the storage folder: {error.strerror}", key) from error
