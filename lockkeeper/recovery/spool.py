"""The spool: captured messages on disk, in order, in segments that can each be read by itself.

Guarantees: what ``flush`` has returned for is on disk (fdatasync); after a crash ``SpoolWriter`` cuts what
lies behind the last complete transaction, so that a torn end is never read as a change; a block is read
whole and with the right checksum, or not at all; a missing segment is noticed. One writer, any number of
readers beside it.

A segment is a file ``<number>.spool`` of blocks. A block is a header (magic, flags, length, CRC-32, position)
and messages, each with its length before it. The first block of a segment says where the transactions before
it ended, and repeats the relation messages that were valid then.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lockkeeper.errors import DecodingError
from lockkeeper.recovery import pgoutput
from lockkeeper.storage.local import flush_folder

SUFFIX = ".spool"
SEGMENT_BYTES = 16 * 2**20
BLOCK_BYTES = 512 * 1024
NOTE = ord("#")
"""First byte of a message of our own: JSON that the receiver wrote down beside the server's messages."""

_HEADER = struct.Struct(">4sIIIQ")
_LENGTH = struct.Struct(">I")
_MAGIC = b"LKS1"
_INSIDE_TRANSACTION, _OPENS_SEGMENT = 1, 2


class Block(NamedTuple):
    """One block.

    ``end_lsn`` is the end of the last transaction that it completes, or 0; in the block that opens a segment,
    of the last one before the segment.
    """

    payload: bytes
    inside_transaction: bool
    opens_segment: bool
    end_lsn: int

    def messages(self) -> Iterator[bytes]:
        """Yield the messages in it."""
        at, payload = 0, self.payload
        while at < len(payload):
            start = at + 4
            at = start + int.from_bytes(payload[at:start], "big")
            yield payload[start:at]


def segment_path(folder: Path, number: int) -> Path:
    """Return the file of a segment."""
    return folder / f"{number:012d}{SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, in order."""
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}"))


def spool_bytes(folder: Path) -> int:
    """Return how much disk the segments take."""
    return sum(path.stat().st_size for path in folder.glob(f"*{SUFFIX}"))


class SpoolWriter:
    """Appends messages, which ``flush`` makes durable. ``end_lsn`` is where the last durable one ended."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._relations: dict[bytes, bytes] = {}
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._inside = False
        self._pending_end_lsn = 0
        self.wrote_since_opening = False
        self.end_lsn = _repair(folder)
        self.number = max(segment_numbers(folder), default=0)
        self._file = self._open_next()

    @property
    def pending(self) -> bool:
        """Whether something is not on disk yet."""
        return bool(self._pending)

    @property
    def has_full_block(self) -> bool:
        """Whether so much is pending that it should be written."""
        return self._pending_bytes >= BLOCK_BYTES

    def append(self, message: bytes) -> None:
        """Add a message of the transaction that is open, or one that stands by itself."""
        if message[0] in (pgoutput.RELATION, pgoutput.TYPE):
            self._relations[message[:5]] = message
        elif message[0] == pgoutput.BEGIN:
            self._inside = True
        self._add(message)

    def commit(self, message: bytes, end_lsn: int) -> None:
        """Add the message that completes a transaction."""
        self._add(message)
        self._inside = False
        self._pending_end_lsn = end_lsn

    def _add(self, message: bytes) -> None:
        self._pending += (_LENGTH.pack(len(message)), message)
        self._pending_bytes += 4 + len(message)

    def flush(self) -> None:
        """Write what is pending as one block and wait until the disk has it."""
        if not self._pending:
            return
        self.wrote_since_opening = True
        flags = _INSIDE_TRANSACTION if self._inside else 0
        _write(self._file, b"".join(self._pending), flags, self._pending_end_lsn)
        os.fdatasync(self._file)
        self.end_lsn = self._pending_end_lsn or self.end_lsn
        self._pending, self._pending_bytes, self._pending_end_lsn = [], 0, 0
        if os.lseek(self._file, 0, os.SEEK_CUR) >= self._segment_bytes:
            self.rotate()

    def rotate(self) -> int:
        """Go on in a new segment; returns the number of the one that is now complete."""
        finished = self.number
        os.close(self._file)
        self._file = self._open_next()
        return finished

    def close(self) -> None:
        """Close the file; what is pending and not flushed will come again from the server."""
        os.close(self._file)

    @property
    def segment_size(self) -> int:
        """Bytes in the segment that is being written."""
        return os.lseek(self._file, 0, os.SEEK_CUR)

    def _open_next(self) -> int:
        """Never write into a segment that a crash has cut: a reader may have been behind the cut."""
        self.number += 1
        path = segment_path(self._folder, self.number)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        frames = b"".join(_LENGTH.pack(len(each)) + each for each in self._relations.values())
        _write(file, frames, (_INSIDE_TRANSACTION if self._inside else 0) | _OPENS_SEGMENT, self.end_lsn)
        os.fdatasync(file)
        flush_folder(self._folder)
        self.wrote_since_opening = False
        return file


def _write(file: int, payload: bytes, flags: int, end_lsn: int) -> None:
    data = memoryview(_HEADER.pack(_MAGIC, flags, len(payload), zlib.crc32(payload), end_lsn) + payload)
    while data:
        data = data[os.write(file, data) :]


def _repair(folder: Path) -> int:
    """Cut what lies behind the last complete transaction; returns where that one ended (0: there is none).

    A transaction may have begun segments ago: those that lie wholly inside of it are emptied, and not
    removed, since a reader may be at one, and their numbers must not come again.
    """
    for number in reversed(segment_numbers(folder)):
        path = segment_path(folder, number)
        kept = end_lsn = at = 0
        for block, size in _blocks(path, 0):
            at += size
            if not block.inside_transaction:
                kept, end_lsn = at, max(end_lsn, block.end_lsn)
        os.truncate(path, kept)
        _sync(path)
        if kept:
            return end_lsn
    return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(path: Path, at: int) -> Iterator[tuple[Block, int]]:
    """Yield the blocks of a file from ``at`` on, each with its size, up to the first that is not complete."""
    with path.open("rb") as file:
        file.seek(at)
        while len(head := file.read(_HEADER.size)) == _HEADER.size:
            magic, flags, length, checksum, end_lsn = _HEADER.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if magic != _MAGIC or len(payload) != length or zlib.crc32(payload) != checksum:
                return
            inside, opens = bool(flags & _INSIDE_TRANSACTION), bool(flags & _OPENS_SEGMENT)
            yield Block(payload, inside, opens, end_lsn), _HEADER.size + length


class SpoolReader:
    """Reads blocks in order, beside the writer; begins at any segment.

    A transaction whose end was cut off by a crash comes again, in full, in a later segment.
    """

    def __init__(self, folder: Path, number: int | None = None) -> None:
        self._folder = folder
        self.number = number or min(segment_numbers(folder), default=1)
        self._at = 0
        self._end_lsn: int | None = None

    def available(self) -> Iterator[Block]:
        """Yield the blocks that are there and not read yet; ends at the present end, may be called again.

        Raises:
            DecodingError: a segment is missing, or damaged before its end.
        """
        while True:
            # Looked at first: when there is a later one now, this one is complete when it is read now.
            later = [number for number in segment_numbers(self._folder) if number > self.number]
            yield from self._read_segment()
            if not later:
                return
            self._require_read_to_end()
            self.number, self._at = later[0], 0

    def _read_segment(self) -> Iterator[Block]:
        path = segment_path(self._folder, self.number)
        if not path.exists():
            return
        for block, size in _blocks(path, self._at):
            self._at += size
            if block.opens_segment and self._end_lsn not in (None, block.end_lsn):
                raise DecodingError(f"before segment {path.name} of the spool a segment is missing")
            self._end_lsn = max(block.end_lsn, self._end_lsn or 0)
            yield block

    def _require_read_to_end(self) -> None:
        """Shorter than what was read is right: the end was cut off by a crash."""
        path = segment_path(self._folder, self.number)
        if path.exists() and path.stat().st_size > self._at:
            raise DecodingError(f"segment {path.name} of the spool is damaged at byte {self._at}")


def segment_to_resume_at(folder: Path, lsn: int) -> int | None:
    """Return the segment in which replay goes on when everything up to ``lsn`` has been applied."""
    found = None
    for number in segment_numbers(folder):
        opening = next(_blocks(segment_path(folder, number), 0), None)
        if found is None or (
            opening is not None and opening[0].end_lsn <= lsn and not opening[0].inside_transaction
        ):
            found = number
    return found
