"""The parts of a multipart upload: a stream cut into pieces of one size, in memory or in unnamed files.

Files are for large parts, of which memory should not hold several. They are in the folder for temporary files
(TMPDIR), have no name, and are gone with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from lockkeeper.errors import StorageError

Part = bytes | IO[bytes]


def regroup(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield pieces of exactly ``size`` bytes, a last shorter one, and at least one (S3 wants a part)."""
    buffer = bytearray()
    yielded = False
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            piece = bytes(memoryview(buffer)[:size])
            del buffer[:size]
            yield piece
            del piece
            yielded = True
    if buffer or not yielded:
        yield bytes(buffer)


def regroup_in_files(chunks: Iterable[bytes], size: int) -> Iterator[IO[bytes]]:
    """Yield the same pieces as files, each at its beginning; whoever is given one closes it.

    Raises:
        StorageError: the folder for temporary files takes no more.
    """
    filled, yielded = 0, False
    with contextlib.ExitStack() as unfinished:
        part = unfinished.enter_context(_unnamed_file())
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                taken, rest = rest[: size - filled], rest[size - filled :]
                _write(part, taken)
                filled += len(taken)
                if filled == size:
                    unfinished.pop_all()
                    yield _rewound(part)
                    part, filled, yielded = unfinished.enter_context(_unnamed_file()), 0, True
        if filled or not yielded:
            unfinished.pop_all()
            yield _rewound(part)


def size_of(part: Part) -> int:
    """Return how many bytes a part has."""
    return len(part) if isinstance(part, bytes) else os.fstat(part.fileno()).st_size


def close_part(part: Part, _when_done: object = None) -> None:
    """Let go of a part that is a file; can be called when a future is done, or was cancelled."""
    if not isinstance(part, bytes):
        part.close()


def _unnamed_file() -> IO[bytes]:
    with _no_room():
        # Without a buffer nothing is left to be written when it is closed.
        return tempfile.TemporaryFile(buffering=0)


def _write(part: IO[bytes], data: memoryview) -> None:
    while data:
        with _no_room():
            data = data[part.write(data) :]


def _rewound(part: IO[bytes]) -> IO[bytes]:
    part.seek(0)
    return part


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "the folder for temporary files"
        raise StorageError(
            f"The parts of an upload do not fit into {folder}: {error.strerror or error}. Make room there, "
            "or let TMPDIR name another folder."
        ) from error
