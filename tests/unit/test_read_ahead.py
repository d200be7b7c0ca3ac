"""A stream read ahead is the same stream: its pieces, its error, its early end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockkeeper.backup.read_ahead import read_ahead


def test_pieces_come_in_order():
    pieces = [bytes([number]) for number in range(200)]
    assert list(read_ahead(iter(pieces), depth=3)) == pieces
    assert list(read_ahead([])) == []


def test_the_sources_error_comes_out_after_its_pieces():
    def source() -> Iterator[bytes]:
        yield b"a"
        raise OSError("broken")

    stream = read_ahead(source())
    assert next(stream) == b"a"
    with pytest.raises(OSError, match="broken"):
        next(stream)


def test_a_consumer_that_stops_early_leaves_no_thread():
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    stream = read_ahead(endless())
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
