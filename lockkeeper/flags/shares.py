"""Whether more of the transactions are rolled back than before: judged from the server's own counters. Pure.

The counters are no errors: many pools end a read with a rollback, and each session reports at most once a
second, in lumps. So a share is taken over a window of some seconds and many transactions, and is bad only
when it exceeds that of before by the limit, by half of itself, and by more than chance explains, given how
few transactions were seen before and now. Two bad windows in a row are a problem, one is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_S = 3.0
LEAST = 100
DEVIATIONS = 4
IN_A_ROW = 2
_LEAST_SHARE = 0.01  # chance is not nothing where no rollback was seen yet


class Counters(NamedTuple):
    """Transactions since the server's statistics began."""

    committed: int
    rolled_back: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.committed + self.rolled_back

    @property
    def share(self) -> float:
        """The share that was rolled back."""
        return self.rolled_back / self.total if self.total else 0.0

    def since(self, before: Counters) -> Counters:
        """Return what has come since; nothing when the statistics were reset in between."""
        if self < before or self.rolled_back < before.rolled_back:
            return Counters(0, 0)
        return Counters(self.committed - before.committed, self.rolled_back - before.rolled_back)


@dataclass
class RollbackShares:
    """One watch over the counters; times are of any clock that only goes on, in seconds."""

    limit: float
    window_s: float = WINDOW_S
    _first: Counters | None = field(default=None, init=False)
    _before: Counters | None = field(default=None, init=False)
    _opened: tuple[float, Counters] | None = field(default=None, init=False)
    _bad_windows: int = field(default=0, init=False)

    def learn(self, at_s: float, now: Counters) -> None:
        """Take a look as one at how things are before the change."""
        if self._first is None:
            self._first = now
        seen = now.since(self._first)
        # An application that is quiet just now is known by what it did before.
        self._before = seen if seen.total >= LEAST else now
        self._opened = (at_s, now)

    def judge(self, at_s: float, now: Counters) -> str | None:
        """Return what is wrong, or None; also when too little was seen to say."""
        if self._before is None or self._opened is None:
            self.learn(at_s, now)
            return None
        opened_s, opened = self._opened
        seen = now.since(opened)
        if now.total < opened.total:
            self._opened = (at_s, now)
        if at_s - opened_s < self.window_s or seen.total < LEAST:
            return None
        self._opened = (at_s, now)
        self._bad_windows = self._bad_windows + 1 if self._is_bad(seen, self._before) else 0
        if self._bad_windows < IN_A_ROW:
            return None
        return f"{seen.share:.1%} of the transactions failed ({self._before.share:.1%} before)"

    def _is_bad(self, seen: Counters, before: Counters) -> bool:
        both = max(Counters(*map(sum, zip(seen, before, strict=True))).share, _LEAST_SHARE)
        few = 1 / seen.total + 1 / max(before.total, 1)
        chance = DEVIATIONS * math.sqrt(both * (1 - both) * few)
        return seen.share > before.share + max(self.limit, before.share / 2) + chance
