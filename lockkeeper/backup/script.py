r"""Takes pg_dump's script of a database's data apart while it is read: SQL, and COPY with its rows.

The script is psql's language as pg_dump writes it (pg_backup_archiver.c): SQL statements, and after each
``COPY ... FROM stdin;`` rows in COPY's text format up to a line ``\.``. No row can be that line, since COPY
doubles backslashes. Of psql's own commands only \restrict and \unrestrict occur; others are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lockkeeper.errors import BackupError

PIECE_BYTES = 1024 * 1024
_END_OF_ROWS = b"\\.\n"
_SETTINGS = (b"SET ", b"SELECT pg_catalog.set_config(")
_HARMLESS = (b"--", b"\\restrict ", b"\\unrestrict ")


class Rows(NamedTuple):
    """Whole rows of one COPY; ``number`` tells the script's COPY statements apart."""

    number: int
    copy: bytes
    text: bytes


class Setting(NamedTuple):
    """A statement that every session needs before it takes rows, such as the encoding of the dump."""

    text: bytes


class Statement(NamedTuple):
    """SQL to be run once, in order: a sequence's position, or a part of the large objects."""

    text: bytes


class _Buffer:
    """The script from where it has been read to.

    What was read stays where it is until the next chunk comes: a chunk can be a hundred pieces long, and
    moving the rest down after each of them would cost more than all the rest.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = b""
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def fill(self) -> bool:
        """Append the next chunk; False at the end."""
        chunk = next(self._chunks, None)
        if chunk:
            self._data, self._at = self._data[self._at :] + chunk, 0
        return chunk is not None

    def startswith(self, text: bytes) -> bool:
        return self._data.startswith(text, self._at)

    def find(self, text: bytes, within: int) -> int:
        """Return where ``text`` is wholly within the next ``within`` bytes, or -1."""
        return max(self._data.find(text, self._at, self._at + within) - self._at, -1)

    def rfind(self, text: bytes, within: int) -> int:
        """Return where ``text`` is for the last time within the next ``within`` bytes, or -1."""
        return max(self._data.rfind(text, self._at, self._at + within) - self._at, -1)

    def take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        self._at += len(taken)
        return taken

    def line(self) -> bytes:
        """Take one line with its end; empty at the end of the script."""
        while (end := self.find(b"\n", len(self))) < 0:
            if not self.fill():
                return self.take(len(self))
        return self.take(end + 1)


def script_parts(chunks: Iterable[bytes]) -> Iterator[Rows | Setting | Statement]:
    """Yield the script's parts in order, rows in pieces of about ``PIECE_BYTES``.

    Raises:
        BackupError: the script ends among a table's rows, or is not one of pg_dump's.
    """
    buffer, number, sql = _Buffer(chunks), 0, b""
    while line := buffer.line():
        if line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            if sql:
                yield Statement(sql)
            number, sql = number + 1, b""
            yield from (Rows(number, line, rows) for rows in _rows(buffer))
        elif not sql and line.startswith(_SETTINGS):
            yield Setting(line)
        elif not sql and line.startswith(b"\\") and not line.startswith(_HARMLESS):
            raise BackupError(f"pg_dump's script has an unknown command: {line[:40]!r}")
        elif line.strip() and not line.startswith(_HARMLESS):
            sql += line
            if line.endswith(b";\n") and len(sql) > PIECE_BYTES:
                yield Statement(sql)
                sql = b""
    if sql:
        yield Statement(sql)


def _rows(buffer: _Buffer) -> Iterator[bytes]:
    """Yield a table's rows and take the line that ends them."""
    while not buffer.startswith(_END_OF_ROWS):
        # looked for from the first row's end on, and far enough to see an end that begins in this piece
        end = buffer.find(b"\n" + _END_OF_ROWS, PIECE_BYTES + len(_END_OF_ROWS)) + 1
        whole = end or buffer.rfind(b"\n", PIECE_BYTES) + 1
        if whole and (end or len(buffer) >= PIECE_BYTES):
            yield buffer.take(whole)
        elif not whole and (longer := buffer.find(b"\n", len(buffer)) + 1):
            yield buffer.take(longer)
        elif not buffer.fill():
            raise BackupError("pg_dump's script ends among a table's rows.")
    buffer.take(len(_END_OF_ROWS))
