"""A backfill leaves the server to the application while there is one, and uses all of it alone."""

from __future__ import annotations

import pytest

from lockkeeper.backfill.steering import EFFICIENT_ROWS, LEAST_ROWS, Steering
from lockkeeper.backfill.throttle import BESIDE_BATCH_MS, BESIDE_ROWS, MOST_REST_S, Throttle
from lockkeeper.backfill.vacuuming import LEAST_ROWS as VACUUM_ROWS
from lockkeeper.backfill.vacuuming import Vacuuming
from lockkeeper.errors import ConfigurationError


@pytest.mark.parametrize(("share", "workers", "rest_s"), [(10, 1, 0.09), (50, 1, 0.01), (50, 2, 0.03)])
def test_all_workers_together_keep_to_the_share_beside_others(
    share: float, workers: int, rest_s: float
) -> None:
    found = Throttle(share_percent=share).rest_s(0.01, workers, beside=True)
    assert found == pytest.approx(rest_s)
    assert workers * 0.01 / (0.01 + found) == pytest.approx(share / 100)


def test_alone_it_rests_only_as_long_as_it_was_told_to() -> None:
    assert Throttle().rest_s(0.05, 1, beside=False) == 0
    assert Throttle(pause_ms=100).rest_s(0.05, 1, beside=False) == 0.1


def test_a_pause_that_was_asked_for_is_kept_beside_others_too() -> None:
    assert Throttle(share_percent=100, pause_ms=100).rest_s(0.05, 1, beside=True) == 0.1


def test_a_batch_that_waited_long_for_a_lock_is_not_followed_by_minutes_of_rest() -> None:
    assert Throttle(share_percent=1).rest_s(60, 1, beside=True) == MOST_REST_S


def test_batches_are_short_beside_others_and_as_long_as_allowed_alone() -> None:
    limits = Throttle(batch_ms=50)
    assert limits.batch_budget_ms(beside=True) == BESIDE_BATCH_MS
    assert limits.batch_budget_ms(beside=False) == 50
    assert Throttle(batch_ms=2).batch_budget_ms(beside=True) == 2
    assert Throttle(share_percent=100).batch_budget_ms(beside=True) == 50


def test_batches_beside_others_may_be_smaller_than_those_that_are_cheapest() -> None:
    assert Throttle().least_rows(beside=True) == BESIDE_ROWS < EFFICIENT_ROWS
    assert Throttle().least_rows(beside=False) == EFFICIENT_ROWS
    assert Throttle(share_percent=100).least_rows(beside=True) == EFFICIENT_ROWS
    steering = Steering(10_000, 10_000, 50.0, firm_ms=50.0)
    steering.limit(10_000, BESIDE_BATCH_MS, 50.0, BESIDE_ROWS)
    for _ in range(10):
        steering.took(steering.rows, elapsed_ms=20.0)
    assert steering.rows == BESIDE_ROWS


@pytest.mark.parametrize("share", [0, -1, 100.5])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match="share_percent"):
        Throttle.from_values({"share_percent": share})


def test_batches_shrink_to_a_new_budget_within_a_few_batches() -> None:
    steering = Steering(10_000, 10_000, 50.0)
    steering.limit(10_000, 5.0, 50.0, EFFICIENT_ROWS)
    for _ in range(3):
        steering.took(steering.rows, elapsed_ms=steering.rows * 0.005)
    assert steering.rows * 0.005 <= 5.0


def test_on_a_busy_machine_batches_do_not_shrink_to_rows_that_never_get_on() -> None:
    steering = Steering(1_000, 10_000, 5.0, firm_ms=50.0)
    for _ in range(10):
        steering.took(steering.rows, elapsed_ms=20.0)
    assert steering.rows == EFFICIENT_ROWS


def test_rows_that_are_slow_themselves_still_shrink_a_batch_to_its_bound() -> None:
    steering = Steering(1_000, 10_000, 5.0, firm_ms=50.0)
    for _ in range(10):
        steering.took(steering.rows, elapsed_ms=float(steering.rows))
    assert steering.rows <= 50


def test_batches_grow_no_faster_than_by_half_and_never_beyond_their_bound() -> None:
    steering = Steering(1_000, 1_400, 50.0)
    steering.took(1_000, elapsed_ms=1.0)
    assert steering.rows == 1_400
    steering = Steering(1_000, 10_000, 50.0)
    steering.took(1_000, elapsed_ms=1.0)
    assert steering.rows == 1_500


def test_a_batch_that_fails_is_halved_until_rows_are_tried_one_by_one() -> None:
    steering, sizes = Steering(1_000, 10_000, 50.0), []
    while steering.failed(steering.rows):
        sizes.append(steering.rows)
    assert sizes == [500, 250, 125, 62, 31, LEAST_ROWS]


class _Statements:
    """Takes a session's place: nothing is old, and every statement is written down."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def rows(self, sql: str) -> list[tuple[object]]:
        return [(False,)] if "pg_replication_slots" in sql else [("7",)]

    def run(self, sql: str) -> int:
        self.ran.append(sql)
        return 0


@pytest.mark.parametrize("gently", [True, False])
def test_vacuum_is_gentle_only_beside_others_and_leaves_the_session_as_it_was(gently: bool) -> None:
    session = _Statements()
    vacuuming = Vacuuming(session, "public.items", 100_000)  # type: ignore[arg-type]
    assert not vacuuming.after(VACUUM_ROWS - 1, 20.0, gently=gently)
    assert vacuuming.after(1, 20.0, gently=gently)
    assert [sql.split()[0] for sql in session.ran] == (["SET", "VACUUM", "RESET"] if gently else ["VACUUM"])
