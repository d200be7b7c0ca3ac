"""Takes steps one at a time: time limits, attempts after lock time-outs, and the judgement of failures."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from lockkeeper.alembic_project.conversation import Facts, ProjectProcess, Reply
from lockkeeper.alembic_project.failures import ChildFailure, explained, wrong_database_message
from lockkeeper.alembic_project.outcome import Commits
from lockkeeper.errors import AlembicProjectError, MigrationError
from lockkeeper.measured import RevisionCost, SelfWait
from lockkeeper.models import Fact, Revision, RevisionTiming
from lockkeeper.online.errors import LOCK_NOT_AVAILABLE


class MigrationEvent(Fact):
    """What ``on_event`` is told: one revision has begun, waits for its next attempt, ended or failed."""

    kind: Literal["started", "lock_timeout", "finished", "failed"]
    revision: str
    message: str = ""
    downgrade: bool = False
    position: int
    total: int
    attempt: int = 1
    delay_s: float = Field(default=0.0, description="lock_timeout: the pause before the next attempt.")
    duration_s: float = 0.0
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None, description="finished, failed: see RevisionTiming.own_writes."
    )

    def __str__(self) -> str:
        """Say it in a line of progress, e.g. ``2 of 8: 001b finished in 1.20 s``."""
        what = {
            "started": f"reverting {self.revision}" if self.downgrade else f"applying {self.revision}",
            "lock_timeout": f"{self.revision} did not get its lock, next attempt in {self.delay_s:.1f} s",
            "finished": f"{self.revision} finished in {self.duration_s:.2f} s",
            "failed": f"{self.revision} failed after {self.duration_s:.2f} s",
        }[self.kind]
        return f"{self.position} of {self.total}: {what}"


Listener = Callable[[MigrationEvent], None]


@dataclass
class Walk:
    """Goes through steps in one process; ``timings`` has those that are done."""

    process: ProjectProcess
    on_event: Listener | None
    downgrade: bool = False
    timings: list[RevisionTiming] = field(default_factory=list)
    total: int = 0

    def through(
        self, steps: Sequence[Revision], heads: list[str], contents: Sequence[list[str]]
    ) -> list[RevisionTiming]:
        """Take all steps; ``contents`` is what the version table holds after each."""
        self.total = len(steps)
        for step, after in zip(steps, contents, strict=True):
            self.timings.append(self._one(step, heads))
            heads = after
        return self.timings

    def _one(self, step: Revision, heads: list[str]) -> RevisionTiming:
        started = time.monotonic()
        self._tell("started", step)
        reply, cost, attempt, left_behind = self._taken(step, heads, started)
        timing = RevisionTiming(
            revision=step.id,
            duration_s=time.monotonic() - started,
            attempts=attempt,
            lock_timeouts=attempt - 1,
            own_writes=reply.writes,
            cost=cost,
            self_wait=left_behind,
        )
        if self.process.recorded is not None and reply.cost.get("statements") is not None:
            self.process.recorded.setdefault(step.id, reply.cost["statements"])
        self._tell("finished", step, attempt=attempt, duration_s=timing.duration_s, own_writes=reply.writes)
        return timing

    def _taken(
        self, step: Revision, heads: list[str], started: float
    ) -> tuple[Reply, RevisionCost | None, int, SelfWait | None]:
        """Make attempts until one succeeds; returns how many, and what it waited for in vain at first."""
        deadline = started + self.process.policies.migration_timeout_s
        left_behind: SelfWait | None = None
        attempt = 0
        while True:
            attempt += 1
            commits = Commits()
            try:
                return *self._measured(step, heads, commits, deadline), attempt, left_behind
            except ChildFailure as failure:
                delay: float | None = 0.0
                if left_behind is None and self._is_in_its_own_way(failure, commits):
                    left_behind = failure.self_wait
                    self.process.renew()
                else:
                    delay = self._pause(failure, commits, attempt, deadline)
                if delay is None:
                    raise self._failed(step, failure, commits, attempt, started) from failure
                self._tell("lock_timeout", step, attempt=attempt, delay_s=delay)
                time.sleep(delay)

    def _measured(
        self, step: Revision, heads: list[str], commits: Commits, deadline: float
    ) -> tuple[Reply, RevisionCost | None]:
        """Make one attempt; what it costs is known only where the process has a meter."""
        meter = None if self.downgrade else self.process.meter
        with contextlib.ExitStack() as stack:
            measurement = stack.enter_context(meter.measuring(self.process.backends)) if meter else None

            def listen(event: Facts) -> None:
                commits(event)
                if measurement is not None:
                    measurement(event)

            reply = self.process.request(
                "step",
                revision=step.id, heads=heads, downgrade=self.downgrade,
                record=self.process.recorded is not None and not self.downgrade,
                deadline=deadline, listener=listen,
            )  # fmt: skip
        return reply, meter.cost(measurement, reply.cost) if meter else None

    def _is_in_its_own_way(self, failure: ChildFailure, commits: Commits) -> bool:
        """Whether only a session that an earlier step has left open holds it up; nothing of it remains.

        One that holds changes is let alone: ending it would undo a part of a revision that counts as applied.
        """
        wait = failure.self_wait
        if wait is None or wait.unsaved or not (failure.waits_for_itself and wait.leftover):
            return False
        return not commits.may_remain(self.process.url)

    def _pause(self, failure: ChildFailure, commits: Commits, attempt: int, deadline: float) -> float | None:
        """How long to wait before the next attempt (exponential, full jitter), or None when there is none."""
        policies = self.process.policies
        if failure.sqlstate != LOCK_NOT_AVAILABLE or attempt > policies.lock_retries:
            return None
        if failure.waits_for_itself:
            return None
        if commits.may_remain(self.process.url):
            return None
        ceiling = min(policies.retry_max_delay_s, policies.retry_base_delay_s * 2 ** min(attempt - 1, 30))
        delay = random.uniform(0, ceiling)  # noqa: S311
        return delay if time.monotonic() + delay < deadline else None

    def _failed(
        self, step: Revision, failure: ChildFailure, commits: Commits, attempt: int, started: float
    ) -> MigrationError | AlembicProjectError:
        """Judge a failure: what remains of the revision, and which error says so."""
        if failure.kind in ("wrong_database", "stale") and not self.timings:
            wrong = failure.kind == "wrong_database"
            message = wrong_database_message(self.process.settings, str(failure)) if wrong else str(failure)
            return AlembicProjectError(message)
        partial = commits.may_remain(self.process.url)
        applied = partial and commits.is_applied(self.process.url)
        facts = failure.facts
        self._tell(
            "failed", step, attempt=attempt, duration_s=time.monotonic() - started,
            own_writes=facts.get("writes"),
        )  # fmt: skip
        verb = "Reverting revision" if self.downgrade else "Revision"
        name = f"{verb} {step.id} ({step.message})" if step.message else f"{verb} {step.id}"
        tries = f" in {attempt} attempts" if attempt > 1 else ""
        text = f"{name} failed{tries}: {explained(failure)} {_what_remains(partial, applied)}"
        trace = facts.get("traceback", "")
        return MigrationError(
            f"{text}\n{trace}".rstrip(),
            step.id,
            failure.sqlstate,
            left_partial=partial,
            completed=self.timings,
        )

    def _tell(
        self, kind: Literal["started", "lock_timeout", "finished", "failed"], step: Revision, **facts: Any
    ) -> None:
        if self.on_event is not None:
            self.on_event(
                MigrationEvent(
                    kind=kind,
                    revision=step.id,
                    message=step.message,
                    downgrade=self.downgrade,
                    position=len(self.timings) + 1,
                    total=self.total,
                    **facts,
                )
            )


def _what_remains(partial: bool, applied: bool) -> str:
    if applied:
        return "Its changes were committed nevertheless, the version table included."
    if partial:
        return "Part of it may have been committed: it did not run in one transaction."
    return "Its transaction was rolled back; nothing of it remains."
