"""Runs a script of rows on several sessions at once: one table too, since COPY takes any part of its rows.

The rows of a table end up in another physical order than in the dump (in runs of a mebibyte); nothing
else depends on who has loaded what, because constraints, indexes and triggers come later.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterable

from sqlalchemy.engine import URL

from lockkeeper.backup.script import PIECE_BYTES, Rows, Setting, Statement
from lockkeeper.postgres.connection import connect, converting_errors, execute

_POLL_S = 0.2


class _StoppedError(Exception):
    """Another session has failed; what this one does is of no use any more."""


class _Pieces:
    """Rows that wait for the next free session; None ends one session."""

    def __init__(self, depth: int) -> None:
        self._queue: queue.Queue[Rows | None] = queue.Queue(depth)
        self.error: BaseException | None = None
        self.stopped = threading.Event()

    def put(self, piece: Rows | None) -> None:
        while True:
            if self.stopped.is_set():
                raise self.error or _StoppedError
            try:
                return self._queue.put(piece, timeout=_POLL_S)
            except queue.Full:
                continue

    def take(self) -> Rows | None:
        while not self.stopped.is_set():
            try:
                return self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        raise _StoppedError

    def stop(self, error: BaseException | None = None) -> None:
        if self.error is None:
            self.error = error
        self.stopped.set()


class _OneCopy(io.RawIOBase):
    """The file that COPY reads: pieces of one table, as many as this session gets hold of."""

    def __init__(self, pieces: _Pieces, first: Rows) -> None:
        super().__init__()
        self._pieces = pieces
        self._number = first.number
        self.next: Rows | None = first

    def read(self, _size: int = -1) -> bytes:
        if self.next is None or self.next.number != self._number:
            return b""
        text, self.next = self.next.text, self._pieces.take()
        return text


def run_parts(parts: Iterable[Rows | Setting | Statement], url: URL, jobs: int, *, run_id: str) -> None:
    """Run all parts in the database ``url``, rows on ``jobs`` sessions, statements on one more.

    Not one transaction: after an error the database is good for nothing but being dropped.

    Raises:
        DatabaseError: the server did not take something (the first error counts).
        LockkeeperError: as ``parts`` raises it.
    """
    pieces = _Pieces(2 * jobs)
    settings: list[bytes] = []
    sessions = [
        threading.Thread(target=_load, args=(pieces, url, settings, run_id), name="restore-rows", daemon=True)
        for _ in range(jobs)
    ]
    for session in sessions:
        session.start()
    try:
        with connect(url, "restore", run_id=run_id) as connection:
            for part in parts:
                if isinstance(part, Rows):
                    pieces.put(part)
                    continue
                if isinstance(part, Setting):
                    settings.append(part.text)
                execute(connection, part.text)
        for _ in sessions:
            pieces.put(None)
    except BaseException:
        pieces.stop()
        raise
    finally:
        for session in sessions:
            session.join()
    if pieces.error is not None:
        raise pieces.error


def _load(pieces: _Pieces, url: URL, settings: list[bytes], run_id: str) -> None:
    """Load rows until there are no more; a session is opened with its first ones."""
    try:
        piece = pieces.take()
        if piece is None:
            return
        with connect(url, "restore", run_id=run_id) as connection:
            for setting in tuple(settings):
                execute(connection, setting)
            while piece is not None:
                source = _OneCopy(pieces, piece)
                with converting_errors(), connection.cursor() as cursor:
                    cursor.copy_expert(piece.copy, source, PIECE_BYTES)
                piece = source.next
    except _StoppedError:
        pass
    except BaseException as error:
        pieces.stop(error)
