"""What was flushed is read again, in order; a torn end never is; a missing piece is noticed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lockkeeper.errors import DecodingError
from lockkeeper.recovery.spool import (
    SpoolReader,
    SpoolWriter,
    segment_numbers,
    segment_path,
    segment_to_resume_at,
    spool_bytes,
)


def begin(number: int) -> bytes:
    return b"B" + struct.pack(">QqI", number, 0, number)


def write(spool: SpoolWriter, *numbers: int, changes: int = 1) -> None:
    for number in numbers:
        spool.append(begin(number))
        for change in range(changes):
            spool.append(b"I%d.%d" % (number, change))
        spool.commit(b"C%d" % number, number)


def changes(reader: SpoolReader) -> list[bytes]:
    return [each for block in reader.available() for each in block.messages() if each[:1] == b"I"]


def test_flushed_transactions_are_read_in_order_across_segments(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=200)
    reader = SpoolReader(tmp_path)
    for number in range(1, 30):
        write(spool, number)
        spool.flush()
        if number % 7 == 0:
            assert changes(reader)[-1] == b"I%d.0" % number
    assert len(segment_numbers(tmp_path)) > 3
    assert changes(SpoolReader(tmp_path)) == [b"I%d.0" % number for number in range(1, 30)]
    assert changes(reader) == [b"I29.0"]
    assert spool_bytes(tmp_path) > 400


@pytest.mark.parametrize("torn_bytes", [1, 9, 24, 30])
def test_a_torn_end_is_cut_back_to_the_last_complete_transaction(tmp_path: Path, torn_bytes: int) -> None:
    spool = SpoolWriter(tmp_path)
    write(spool, 1, 2)
    spool.flush()
    write(spool, 3)
    spool.flush()
    spool.close()
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-torn_bytes])
    again = SpoolWriter(tmp_path)
    assert again.end_lsn == 2
    write(again, 3)
    again.flush()
    assert changes(SpoolReader(tmp_path)) == [b"I1.0", b"I2.0", b"I3.0"]


def test_a_transaction_without_its_end_is_cut_however_many_segments_it_has_filled(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=100)
    write(spool, 1)
    spool.flush()
    spool.append(begin(2))
    for number in range(20):
        spool.append(b"I2.%d" % number)
        spool.flush()
    reader = SpoolReader(tmp_path)
    assert len(changes(reader)) == 21
    spool.close()
    again = SpoolWriter(tmp_path, segment_bytes=100)
    assert again.end_lsn == 1
    write(again, 2, changes=3)
    again.flush()
    assert changes(SpoolReader(tmp_path)) == [b"I1.0", b"I2.0", b"I2.1", b"I2.2"]
    # Who had read the part that was cut reads it again, in full, behind a new beginning.
    messages = [each for block in reader.available() for each in block.messages()]
    assert messages[0] == begin(2)


def test_a_missing_or_damaged_segment_is_noticed(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=60)
    for number in (1, 2, 3):
        write(spool, number)
        spool.flush()
    segment_path(tmp_path, 2).unlink()
    with pytest.raises(DecodingError, match="missing"):
        changes(SpoolReader(tmp_path))
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DecodingError, match="damaged"):
        changes(SpoolReader(tmp_path))


def test_each_segment_repeats_the_relations_and_can_be_resumed_at(tmp_path: Path) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=80)
    spool.append(b"R\0\0\0\1first")
    for number in (10, 20, 30):
        write(spool, number)
        spool.flush()
    number = segment_to_resume_at(tmp_path, 20)
    assert number is not None
    assert number > 1
    messages = [each for block in SpoolReader(tmp_path, number).available() for each in block.messages()]
    assert messages[0] == b"R\0\0\0\1first"
    assert begin(30) in messages
    assert segment_to_resume_at(tmp_path, 0) == 1
