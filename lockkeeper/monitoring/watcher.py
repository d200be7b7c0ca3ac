"""Watches the database beside a migration, keeps its impact within the budget, and tells when it matters.

Works in threads and on connections of its own and never fails the migration by a fault of the monitor: what
cannot be seen is counted and said. One thread samples and acts; the probe and the slower vitals have theirs,
since a probe that waits, or the size of a huge database, must not delay the reaction.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.measured import MonitorSummary
from lockkeeper.models import utc_now
from lockkeeper.monitoring.budget import Enforcer, ImpactBudget, blocked_sessions
from lockkeeper.monitoring.incidents import Alert, Judge
from lockkeeper.monitoring.probe import LatencyProbe
from lockkeeper.monitoring.readings import Look, Vitals
from lockkeeper.monitoring.rules import BESIDE_A_MIGRATION, limits_of
from lockkeeper.monitoring.sampler import Sampler, sampling
from lockkeeper.monitoring.series import SeriesKeeper
from lockkeeper.postgres.connection import application_name

LONGEST_INTERVAL_S = 0.5
"""Locks are looked at so often, whatever the policy, and once more when a wait reaches the budget."""
SHORTEST_INTERVAL_S = 0.05
ACTIVITY_INTERVAL_S = 1.0
VITALS_INTERVAL_S = 1.0
END_TIMEOUT_S = 3.0
OWN_ROLES = ("migrate",)


class DatabaseMonitor:
    """Samples a target until ``stop``; see ``watching``."""

    def __init__(
        self,
        target: Target,
        run_id: str,
        say: Callable[[str], None] | None = None,
        on_alert: Callable[[Alert], None] | None = None,
        link: str | None = None,
    ) -> None:
        policies = target.policies
        self._target, self._run_id = target, run_id
        self._interval_s = min(policies.monitor_interval_s, LONGEST_INTERVAL_S)
        self._activity_due = 0.0
        self._say = say or (lambda _message: None)
        self._on_alert = on_alert or (lambda _alert: None)
        budget = ImpactBudget.of(policies)
        self._names = [application_name(role, run_id) for role in OWN_ROLES]
        self._enforcer = Enforcer(budget, self._names, self._say)
        self._judge = Judge(
            target.name, (*BESIDE_A_MIGRATION, budget.rule()), limits_of(policies.alert_limits),
            run_id=run_id, link=link,
        )  # fmt: skip
        self.probe = LatencyProbe(target.url, policies.impact_probe_sql, run_id, self._interval_s)
        self.latest: Look | None = None
        self._stop = threading.Event()
        self._vitals: tuple[Vitals | None, Vitals | None] = (None, None)
        self._blockers: dict[int, str] = {}
        self._alerts: list[str] = []
        self._sizes: list[int] = []
        self._series = SeriesKeeper()
        self._samples = self._failed = self._max_blocked = 0
        self._longest_s = 0.0
        self._last_problem = ""
        self.problems: list[str] = []

    # -- threads ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Sample and act until ``stop``; connects again after a lost connection."""
        self._until_stopped("monitor", self._sample)

    def run_vitals(self) -> None:
        """Read sizes, replication and progress until ``stop``."""
        self._until_stopped("vitals", self._read_vitals)

    def _until_stopped(self, role: str, step: Callable[[Sampler], float]) -> None:
        """Take steps, each of which returns the pause after it, in seconds."""
        while not self._stop.is_set():
            try:
                with sampling(self._target.url, role, self._run_id) as sampler:
                    if role == "monitor":
                        self._enforcer.connected(sampler.connection)
                    while not self._stop.is_set():
                        self._stop.wait(step(sampler))
                    if role == "vitals":
                        step(sampler)
            except LockkeeperError as error:
                self._failed += 1
                self._last_problem = str(error).splitlines()[0]
                self._stop.wait(self._interval_s)

    def stop(self) -> None:
        """Ask the threads to end."""
        self._stop.set()
        self.probe.stop()

    # -- samples ------------------------------------------------------------------------------------------

    def _sample(self, sampler: Sampler) -> float:
        """Look at locks and act; everything else of the sessions is read each second only."""
        own, somebody_waits = sampler.own_sessions(self._names)
        waits = sampler.waits() if somebody_waits else ()
        known = self.latest.activity if self.latest is not None else sampler.activity()
        vitals, before = self._vitals
        activity = replace(known, at=utc_now(), waits=waits)
        look = Look(activity, vitals, before, frozenset(own), self.probe.current_ms)
        self._enforcer.act(look, own)
        self._take_in(look)
        if time.monotonic() >= self._activity_due:
            self._activity_due = time.monotonic() + ACTIVITY_INTERVAL_S
            self.latest = replace(look, activity=sampler.activity())
        return self._enforcer.budget.pause_s(look, SHORTEST_INTERVAL_S, self._interval_s)

    def _take_in(self, look: Look) -> None:
        self._samples += 1
        self.latest = look
        blocked = blocked_sessions(look.activity, look.own_pids)
        self._max_blocked = max(self._max_blocked, len(blocked))
        longest_s = max((wait.waiting_s for wait in blocked.values()), default=0.0)
        self._longest_s = max(self._longest_s, longest_s)
        self._series.took_activity(look.activity.at, len(blocked), longest_s, look.activity.active)
        for wait in look.activity.waits:
            if wait.waiter_pid in look.own_pids and wait.blocker_pid not in look.own_pids:
                if wait.blocker_pid not in self._blockers:
                    self._say(f"The migration waits for {wait.wants or 'a lock'}: {wait.blocker}")
                self._blockers[wait.blocker_pid] = wait.blocker
        self._tell(self._judge.judge(look))

    def _tell(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self._alerts.append(f"{alert.headline}. {alert.message}")
            self._on_alert(alert)

    def _read_vitals(self, sampler: Sampler) -> float:
        now = sampler.vitals(sparing=not self._stop.is_set())
        if now.database is not None and now.database.size_bytes is not None:
            self._sizes.append(now.database.size_bytes)
            self._series.took_size(now.at, now.database.size_bytes)
        self._vitals = (now, self._vitals[0])
        return VITALS_INTERVAL_S

    # -- what came of it ----------------------------------------------------------------------------------

    @property
    def cancelled(self) -> str | None:
        """Why the impact budget ended the migration, or None."""
        return self._enforcer.cancelled

    def end(self) -> None:
        """Give the all-clear for what is still open: what was watched has ended."""
        if self.latest is not None:
            self._tell(self._judge.end(utc_now()))

    def summary(self) -> MonitorSummary:
        """What was seen and done so far."""
        problems = [*self.problems, self.probe.problem and f"The probe query failed: {self.probe.problem}"]
        if self._failed:
            problems.append(f"Samples could not be taken: {self._last_problem}")
        return MonitorSummary(
            samples=self._samples,
            max_blocked_sessions=self._max_blocked,
            longest_block_s=round(self._longest_s, 3),
            blockers=tuple(self._blockers.values()),
            size_before_bytes=self._sizes[0] if self._sizes else None,
            size_after_bytes=self._sizes[-1] if len(self._sizes) > 1 else None,
            failed_samples=self._failed,
            probe=self.probe.summary(),
            cancelled=self.cancelled,
            ended_sessions=tuple(self._enforcer.ended),
            throttled=self._enforcer.throttled,
            alerts=tuple(self._alerts),
            problems=tuple(problem for problem in problems if problem),
            series=self._series.series(self.probe) if self._samples else None,
        )


@contextlib.contextmanager
def watching(monitor: DatabaseMonitor) -> Iterator[DatabaseMonitor]:
    """Run ``monitor`` beside the block; the probe's baselines around it take half a second at most."""
    monitor.probe.before = monitor.probe.baseline()
    runs = {"monitor": monitor.run, "vitals": monitor.run_vitals, "probe": monitor.probe.run}
    threads = [
        threading.Thread(target=run, name=f"lockkeeper-{name}", daemon=True) for name, run in runs.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        deadline = time.monotonic() + END_TIMEOUT_S  # a server that hangs must not hold up the run
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in threads):
            monitor.probe.after = monitor.probe.baseline()
        monitor.end()
