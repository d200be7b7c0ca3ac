"""A flag raised step by step, watched at each, and flipped back by itself when something breaks.

    1 % -> watch -> 10 % -> watch -> 50 % -> watch -> 100 % -> watch

Where it stands is the table's own percentage: a ramp that was killed goes on there, and watches that step
again from its beginning. What is watched are ``Signal``s; one that cannot be read is not one that is fine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field, field_validator
from sqlalchemy.engine import URL

from lockkeeper.errors import FlagRevertedError, LockkeeperError
from lockkeeper.flags.store import age_s, ensure_flags, read_percent, set_percent
from lockkeeper.flags.switch import FlagChange, FlagHook, tell
from lockkeeper.models import Fact
from lockkeeper.postgres.connection import connect, fetch_one, fetch_value, named_query

UNREADABLE_IN_A_ROW = 3
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
    """The share of transactions that were rolled back since the last look, against that before the change.

    PostgreSQL counts no errors, only rollbacks, and reads that end with a rollback, as many pools do it, are
    among them. So only twice in a row counts what exceeds the highest share before by ``limit``, by half of
    that share, and by more than chance explains (``DEVIATIONS`` standard deviations). Below ``LEAST``
    transactions a share says nothing; they are left for the next look.
    """

    LEAST = 50
    DEVIATIONS = 4
    IN_A_ROW = 2

    def __init__(self, url: URL, limit: float) -> None:
        self._url = url
        self._limit = limit
        self._last: tuple[int, int] | None = None
        self._before: float | None = None
        self._bad_looks = 0

    def learn(self) -> None:
        """See ``Signal``."""
        if share := self._share():
            self._before = max(share[0], self._before or 0.0)

    def problem(self) -> str | None:
        """See ``Signal``."""
        seen = self._share()
        if seen is None:
            return None
        share, transactions = seen
        if self._before is None:
            self._before = share
        chance = self.DEVIATIONS * math.sqrt(max(self._before, 0.01) / transactions)
        bad = share > self._before + max(self._limit, self._before / 2) + chance
        self._bad_looks = self._bad_looks + 1 if bad else 0
        if self._bad_looks < self.IN_A_ROW:
            return None
        return f"{share:.1%} of the transactions failed ({self._before:.1%} before)"

    def _share(self) -> tuple[float, int] | None:
        """Return the share since the last look and of how many, or None when these are too few."""
        with connect(self._url, "observe") as connection:
            row = fetch_one(connection, named_query("transactions", "lockkeeper.flags"))
        committed, failed = int(row[0]), int(row[1])
        if self._last is None or (committed, failed) < self._last:  # the first look, or counters were reset
            self._last = (committed, failed)
            return None
        good, bad = committed - self._last[0], failed - self._last[1]
        if good + bad < self.LEAST:
            return None
        self._last = (committed, failed)
        return bad / (good + bad), good + bad


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
    for _ in range(BASELINE_LOOKS):
        signal.learn()
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
        unreadable = 0
        while True:
            problem, readable = self._look()
            unreadable = 0 if readable else unreadable + 1
            if problem and (readable or unreadable >= UNREADABLE_IN_A_ROW):
                if percent:
                    self.flip(0, f"flipped back by itself: {problem}"[:2000])
                raise FlagRevertedError(self.flag, percent, problem)
            left_s = deadline - time.monotonic()
            if left_s <= 0 and not unreadable:
                return
            time.sleep(max(0.01, min(self.policy.sample_interval_s, left_s)))

    def _look(self) -> tuple[str | None, bool]:
        """Return the first problem, and whether every signal could be read."""
        try:
            for signal in self.signals:
                if problem := signal.problem():
                    return problem, True
        except LockkeeperError as error:
            return f"it could not be told whether all is well ({error})", False
        return None, True
