"""Reads the messages of PostgreSQL's logical replication protocol, version 1, as pgoutput sends them.

Written from the manual's chapter "Logical Replication Message Formats" (the same in 14 to 18). Values are in
text format and stay bytes: whoever applies them hands them on as text. What is not known here is refused,
never skipped: a message that is misread would be a write that is lost.

Messages inside of streamed or two-phase transactions are not among them, since the capture asks for neither.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Final, Literal, NamedTuple

from lockkeeper.errors import DecodingError

BEGIN, COMMIT, ORIGIN, RELATION, TYPE = b"BCORY"
INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE = b"IUDTM"

_KEY, _OLD, _NEW = b"KON"
_NULL, _UNCHANGED, _TEXT = b"nut"
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_COLUMN = struct.Struct(">Ii")
_LENGTH = struct.Struct(">I")


class Unchanged(Enum):
    """The type of ``UNCHANGED``."""

    TOAST = "unchanged"


UNCHANGED: Final = Unchanged.TOAST
"""Stands for a value out of line that an update left as it was, and that is therefore not sent."""

Value = bytes | None | Literal[Unchanged.TOAST]
Values = list[Value]


class Begin(NamedTuple):
    """A transaction starts. ``commit_lsn`` is the position of its commit."""

    commit_lsn: int
    committed_at: datetime
    xid: int


class Commit(NamedTuple):
    """A transaction ends; ``end_lsn`` is where the next one can begin."""

    commit_lsn: int
    end_lsn: int
    committed_at: datetime


class Origin(NamedTuple):
    """The transaction was replicated, or marked by its session, under this name."""

    name: str


class RelationColumn(NamedTuple):
    """A published column; ``is_key`` says that it belongs to the replica identity."""

    name: str
    type_oid: int
    typmod: int
    is_key: bool


class Relation(NamedTuple):
    """What a table looked like when the changes after this message were made."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class TypeName(NamedTuple):
    """The name of a type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    """A new row."""

    relation: int
    new: Values


class Update(NamedTuple):
    """A changed row. ``old`` is whole (REPLICA IDENTITY FULL), or only a key that changed, or None."""

    relation: int
    old: Values | None
    old_is_whole: bool
    new: Values


class Delete(NamedTuple):
    """A row that is gone; without REPLICA IDENTITY FULL only its key columns are filled."""

    relation: int
    old: Values
    old_is_whole: bool


class Truncate(NamedTuple):
    """Tables emptied by one statement, those that CASCADE reached included (where they are published)."""

    relations: tuple[int, ...]
    cascade: bool
    restart_sequences: bool


class Message(NamedTuple):
    """What somebody wrote into the log with ``pg_logical_emit_message``."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


def moment(microseconds: int) -> datetime:
    """Turn PostgreSQL's microseconds since 2000 into a time, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def parse_begin(data: bytes) -> Begin:
    """Read a Begin message."""
    commit_lsn, microseconds, xid = _BEGIN.unpack_from(data, 1)
    return Begin(commit_lsn, moment(microseconds), xid)


def parse_commit(data: bytes) -> Commit:
    """Read a Commit message."""
    _flags, commit_lsn, end_lsn, microseconds = _COMMIT.unpack_from(data, 1)
    return Commit(commit_lsn, end_lsn, moment(microseconds))


def parse_origin(data: bytes) -> Origin:
    """Read an Origin message."""
    return Origin(_string(data, 9)[0])


def parse_relation(data: bytes) -> Relation:
    """Read a Relation message."""
    (oid,) = _LENGTH.unpack_from(data, 1)
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    identity = chr(data[at])
    count = int.from_bytes(data[at + 1 : at + 3], "big")
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        column, at = _string(data, at + 1)
        type_oid, typmod = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        columns.append(RelationColumn(column, type_oid, typmod, bool(flags & 1)))
    # pg_catalog is sent as an empty name.
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def parse_type(data: bytes) -> TypeName:
    """Read a Type message."""
    (oid,) = _LENGTH.unpack_from(data, 1)
    schema, at = _string(data, 5)
    return TypeName(oid, schema or "pg_catalog", _string(data, at)[0])


def parse_insert(data: bytes) -> Insert:
    """Read an Insert message; raises DecodingError when it is not one."""
    _expect(data, 5, _NEW)
    return Insert(_LENGTH.unpack_from(data, 1)[0], _values(data, 6)[0])


def parse_update(data: bytes) -> Update:
    """Read an Update message; raises DecodingError when it is not one."""
    (relation,) = _LENGTH.unpack_from(data, 1)
    kind, at = data[5], 6
    old: Values | None = None
    if kind in (_KEY, _OLD):
        old, at = _values(data, 6)
        _expect(data, at, _NEW)
        at += 1
    else:
        _expect(data, 5, _NEW)
    return Update(relation, old, kind == _OLD, _values(data, at)[0])


def parse_delete(data: bytes) -> Delete:
    """Read a Delete message; raises DecodingError when it is not one."""
    kind = data[5]
    if kind not in (_KEY, _OLD):
        raise DecodingError(f"unexpected kind of old row {kind:#x} in a delete")
    return Delete(_LENGTH.unpack_from(data, 1)[0], _values(data, 6)[0], kind == _OLD)


def parse_truncate(data: bytes) -> Truncate:
    """Read a Truncate message."""
    (count,) = _LENGTH.unpack_from(data, 1)
    relations = struct.unpack_from(f">{count}I", data, 6)
    return Truncate(relations, bool(data[5] & 1), bool(data[5] & 2))


def parse_message(data: bytes) -> Message:
    """Read a logical decoding message."""
    (lsn,) = struct.unpack_from(">Q", data, 2)
    prefix, at = _string(data, 10)
    (length,) = _LENGTH.unpack_from(data, at)
    return Message(bool(data[1] & 1), lsn, prefix, data[at + 4 : at + 4 + length])


def format_lsn(lsn: int) -> str:
    """Write a position as PostgreSQL does, e.g. ``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Read a position as PostgreSQL writes it."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _expect(data: bytes, at: int, kind: int) -> None:
    if data[at] != kind:
        raise DecodingError(
            f"expected {chr(kind)!r} at {at} of a {chr(data[0])!r} message, not {data[at]:#x}"
        )


def _values(data: bytes, at: int) -> tuple[Values, int]:
    """Read a TupleData. The inner loop of every replay: plain integers and slices, nothing else."""
    count = (data[at] << 8) | data[at + 1]
    at += 2
    values: Values = []
    append = values.append
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + int.from_bytes(data[at + 1 : start], "big")
            append(data[start:at])
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            at += 1
        else:
            raise DecodingError(f"unexpected kind of value {kind:#x} in a {chr(data[0])!r} message")
    if at > len(data):
        raise DecodingError(f"a {chr(data[0])!r} message is cut off")
    return values, at
