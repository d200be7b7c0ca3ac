"""Writes into a custom-format archive where each table's data begin: pg_dump to a pipe could not.

Without these offsets every parallel job of pg_restore reads through the archive from its start, row by row
(measured: 4 times its CPU), and none knows which table is the largest and goes first.

The format is that of pg_backup_archiver.c and pg_backup_custom.c, archive versions 1.14 (PostgreSQL 14, 15),
1.15 (16) and 1.16 (17, 18). Anything unexpected leaves the archive as it is, which is slower and just as
right; pg_restore checks the entry's number at each offset, so that a wrong one is an error, never wrong data.
"""

from __future__ import annotations

import struct
from typing import IO, NamedTuple

VERSIONS = ((1, 14), (1, 15), (1, 16))
_MAGIC = b"PGDMP"
_CUSTOM_FORMAT = 1
_POSITION_NOT_SET, _POSITION_SET = 1, 2
_BLOCK_DATA, _BLOCK_LARGE_OBJECTS = 1, 3
_INT_BYTES, _OFFSET_BYTES = 4, 8
_TEXT_FIELDS_BEFORE_SECTION = 4  # table's OID, OID, tag, description
_END_OF_DATA = b"\0" * (1 + _INT_BYTES)
_SEARCH_BYTES = 4 * 1024 * 1024


class UnknownArchiveError(ValueError):
    """The archive is not what this module knows."""


class _Entry(NamedTuple):
    dump_id: int
    large_objects: bool
    flag_at: int


def write_offsets(file: IO[bytes]) -> int:
    """Fill in the missing offsets of an archive; returns how many, 0 when it is of another kind.

    Args:
        file: the whole archive, open for reading and writing; its position is of no matter.
    """
    try:
        entries, position = _Reader(file).entries_without_offset()
        found = _locate(file, entries, position)
    except (UnknownArchiveError, struct.error):
        return 0
    for entry, offset in zip(entries, found, strict=True):
        file.seek(entry.flag_at)
        file.write(struct.pack("<BQ", _POSITION_SET, offset))
    file.flush()
    return len(found)


class _Reader:
    """Reads numbers and texts of an archive."""

    def __init__(self, file: IO[bytes], position: int = 0) -> None:
        self._file = file
        file.seek(position)

    def take(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise UnknownArchiveError("it ends too early")
        return data

    def integer(self) -> int:
        sign, value = struct.unpack("<BI", self.take(1 + _INT_BYTES))
        return -int(value) if sign else int(value)

    def text(self) -> bytes | None:
        length = self.integer()
        return None if length < 0 else self.take(length)

    def skip(self, length: int) -> None:
        self._file.seek(length, 1)

    def position(self) -> int:
        return self._file.tell()

    def entries_without_offset(self) -> tuple[list[_Entry], int]:
        """Return the entries whose data are somewhere, in the order of their data, and where data begin."""
        version = self._header()
        entries = [self._entry(version) for _ in range(self.integer())]
        return [entry for entry in entries if entry is not None], self.position()

    def _header(self) -> tuple[int, int]:
        if self.take(len(_MAGIC)) != _MAGIC:
            raise UnknownArchiveError("not an archive")
        major, minor, _, int_bytes, offset_bytes, kind = self.take(6)
        if (major, minor) not in VERSIONS:
            raise UnknownArchiveError("another version")
        if (int_bytes, offset_bytes, kind) != (_INT_BYTES, _OFFSET_BYTES, _CUSTOM_FORMAT):
            raise UnknownArchiveError("another format")
        if (major, minor) >= (1, 15):
            self.take(1)  # algorithm of compression
        else:
            self.integer()  # its level
        for _ in range(7):
            self.integer()  # when it was made
        for _ in range(3):
            self.text()  # database, version of the server, version of pg_dump
        return major, minor

    def _entry(self, version: tuple[int, int]) -> _Entry | None:
        dump_id, _ = self.integer(), self.integer()
        texts = [self.text() for _ in range(_TEXT_FIELDS_BEFORE_SECTION)]
        self.integer()  # section
        for _ in range(6):
            self.text()  # definition, drop, copy, schema, tablespace, access method
        if version >= (1, 16):
            self.integer()  # kind of relation
        for _ in range(2):
            self.text()  # owner, "with OIDs"
        while self.text() is not None:
            pass  # dependencies
        flag_at = self.position()
        flag = self.take(1)[0]
        self.take(_OFFSET_BYTES)
        if flag != _POSITION_NOT_SET:
            return None
        return _Entry(dump_id, texts[-1] == b"BLOBS", flag_at)


def _locate(file: IO[bytes], entries: list[_Entry], position: int) -> list[int]:
    """Return where each entry's data begin: one after the other, in the order of the table of contents."""
    found = []
    for number, entry in enumerate(entries):
        reader = _Reader(file, position)
        if reader.take(len(_block_head(entry))) != _block_head(entry):
            raise UnknownArchiveError("data are not where they must be")
        found.append(position)
        if number + 1 == len(entries):
            break
        if entry.large_objects:
            position = _after_large_objects(reader)
        else:
            position = _find(file, reader.position(), _END_OF_DATA + _block_head(entries[number + 1]))
            position += len(_END_OF_DATA)
    return found


def _block_head(entry: _Entry) -> bytes:
    kind = _BLOCK_LARGE_OBJECTS if entry.large_objects else _BLOCK_DATA
    return struct.pack("<BBI", kind, 0, entry.dump_id)


def _after_large_objects(reader: _Reader) -> int:
    """Walk through the blocks, since large objects may hold any bytes."""
    while reader.integer() != 0:
        while length := reader.integer():
            reader.skip(length)
    return reader.position()


def _find(file: IO[bytes], position: int, pattern: bytes) -> int:
    """Return where ``pattern`` is; COPY's text holds no zero byte, so five of them are the end of a table."""
    file.seek(position)
    kept = b""
    while chunk := file.read(_SEARCH_BYTES):
        window = kept + chunk
        at = window.find(pattern)
        if at >= 0:
            return position - len(kept) + at
        position += len(chunk)
        kept = window[-(len(pattern) - 1) :]
    raise UnknownArchiveError("the next table's data are missing")
