"""Watches the database beside a migration: who waits, for whom, how long, and how the size grows.

Reads only, on a connection of its own with a statement time-out, and never fails the migration: a sample
that cannot be taken is counted and said.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

from lockkeeper.errors import LockkeeperError
from lockkeeper.models import MonitorSummary
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    connect,
    fetch_all,
    fetch_value,
    named_query,
)

SAMPLE_TIMEOUT_MS = 2000
END_TIMEOUT_S = 3.0
_SIZE = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"


@dataclass(frozen=True)
class Wait:
    """One session that waits for a lock, and one of those that it waits for."""

    waiter_pid: int
    waiter_application: str
    waiting_s: float
    blocker_pid: int
    blocker_application: str
    blocker_user: str
    blocker_state: str
    transaction_s: float
    wants: str | None


@dataclass(frozen=True)
class Sample:
    """The waits at one moment, in order of their length."""

    waits: tuple[Wait, ...]

    def blocked_by(self, application: str) -> list[Wait]:
        """The waits that sessions of ``application`` cause."""
        return [wait for wait in self.waits if wait.blocker_application == application]

    def blocking(self, application: str) -> list[Wait]:
        """The waits that sessions of ``application`` suffer."""
        return [wait for wait in self.waits if wait.waiter_application == application]


def take_sample(connection: Connection) -> Sample:
    """Take one sample; takes no lock on any table."""
    waits = [Wait(*row) for row in fetch_all(connection, named_query("blocking"))]
    return Sample(tuple(sorted(waits, key=lambda wait: -wait.waiting_s)))


def describe_blocker(wait: Wait) -> str:
    """Name the session that stands in the way, without its statement (which may hold data)."""
    who = f"session {wait.blocker_pid} ({wait.blocker_application or 'unnamed'}, user {wait.blocker_user})"
    return f"{who}, {wait.blocker_state}, in its transaction for {wait.transaction_s:.1f} s"


@dataclass
class DatabaseMonitor:
    """Samples ``url`` every ``interval_s`` seconds in a thread of its own until ``stop``."""

    url: URL
    run_id: str
    interval_s: float
    on_change: Callable[[str], None] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _blockers: dict[int, str] = field(default_factory=dict)
    _samples: int = 0
    _failed: int = 0
    _max_blocked: int = 0
    _longest_s: float = 0.0
    _sizes: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Sample until ``stop``; connects again after a lost connection."""
        while not self._stop.is_set():
            try:
                with connect(
                    self.url, "monitor", run_id=self.run_id, statement_timeout_ms=SAMPLE_TIMEOUT_MS
                ) as connection:
                    self._sample_until_stopped(connection)
            except LockkeeperError:
                self._failed += 1
                self._stop.wait(self.interval_s)

    def _sample_until_stopped(self, connection: Connection) -> None:
        self._sizes.append(int(fetch_value(connection, _SIZE)))
        while not self._stop.is_set():
            self._take_in(take_sample(connection))
            self._stop.wait(self.interval_s)
        self._sizes.append(int(fetch_value(connection, _SIZE)))

    def _take_in(self, sample: Sample) -> None:
        ours = application_name("migrate", self.run_id)
        self._samples += 1
        caused = sample.blocked_by(ours)
        self._max_blocked = max(self._max_blocked, len({wait.waiter_pid for wait in caused}))
        self._longest_s = max([self._longest_s, *(wait.waiting_s for wait in caused)])
        for wait in sample.blocking(ours):
            if wait.blocker_pid not in self._blockers and self.on_change is not None:
                self.on_change(f"The migration waits for {wait.wants or 'a lock'}: {describe_blocker(wait)}")
            self._blockers[wait.blocker_pid] = describe_blocker(wait)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def summary(self) -> MonitorSummary:
        """What was seen so far."""
        return MonitorSummary(
            samples=self._samples,
            max_blocked_sessions=self._max_blocked,
            longest_block_s=round(self._longest_s, 3),
            blockers=tuple(self._blockers.values()),
            size_before_bytes=self._sizes[0] if self._sizes else None,
            size_after_bytes=self._sizes[-1] if len(self._sizes) > 1 else None,
            failed_samples=self._failed,
        )


@contextlib.contextmanager
def watching(monitor: DatabaseMonitor) -> Iterator[DatabaseMonitor]:
    """Run ``monitor`` in a thread for the length of the block; waits for its last sample."""
    thread = threading.Thread(target=monitor.run, name="lockkeeper-monitor", daemon=True)
    thread.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        thread.join(timeout=END_TIMEOUT_S)  # a server that hangs must not hold up the run
