"""When a flag falls back by itself: for errors, and never for noise, quiet or a reset of the counters."""

from __future__ import annotations

import itertools
import random

import pytest
from sqlalchemy.engine import make_url

from lockkeeper.errors import ConnectionLostError, DatabaseError, FlagRevertedError
from lockkeeper.flags import ramp as ramps
from lockkeeper.flags.ramp import Ramp, RampPolicy
from lockkeeper.flags.shares import LEAST, Counters, RollbackShares


class Server:
    """The counters of a database with an application, second by second."""

    def __init__(self, shares: RollbackShares) -> None:
        self.shares, self.at_s, self.counters = shares, 0.0, Counters(0, 0)

    def pass_(self, good: int, bad: int) -> tuple[float, Counters]:
        self.at_s += 1
        self.counters = Counters(self.counters.committed + good, self.counters.rolled_back + bad)
        return self.at_s, self.counters

    def before(self, seconds: int, good: int, bad: int) -> None:
        for _ in range(seconds):
            self.shares.learn(*self.pass_(good, bad))

    def after(self, seconds: int, good: int, bad: int) -> list[str]:
        seen = [self.shares.judge(*self.pass_(good, bad)) for _ in range(seconds)]
        return [problem for problem in seen if problem]


@pytest.fixture
def server() -> Server:
    return Server(RollbackShares(limit=0.01))


def test_errors_after_the_flip_are_told_after_two_windows(server: Server) -> None:
    server.before(6, 100, 0)
    assert server.after(5, 90, 10) == [], "one window alone is no problem"
    assert server.after(2, 90, 10) == ["10.0% of the transactions failed (0.0% before)"]


def test_an_application_whose_reads_end_with_a_rollback_is_not_broken_but_may_break(server: Server) -> None:
    server.before(6, 60, 40)
    assert server.after(60, 58, 42) == []
    assert server.after(7, 20, 80) != []


def test_one_bad_window_is_forgotten(server: Server) -> None:
    server.before(6, 100, 0)
    for _ in range(5):
        assert server.after(3, 50, 50) == []
        assert server.after(3, 100, 0) == []


@pytest.mark.parametrize("seed", range(20))
def test_sessions_that_report_in_lumps_are_no_errors(server: Server, seed: int) -> None:
    """One process rolls its reads back, the other never; each reports what it did now and then."""
    chance, kept = random.Random(seed), {"good": 0, "bad": 0}

    def second() -> tuple[float, Counters]:
        kept["good"] += 60
        kept["bad"] += 40
        told = {one: count if count > 60 or chance.random() < 0.5 else 0 for one, count in kept.items()}
        kept.update({one: kept[one] - told[one] for one in kept})
        return server.pass_(**told)

    for _ in range(6):
        server.shares.learn(*second())
    assert [told for _ in range(60) if (told := server.shares.judge(*second()))] == []


def test_few_transactions_say_nothing_and_are_kept_for_the_next_look(server: Server) -> None:
    server.before(6, 100, 0)
    assert server.after(LEAST // 10 - 1, 0, 10) == []
    assert server.after(LEAST // 10 + 2, 0, 10) != []


def test_an_application_that_was_quiet_before_is_held_against_its_past(server: Server) -> None:
    server.counters = Counters(700_000, 300_000)
    server.before(6, 1, 0)
    assert server.after(30, 70, 30) == []
    assert server.after(10, 10, 90) != []


def test_counters_that_were_reset_are_no_errors(server: Server) -> None:
    server.before(6, 1_000, 0)
    server.counters = Counters(0, 0)
    assert server.after(20, 100, 1) == []


@pytest.mark.parametrize(("error", "patience_s"), [(ConnectionLostError("gone", "57P03"), 30.0), (None, 0.0)])
def test_a_probe_without_an_answer_is_no_error_of_the_application_until_it_lasts(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, patience_s: float
) -> None:
    clock = itertools.count()
    times: list[float] = []

    def now() -> float:
        times.append(float(next(clock)))
        return times[-1]

    class Silent:
        def learn(self) -> None:
            pass

        def problem(self) -> str | None:
            raise error or DatabaseError("no such table", "42P01")

    ramp = Ramp(make_url("postgresql://"), "flag", "ana", RampPolicy(observe_s=1), [Silent()])
    monkeypatch.setattr(ramps.time, "monotonic", now)
    monkeypatch.setattr(ramps.time, "sleep", lambda _s: None)
    monkeypatch.setattr(Ramp, "current", lambda _ramp: 0)
    with pytest.raises(FlagRevertedError, match="could not be told"):
        ramp.watch(0)
    assert times[-1] >= patience_s
    assert patience_s or times[-1] < 12, "what will not pass is not waited for"
