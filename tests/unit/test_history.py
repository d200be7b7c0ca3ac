"""History of looks: every sample is read once, whoever writes beside and wherever a writer dies."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from lockkeeper.errors import StorageError
from lockkeeper.monitoring import history
from lockkeeper.monitoring.history import Sample, keep_sample, read_samples, sample_of
from lockkeeper.monitoring.readings import Look
from lockkeeper.storage import Storage, StoredObject
from lockkeeper.storage.local import LocalStorage
from tests.unit.test_metrics import a_look

START = datetime(2026, 11, 1, 3, 0, tzinfo=timezone.utc)
FOREVER = 10_000.0


def a_sample(number: int, **values: object) -> Sample:
    fields = {
        "connections": 7, "connections_max": 100, "active": 2, "waits": 0, "longest_wait_s": 0.0,
        "longest_transaction_s": 0.0, **values,
    }  # fmt: skip
    return Sample(at=START + timedelta(minutes=number), id=f"s{number}", **fields)


class MemoryStorage(LocalStorage):
    """A storage as far as the history asks for one; no disk is waited for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_bytes(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def get_bytes(self, key: str) -> bytes:
        if key not in self.objects:
            raise StorageError(f"{key} is not there", key)
        return self.objects[key]

    def list(self, prefix: str) -> list[StoredObject]:
        return [StoredObject(key, len(self.objects[key])) for key in sorted(self.objects) if prefix in key]

    def exists(self, key: str) -> bool:
        return key in self.objects

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack sooner, so that all tiers are played in a moment."""
    monkeypatch.setattr(
        history, "_PACKED_INTO", {history.LOOKS: (3, history.HOURS), history.HOURS: (2, history.DAYS)}
    )


def ids(storage: Storage, since: datetime = START) -> list[str]:
    return [sample.id for sample in read_samples(storage, "shop", since)]


def expected(*numbers: int) -> list[str]:
    return [f"s{number}" for number in numbers]


def test_a_look_is_kept_as_it_was_and_what_was_not_seen_stays_unknown(storage) -> None:
    look = a_look()
    kept = sample_of(look)
    keep_sample(storage, "shop", kept, FOREVER)
    assert read_samples(storage, "shop", START) == [kept]
    assert (kept.size_bytes, kept.tables, kept.waits, kept.longest_wait_s) == (1000, {"public.t": 20}, 2, 2.5)
    assert (kept.commits, kept.wal_bytes, kept.dead_rows, kept.slot_bytes) == (50, 12345, 4, 99)
    blind = sample_of(Look(look.activity))
    assert (blind.size_bytes, blind.dead_rows, blind.lag_bytes) == (None, None, None)


def test_two_days_of_looks_are_packed_into_few_objects_and_none_is_lost(storage) -> None:
    for number in range(2 * 1440):
        keep_sample(storage, "shop", a_sample(number), FOREVER)
    assert ids(storage) == expected(*range(2 * 1440))
    tiers = [len(storage.list(f"shop/monitor/history/{tier}/")) for tier in ("looks", "hours", "days")]
    assert tiers[0] <= 61
    assert tiers[1] <= 25
    assert tiers[2] == 1


def test_samples_older_than_the_policy_are_gone_with_the_next_pack(storage, small) -> None:
    for number in range(40):
        keep_sample(storage, "shop", a_sample(number * 1440), 10)
    kept = read_samples(storage, "shop", START)
    assert kept[-1].at - kept[0].at <= timedelta(days=16)  # the newest in a pack decides for it
    assert [one.id for one in kept] == expected(*(1440 * n for n in range(40 - len(kept), 40)))
    assert 10 <= len(kept) <= 17


def test_only_what_was_asked_for_is_read(storage, small) -> None:
    for number in range(20):
        keep_sample(storage, "shop", a_sample(number), FOREVER)
    assert ids(storage, START + timedelta(minutes=17)) == expected(17, 18, 19)


class Killed(BaseException):
    """The process is gone."""


class DyingStorage(MemoryStorage):
    """Dies at the chosen call that changes something, before it or after it."""

    def __init__(self, calls_left: int, *, after: bool) -> None:
        super().__init__()
        self.left, self._after = calls_left, after

    def _change(self) -> bool:
        self.left -= 1
        if self.left == -1 and not self._after:
            raise Killed
        return self.left == -1

    def put_bytes(self, key: str, data: bytes) -> None:
        dies = self._change()
        super().put_bytes(key, data)
        if dies:
            raise Killed

    def delete(self, key: str) -> None:
        dies = self._change()
        super().delete(key)
        if dies:
            raise Killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_writer_killed_at_any_change_loses_and_doubles_nothing(small, after) -> None:
    deaths = 0
    for calls in range(40):
        storage = DyingStorage(calls, after=after)
        written = 0
        try:
            for written in range(12):
                keep_sample(storage, "shop", a_sample(written), FOREVER)
        except Killed:
            deaths += 1
            assert ids(storage) in (expected(*range(written)), expected(*range(written + 1)))
        storage.left = 10_000  # another process goes on
        for number in range(20, 40):
            keep_sample(storage, "shop", a_sample(number), FOREVER)
        found = ids(storage)
        assert found[-20:] == expected(*range(20, 40))
        assert len(set(found)) == len(found) >= written + 20
    assert deaths >= 25


def test_two_writers_at_once_lose_and_double_nothing_and_readers_miss_nothing(tmp_path, small) -> None:
    storage = LocalStorage(tmp_path)
    ended = threading.Event()
    failures: list[BaseException] = []

    def write(numbers: range) -> None:
        try:
            for number in numbers:
                keep_sample(storage, "shop", a_sample(number), FOREVER)
        except BaseException as error:
            failures.append(error)
            raise

    def read() -> None:
        seen: list[str] = []
        while not ended.is_set():
            now = ids(storage)
            if not set(seen) <= set(now) or len(set(now)) != len(now):
                failures.append(AssertionError(f"{set(seen) - set(now)} had been there"))
            seen = now

    writers = [threading.Thread(target=write, args=(range(first, 120, 2),)) for first in (0, 1)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    assert failures == []
    assert ids(storage) == expected(*range(120))


def test_samples_in_no_order_are_read_by_time(storage, small) -> None:
    numbers = list(range(30))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        keep_sample(storage, "shop", a_sample(number), FOREVER)
    assert ids(storage) == expected(*range(30))


def damaged(storage: Storage) -> Iterator[tuple[str, str]]:
    good = "shop/monitor/history/looks/20261101T030000.000000Z_20261101T030000.000000Z_x.jsonl.gz"
    storage.put_bytes(good, b"no gzip")
    yield good, "is not a monitor's history"
    storage.delete(good)
    strange = "shop/monitor/history/days/mine.jsonl.gz"
    storage.put_bytes(strange, b"")
    yield strange, "is not named as"


def test_an_object_that_cannot_be_read_is_named(storage) -> None:
    for key, problem in damaged(storage):
        with pytest.raises(StorageError, match=problem) as caught:
            read_samples(storage, "shop", START)
        assert caught.value.key == key
