"""What a backfill decides without a database: sizes of batches, shares of pages, limits, halving."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from lockkeeper.backfill.batches import Fault, Work, fill
from lockkeeper.backfill.steering import EFFICIENT_ROWS, LEAST_ROWS, Steering
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.backfill.walks import Key, KeyWalk, PageWalk, Place, Row
from lockkeeper.errors import ConfigurationError
from lockkeeper.online.session import Session


class Refused(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate
        super().__init__(sqlstate)


class FakeSession:
    """Rows are numbers; an UPDATE whose range holds a bad one fails."""

    lock_timeout_ms = 20

    def __init__(self, bad: set[int], sqlstate: str = "23514") -> None:
        self.bad, self.sqlstate = bad, sqlstate
        self.updates: list[str] = []
        self.filled: set[int] = set()
        self.fine: tuple[str, ...] = ()

    def limits(self, *_: int) -> str:
        return "limits"

    def run(self, sql: str) -> int:
        if not sql.startswith("UPDATE"):
            return 0
        self.updates.append(sql)
        low, high = (int(each) for each in sql.split("WHERE ")[1].split(" AND ")[0].split(".."))
        rows = set(range(low, high)) - self.filled
        if any(f"AND {share} AND" in sql for share in self.fine):
            rows = set()
        if rows & self.bad:
            raise OperationalError(sql, None, cast(Any, Refused(self.sqlstate)))
        self.filled |= rows
        return len(rows)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        yield


class Numbers:
    """A walk over the numbers below ``end``."""

    table = "numbers"

    def __init__(self, end: int, shares: tuple[str, ...] = ("",)) -> None:
        self.end, self.shares = end, shares

    def bound(self, after: Place | None, rows: int, _: str | None) -> Place | None:
        first = int(after[0]) if after else 0
        return (str(min(self.end, first + rows)),) if first < self.end else None

    def condition(self, after: Place | None, upto: Place) -> str:
        return f"{after[0] if after else 0}..{upto[0]}"

    def rows(self, after: Place | None, upto: Place, _: str) -> list[Row]:
        first = int(after[0]) if after else 0
        return [Row((str(n),), f"{n}..{n + 1}", f"n = {n}") for n in range(first, int(upto[0]))]

    def row(self, place: Place) -> Row:
        raise NotImplementedError

    def shown(self, after: Place | None, upto: Place) -> str:
        raise NotImplementedError


class Notes:
    """A keeper that notes everything."""

    def __init__(self) -> None:
        self.cursors: list[Place | None] = []
        self.parked: list[tuple[str, Fault]] = []
        self.written = 0

    def keep(self, place: Place | None, _: int) -> None:
        self.cursors.append(place)

    def park(self, row: Row, fault: Fault) -> None:
        self.parked.append((row.shown, fault))

    def between(self, written: int) -> None:
        self.written += written


WORK = Work("a = 1", "a IS NULL")


def run(session: FakeSession, walk: Numbers, steering: Steering) -> Notes:
    notes = Notes()
    total = fill(cast(Session, session), walk, WORK, steering, notes, None)
    assert total == notes.written == len(session.filled)
    return notes


def test_a_failing_batch_is_halved_down_to_the_row_and_the_rest_is_filled() -> None:
    session = FakeSession({137, 600})
    notes = run(session, Numbers(1_000), Steering(500, 500, 1_000.0))
    assert [shown for shown, _ in notes.parked] == ["n = 137", "n = 600"]
    assert session.filled == set(range(1_000)) - {137, 600}
    assert not notes.parked[0][1].may_pass


def test_a_locked_row_is_parked_as_one_that_may_pass() -> None:
    notes = run(FakeSession({5}, "55P03"), Numbers(20), Steering(16, 16, 1_000.0))
    assert [(shown, fault.may_pass) for shown, fault in notes.parked] == [("n = 5", True)]


@pytest.mark.parametrize("sqlstate", ["53100", "42703", "57014", "57P01"])
def test_what_is_no_rows_fault_ends_it(sqlstate: str) -> None:
    session = FakeSession({5}, sqlstate)
    with pytest.raises(OperationalError):
        fill(cast(Session, session), Numbers(20), WORK, Steering(16, 16, 1_000.0), Notes(), None)
    assert session.filled == set()


def test_shares_that_go_well_do_not_enlarge_a_range_that_fails() -> None:
    session = FakeSession({70})
    session.fine = ("one", "two")
    notes = run(session, Numbers(90, ("one", "two", "")), Steering(30, 30, 1_000.0))
    assert [shown for shown, _ in notes.parked] == ["n = 70"]


def test_the_cursor_moves_with_the_last_share_of_a_range_only() -> None:
    session = FakeSession(set())
    notes = run(session, Numbers(90, ("one", "two", "")), Steering(10, 10, 1_000.0))
    assert notes.cursors == [None, None, ("30",), ("30",), ("30",), ("60",), ("60",), ("60",), ("90",)]
    assert [sql.split(" AND ")[1] for sql in session.updates[:3]] == ["one", "two", "(a IS NULL)"]


def test_batches_fit_their_time_and_never_exceed_their_bound() -> None:
    steering = Steering(1_000, 10_000, 50.0)
    steering.took(1_000, 5.0)
    assert steering.rows == 1_500
    steering.took(1_500, 1_000.0)
    assert steering.rows == 375
    for _ in range(40):
        steering.took(steering.rows, 1.0)
    assert steering.rows == 10_000
    for _ in range(40):
        steering.took(steering.rows, 10_000.0)
    assert steering.rows == LEAST_ROWS
    assert not steering.failed(LEAST_ROWS)
    assert steering.failed(100)
    assert steering.rows == 50
    steering.limit(4, 50.0, 50.0, EFFICIENT_ROWS)
    assert steering.rows == 4


def test_keys_of_any_type_are_compared_as_what_they_are() -> None:
    key = Key(("a", '"B"'), ("text", "uuid"))
    walk = KeyWalk(cast(Session, None), "t", key)
    assert walk.condition(("it's", "0"), ("z", "1")) == (
        """(a, "B") > ('it''s'::text, '0'::uuid) AND (a, "B") <= ('z'::text, '1'::uuid)"""
    )
    assert walk.row(("x", "1")).shown == 'a = x, "B" = 1'
    assert walk.shares == ("",)


def test_pages_end_where_the_table_ended_at_the_start() -> None:
    walk = PageWalk(cast(Session, None), "t", 100, 50.0)
    assert walk.bound(None, 2_000, None) == ("40",)
    assert walk.bound(("90",), 2_000, None) == ("100",)
    assert walk.bound(("100",), 2_000, None) is None
    assert walk.bound(None, 1, None) == ("1",)
    assert walk.condition(("40",), ("80",)) == "ctid >= '(40,0)'::tid AND ctid < '(80,0)'::tid"
    assert walk.shares[-1] == ""
    assert all("hashtid(ctid)" in share for share in walk.shares[:-1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_rows": 0}, "must be positive"),
        ({"pause_ms": -1}, "not negative"),
        ({"on_failing_row": "ignore"}, "'park' or 'stop'"),
        ({"metric_sql": "SELECT 1"}, "max_metric"),
        ({"metric_url": "file:///etc/passwd", "max_metric": 1}, "http"),
        ({"speed": 1}, "no speed"),
    ],
)
def test_limits_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Throttle.from_values(values)
