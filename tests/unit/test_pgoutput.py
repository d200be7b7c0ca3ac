"""The protocol's messages, built by hand from the manual, are read as what they say."""

from __future__ import annotations

import struct
from datetime import datetime, timezone

import pytest

from lockkeeper.errors import DecodingError
from lockkeeper.recovery import pgoutput
from lockkeeper.recovery.pgoutput import UNCHANGED


def row(*values: bytes | str | None) -> bytes:
    """A TupleData: bytes are text values, None is NULL, "u" stands for an unchanged one."""
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value == "u":
            parts.append(b"u")
        else:
            assert isinstance(value, bytes)
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
    return b"".join(parts)


def test_begin_and_commit_carry_positions_and_times() -> None:
    microseconds = 820_540_800_000_000
    begin = pgoutput.parse_begin(b"B" + struct.pack(">QqI", 2**40 + 1, microseconds, 77))
    assert begin == (2**40 + 1, datetime(2026, 1, 1, tzinfo=timezone.utc), 77)
    commit = pgoutput.parse_commit(b"C" + struct.pack(">BQQq", 0, 5, 9, microseconds))
    assert (commit.commit_lsn, commit.end_lsn) == (5, 9)


def test_a_relation_names_its_columns_types_and_keys() -> None:
    columns = b"\x01id\0" + struct.pack(">Ii", 23, -1) + "\x00größe\0".encode() + struct.pack(">Ii", 1043, 44)
    message = b"R" + struct.pack(">I", 16384) + b"shop\0users\0" + b"f" + struct.pack(">H", 2) + columns
    relation = pgoutput.parse_relation(message)
    assert (relation.oid, relation.schema, relation.name, relation.identity) == (16384, "shop", "users", "f")
    assert relation.columns == (("id", 23, -1, True), ("größe", 1043, 44, False))
    assert pgoutput.parse_relation(b"R" + struct.pack(">I", 1) + b"\0t\0d\0\0").schema == "pg_catalog"


def test_rows_keep_null_empty_and_unchanged_apart() -> None:
    insert = pgoutput.parse_insert(b"I" + struct.pack(">I", 9) + b"N" + row(b"1", None, b"", b"a\0b"))
    assert insert == (9, [b"1", None, b"", b"a\0b"])
    plain = pgoutput.parse_update(b"U" + struct.pack(">I", 9) + b"N" + row(b"1", "u"))
    assert plain == (9, None, False, [b"1", UNCHANGED])
    full = pgoutput.parse_update(b"U" + struct.pack(">I", 9) + b"O" + row(b"1", b"x") + b"N" + row(b"1", "u"))
    assert full == (9, [b"1", b"x"], True, [b"1", UNCHANGED])
    keyed = pgoutput.parse_update(
        b"U" + struct.pack(">I", 9) + b"K" + row(b"1", None) + b"N" + row(b"2", b"y")
    )
    assert (keyed.old, keyed.old_is_whole) == ([b"1", None], False)
    assert pgoutput.parse_delete(b"D" + struct.pack(">I", 9) + b"K" + row(b"1", None)).old == [b"1", None]


def test_truncate_origin_type_and_message_are_read() -> None:
    truncate = pgoutput.parse_truncate(b"T" + struct.pack(">IBII", 2, 3, 10, 11))
    assert truncate == ((10, 11), True, True)
    assert pgoutput.parse_origin(b"O" + struct.pack(">Q", 1) + b"elsewhere\0").name == "elsewhere"
    assert pgoutput.parse_type(b"Y" + struct.pack(">I", 5) + b"public\0mood\0") == (5, "public", "mood")
    message = pgoutput.parse_message(
        b"M\x01" + struct.pack(">Q", 8) + b"lockkeeper\0" + struct.pack(">I", 2) + b"hi"
    )
    assert message == (True, 8, "lockkeeper", b"hi")


@pytest.mark.parametrize(
    "message",
    [
        b"I" + struct.pack(">I", 9) + b"X" + row(b"1"),
        b"U" + struct.pack(">I", 9) + b"O" + row(b"1") + b"X" + row(b"1"),
        b"D" + struct.pack(">I", 9) + b"N" + row(b"1"),
        b"I" + struct.pack(">I", 9) + b"N" + struct.pack(">H", 1) + b"b" + struct.pack(">I", 1) + b"1",
        b"I" + struct.pack(">I", 9) + b"N" + row(b"cut off")[:-3],
    ],
)
def test_what_is_not_known_is_refused_and_never_guessed(message: bytes) -> None:
    parse = {"I": pgoutput.parse_insert, "U": pgoutput.parse_update, "D": pgoutput.parse_delete}
    with pytest.raises(DecodingError):
        parse[chr(message[0])](message)


def test_positions_are_written_as_postgresql_writes_them() -> None:
    assert pgoutput.format_lsn(0x16B374D848) == "16/B374D848"
    assert pgoutput.parse_lsn("16/B374D848") == 0x16B374D848
    assert pgoutput.parse_lsn(pgoutput.format_lsn(0)) == 0
