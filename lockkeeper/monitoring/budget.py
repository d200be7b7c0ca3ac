"""The impact budget: how much a migration may cost the application, and what is done when it costs more.

Judging is pure. Acting ends statements and sessions of our own migration only, found by their name at the
moment of acting, and somebody else's only where the policy says so and it holds the migration up idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lockkeeper.config import Policies
from lockkeeper.monitoring.readings import Activity, Look, Wait
from lockkeeper.monitoring.rules.model import Measurement, Rule, Severity
from lockkeeper.monitoring.rules.sessions import OWN_PREFIX, describe_wait
from lockkeeper.monitoring.throttle import ThrottleRequest
from lockkeeper.postgres.connection import Connection, fetch_all, named_query
from lockkeeper.reports import format_size

ESCALATE_S = 0.3
"""A statement that was cancelled has so long to let go before its session is ended."""
CALM_S = 2.0
"""Backfills go on when the budget has been kept for so long."""
PACKAGE = "lockkeeper.monitoring"
RULE = "impact-budget"
_HELPERS = tuple(
    f"{OWN_PREFIX}{role}" for role in ("monitor", "vitals", "lock", "verify", "identify", "outcome")
)
"""Sessions of Lockkeeper's own that may wait: nobody's request is held up with them."""


@dataclass(frozen=True)
class Crossing:
    """One limit that is crossed; ``by_blocking`` says that ending our statement would end it."""

    ratio: float
    message: str
    by_blocking: bool = False


@dataclass(frozen=True)
class ImpactBudget:
    """The limits of one target; 0 is no limit."""

    block_s: float = 0.0
    blocked_sessions: int = 0
    probe_ms: float = 0.0
    lag_bytes: int = 0
    action: Literal["warn", "throttle", "cancel"] = "throttle"
    end_idle_blockers_s: float = 0.0

    @classmethod
    def of(cls, policies: Policies) -> ImpactBudget:
        """Return the budget that a target's policies set."""
        return cls(
            policies.impact_block_s,
            policies.impact_blocked_sessions,
            policies.impact_probe_ms,
            policies.impact_lag_bytes,
            policies.impact_action,
            policies.end_idle_blockers_s,
        )

    def crossings(self, look: Look) -> list[Crossing]:
        """Return the limits that are crossed now, the worst first."""
        return sorted((one for one in self._shares(look) if one.ratio >= 1), key=lambda one: -one.ratio)

    def pause_s(self, look: Look, shortest_s: float, longest_s: float) -> float:
        """Return how long to pause: until the longest wait reaches the limit, when that comes first."""
        if not self.block_s:
            return longest_s
        waits = blocked_sessions(look.activity, look.own_pids).values()
        left_s = self.block_s - max((wait.waiting_s for wait in waits), default=0.0)
        return min(longest_s, max(shortest_s, left_s))

    def rule(self) -> Rule:
        """Return the alert of this budget."""

        def measure(look: Look) -> Iterator[Measurement]:
            shares = list(self._shares(look))
            if shares:
                worst = max(shares, key=lambda one: one.ratio)
                yield Measurement(worst.ratio, worst.message)

        return Rule(
            RULE, "share of the impact budget that is used", 1.0, measure, Severity.CRITICAL,
            clear_after_s=CALM_S, advice=f"Policy impact_action={self.action}.",
        )  # fmt: skip

    def _shares(self, look: Look) -> Iterator[Crossing]:
        blocked = blocked_sessions(look.activity, look.own_pids)
        if blocked:
            longest = max(blocked.values(), key=lambda wait: wait.waiting_s)
            if self.block_s:
                text = f"the migration makes others wait longer than {self.block_s:g} s: "
                yield Crossing(longest.waiting_s / self.block_s, text + describe_wait(longest), True)
            if self.blocked_sessions:
                text = f"the migration blocks {len(blocked)} sessions, more than {self.blocked_sessions}: "
                ratio = len(blocked) / (self.blocked_sessions + 1)
                yield Crossing(ratio, text + describe_wait(longest), True)
        if self.probe_ms and look.probe_ms is not None:
            text = f"the probe query took {look.probe_ms:.0f} ms, more than {self.probe_ms:g} ms"
            yield Crossing(look.probe_ms / self.probe_ms, text)
        if self.lag_bytes and look.vitals is not None:
            for replica in look.vitals.replicas:
                if replica.lag_bytes is not None:
                    text = f"replica {replica.name} is {format_size(replica.lag_bytes)} behind"
                    yield Crossing(replica.lag_bytes / self.lag_bytes, text)


def blocked_sessions(activity: Activity, own_pids: frozenset[int]) -> dict[int, Wait]:
    """Return waiter -> its wait, for those sessions of the application, and the probe, that we block."""
    return {
        pid: wait
        for pid, wait in activity.blocked_by(own_pids).items()
        if wait.waiter_type == "client backend" and not wait.waiter_application.startswith(_HELPERS)
    }


@dataclass
class Enforcer:
    """Acts on crossings through the monitor's own connection; remembers what it did and why."""

    budget: ImpactBudget
    names: Sequence[str]
    say: Callable[[str], None]
    cancelled: str | None = None
    ended: list[str] = field(default_factory=list)
    throttled: bool = False
    _cancelled_at: float | None = None
    _calm_since: float | None = None
    _throttle: ThrottleRequest | None = None

    def connected(self, connection: Connection) -> None:
        """Take a fresh connection: requests of the one before have died with it."""
        self._connection = connection
        self._throttle = ThrottleRequest(connection)

    def act(self, look: Look, states: dict[int, str]) -> None:
        """Do what the policy says about the limits that are crossed; ``states`` is own pid -> its state."""
        crossings = self.budget.crossings(look)
        if self.budget.action != "warn":
            self._throttle_or_release(bool(crossings))
        blocking = next((one for one in crossings if one.by_blocking), None)
        if self.budget.action == "cancel" and blocking is not None:
            self._cancel(blocking, states)
        if self.budget.end_idle_blockers_s:
            self._end_idle_blockers(look)

    def _throttle_or_release(self, crossed: bool) -> None:
        if self._throttle is None:
            return
        now = time.monotonic()
        if crossed:
            self._calm_since = None
            if not self._throttle.asked:
                self.throttled = True
                self._throttle.ask()
                self.say("The impact budget is crossed: backfills are asked to pause")
            return
        self._calm_since = self._calm_since or now
        if self._throttle.asked and now - self._calm_since >= CALM_S:
            self._throttle.release()
            self.say("The impact budget is kept again: backfills may go on")

    def _cancel(self, crossing: Crossing, states: dict[int, str]) -> None:
        """Cancel our statements; end the sessions that have none to cancel, or do not let go."""
        now = time.monotonic()
        escalate = self._cancelled_at is not None and now - self._cancelled_at >= ESCALATE_S
        idle = [pid for pid, state in states.items() if state.startswith("idle in transaction")]
        busy = [pid for pid in states if pid not in idle]
        first = self.cancelled is None
        self.cancelled = self.cancelled or crossing.message  # before the migration can ask why it failed
        ended = self._end_own(busy, terminate=escalate) + self._end_own(idle, terminate=True)
        if first and ended:
            self._cancelled_at = now
            self.say(f"Cancelled by the impact budget: {crossing.message}")
        elif first:
            self.cancelled = None

    def _end_own(self, pids: list[int], *, terminate: bool) -> int:
        if not pids:
            return 0
        values = {"pids": pids, "names": list(self.names), "terminate": terminate}
        rows = fetch_all(self._connection, named_query("end_own", PACKAGE), values)
        return sum(bool(done) for _, done in rows)

    def _end_idle_blockers(self, look: Look) -> None:
        for wait in look.activity.waits:
            is_idle = wait.blocker_state.startswith("idle in transaction")
            if wait.waiter_pid not in look.own_pids or not is_idle:
                continue
            values = {"pid": wait.blocker_pid, "idle_s": self.budget.end_idle_blockers_s}
            rows = fetch_all(self._connection, named_query("end_idle", PACKAGE), values)
            if rows and rows[0][0]:
                self.ended.append(f"ended by policy, since the migration waited for it: {wait.blocker}")
                self.say(self.ended[-1])
