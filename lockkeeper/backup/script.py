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
    """The script from where it has been read to."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.data = b""

    def fill(self) -> bool:
        """Append the next chunk; False at the end."""
        chunk = next(self._chunks, None)
        self.data += chunk or b""
        return chunk is not None

    def take(self, length: int) -> bytes:
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def line(self) -> bytes:
        """Take one line with its end; empty at the end of the script."""
        while b"\n" not in self.data:
            if not self.fill():
                return self.take(len(self.data))
        return self.take(self.data.index(b"\n") + 1)


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
    while not buffer.data.startswith(_END_OF_ROWS):
        end = buffer.data.find(b"\n" + _END_OF_ROWS) + 1  # where the last row ends, if it is here
        if end or len(buffer.data) >= PIECE_BYTES:
            length = min(end, PIECE_BYTES) if end else PIECE_BYTES
            whole = buffer.data.rfind(b"\n", 0, length) + 1
            if whole:
                yield buffer.take(whole)
                continue
            if end:
                yield buffer.take(buffer.data.index(b"\n") + 1)
                continue
        if not buffer.fill():
            raise BackupError("pg_dump's script ends among a table's rows.")
    buffer.take(len(_END_OF_ROWS))
