"""A flag raised step by step, watched at each, and flipped back by itself when something breaks.

    1 % -> watch -> 10 % -> watch -> 50 % -> watch -> 100 % -> watch

Where it stands is the table's own percentage: a ramp that was killed goes on there, and watches that step
again from its beginning. What is watched are ``Signal``s; one that cannot be read is not one that is fine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field, field_validator
from sqlalchemy.engine import URL

from lockkeeper.errors import FlagRevertedError, LockkeeperError, is_transient
from lockkeeper.flags.shares import WINDOW_S, Counters, RollbackShares
from lockkeeper.flags.store import age_s, ensure_flags, read_percent, set_percent
from lockkeeper.flags.switch import FlagChange, FlagHook, tell
from lockkeeper.models import Fact
from lockkeeper.postgres.connection import connect, fetch_one, fetch_value, named_query

UNREADABLE_IN_A_ROW = 3
UNREADABLE_S = 30.0  # a busy server, or one that restarts, says nothing about the application
BASELINE_LOOKS = 5
SUMMARY_S = 2.0
Progress = Callable[[str], None]


class RampPolicy(Fact):
    """How fast a flag rises and what makes it fall again."""

    percents: tuple[int, ...] = Field(default=(1, 10, 50, 100), description="The steps, the last one 100.")
    observe_s: float = Field(default=60.0, ge=0, description="How long each step is watched, in seconds.")
    sample_interval_s: float = Field(default=1.0, gt=0, description="Pause between two looks, in seconds.")
    max_error_rate: float = Field(
        default=0.01, ge=0, le=1, description="Share of failed transactions above the share before the flip."
    )
    error_rate_sql: str | None = Field(
        default=None,
        description="A query of your own that returns the application's error rate (0 to 1) as one number; "
        "default is PostgreSQL's count of rolled back transactions.",
    )

    @field_validator("percents")
    @classmethod
    def _rise_to_100(cls, percents: tuple[int, ...]) -> tuple[int, ...]:
        if not percents or percents[-1] != 100 or list(percents) != sorted(set(percents)) or percents[0] < 1:
            raise ValueError("the steps of a ramp rise and end with 100")
        return percents


class Signal(Protocol):
    """One thing that is watched."""

    def learn(self) -> None:
        """Look at how things are before anything is changed."""
        ...

    def problem(self) -> str | None:
        """Return what is broken now, in words that fit after "at 10 %", or None."""
        ...


class RolledBack:
    """The share of the database's transactions that were rolled back, against that before the change.

    PostgreSQL counts no errors, only rollbacks; how they are judged is in ``lockkeeper.flags.shares``.
    """

    def __init__(self, url: URL, limit: float, window_s: float = WINDOW_S) -> None:
        self._url = url
        self._shares = RollbackShares(limit, window_s)

    def learn(self) -> None:
        """See ``Signal``."""
        self._shares.learn(*self._look())

    def problem(self) -> str | None:
        """See ``Signal``."""
        return self._shares.judge(*self._look())

    def _look(self) -> tuple[float, Counters]:
        with connect(self._url, "observe") as connection:
            row = fetch_one(connection, named_query("transactions", "lockkeeper.flags"))
        return time.monotonic(), Counters(int(row[0]), int(row[1]))


@dataclass
class QueriedErrorRate:
    """A number that the user's own query returns, held against a limit."""

    url: URL
    query: str
    limit: float

    def learn(self) -> None:
        """See ``Signal``: the limit is the user's own, whatever was before."""

    def problem(self) -> str | None:
        """See ``Signal``."""
        with connect(self.url, "observe", statement_timeout_ms=5_000) as connection:
            rate = float(fetch_value(connection, self.query))
        return None if rate <= self.limit else f"the application's error rate is {rate:.2%}"


def settle(signal: Signal, policy: RampPolicy) -> None:
    """Look for a short while, so that the signal knows how things are before anything is changed.

    Raises:
        LockkeeperError: it cannot be read.
    """
    looks, deadline = 0, time.monotonic() + min(2 * WINDOW_S, policy.observe_s)
    while looks < BASELINE_LOOKS or time.monotonic() < deadline:
        signal.learn()
        looks += 1
        time.sleep(policy.sample_interval_s)


def error_summary(url: URL, policy: RampPolicy) -> str:
    """Say how the application fares, for somebody who is to approve; takes ``SUMMARY_S`` seconds at most."""
    with connect(url, "observe", statement_timeout_ms=5_000) as connection:
        if policy.error_rate_sql:
            return f"error rate {float(fetch_value(connection, policy.error_rate_sql)):.2%}"
        counts = []
        for pause_s in (SUMMARY_S, 0.0):
            counts.append(fetch_one(connection, named_query("transactions", "lockkeeper.flags")))
            time.sleep(pause_s)
    good, bad = (int(after) - int(before) for before, after in zip(*counts, strict=True))
    share = f", {bad / (good + bad):.1%} of them rolled back" if good + bad else ""
    return f"{(good + bad) / SUMMARY_S:,.0f} transactions/s{share}"


def error_signal(url: URL, policy: RampPolicy) -> Signal:
    """Return what the policy says errors are measured by."""
    if policy.error_rate_sql:
        return QueriedErrorRate(url, policy.error_rate_sql, policy.max_error_rate)
    return RolledBack(url, policy.max_error_rate)


@dataclass
class Ramp:
    """One flag on its way up, or back."""

    url: URL
    flag: str
    changed_by: str
    policy: RampPolicy
    signals: Sequence[Signal]
    hook: FlagHook | None = None
    say: Progress = lambda _text: None

    def flip(self, percent: int, reason: str) -> None:
        """Set the percentage now, at the external service first; can run twice."""
        change = FlagChange(self.flag, percent, self.changed_by, reason)
        if self.hook is not None:
            tell(self.hook, change)
        with connect(self.url, "flip") as connection:
            ensure_flags(connection)
            set_percent(connection, change)

    def current(self) -> int:
        """Return the percentage that applications see."""
        with connect(self.url, "flip") as connection:
            return read_percent(connection, self.flag) or 0

    def rise(self) -> None:
        """Raise the flag to 100 %, watching each step; goes on where an earlier ramp ended.

        Raises:
            FlagRevertedError: something broke; the flag is at 0 % again.
        """
        start = self.current()
        if start == 0:
            for signal in self.signals:
                settle(signal, self.policy)
            self._watch(0, 0.0)
        for percent in self.policy.percents:
            if percent < start:
                continue
            self.flip(percent, f"ramp: {percent} %")
            self.say(f"{self.flag} is at {percent} %")
            self._watch(percent, self._left_s())

    def watch(self, duration_s: float) -> None:
        """Watch the flag where it stands.

        Raises:
            FlagRevertedError: something broke; the flag is at 0 % again.
        """
        self._watch(self.current(), duration_s)

    def _left_s(self) -> float:
        """Return how long the present step is still to be watched: a ramp goes on where it was."""
        with connect(self.url, "flip") as connection:
            return max(0.0, self.policy.observe_s - age_s(connection, self.flag))

    def _watch(self, percent: int, duration_s: float) -> None:
        deadline = time.monotonic() + duration_s
        silence = _Silence()
        while True:
            problem = self._look(silence)
            if problem:
                if percent:
                    self.flip(0, f"flipped back by itself: {problem}"[:2000])
                raise FlagRevertedError(self.flag, percent, problem)
            left_s = deadline - time.monotonic()
            if left_s <= 0 and not silence.looks:
                return
            time.sleep(max(0.01, min(self.policy.sample_interval_s, left_s)))

    def _look(self, silence: _Silence) -> str | None:
        """Return the first problem; that nothing can be read is one once it has lasted."""
        try:
            for signal in self.signals:
                if problem := signal.problem():
                    return problem
        except LockkeeperError as error:
            if silence.lasts(is_transient(error)):
                return f"it could not be told whether all is well ({error})"
        else:
            silence.end()
        return None


@dataclass
class _Silence:
    """For how long no signal could be read."""

    looks: int = 0
    since: float = 0.0

    def lasts(self, passes: bool) -> bool:
        """Count one more look without an answer, and say whether it has been long enough to be a problem."""
        self.since = self.since if self.looks else time.monotonic()
        self.looks += 1
        long = not passes or time.monotonic() - self.since >= UNREADABLE_S
        return long and self.looks >= UNREADABLE_IN_A_ROW

    def end(self) -> None:
        """There was an answer."""
        self.looks = 0
