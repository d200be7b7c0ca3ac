"""Lets the stages of a stream work at the same time: the source runs in a thread of its own.

Downloading, hashing, decompressing and writing all release the interpreter's lock, so that a chain of
stages is as slow as its slowest, not as their sum. At most ``depth`` pieces wait between two stages.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

_POLL_S = 0.2


class _End:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(source: Iterable[bytes], depth: int = 4) -> Generator[bytes, None, None]:
    """Yield what ``source`` yields, produced in a thread; its exception comes out here, in its place.

    A consumer that stops early stops the thread at its next piece.
    """
    pieces: queue.Queue[bytes | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def produce() -> None:
        end = _End()
        try:
            for piece in source:
                if not _put(pieces, piece, stopped):
                    return
        except BaseException as error:
            end = _End(error)
        _put(pieces, end, stopped)

    thread = threading.Thread(target=produce, name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(piece := pieces.get(), _End):
            yield piece
    finally:
        stopped.set()
        thread.join()
    if piece.error is not None:
        raise piece.error


def _put(pieces: queue.Queue[bytes | _End], piece: bytes | _End, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            pieces.put(piece, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
