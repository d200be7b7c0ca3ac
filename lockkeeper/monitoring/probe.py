"""Times a query of the application's over and over: what a migration feels like from outside.

Runs in a thread and on a connection of its own, read-only. A probe that waits counts with the time that it
has waited so far, so a database that stands still is seen while it stands.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError
from lockkeeper.measured import ProbeSummary
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, execute

PROBE_TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_S = 2
BASELINE_PROBES, BASELINE_LIMIT_S = 5, 0.5
MOST_LATENCIES = 50_000
QUERY_CANCELED = "57014"


class Latency(NamedTuple):
    """One probe: when it began and how long it took."""

    at: datetime
    ms: float


class LatencyProbe:
    """Probes until ``stop``; ``problem`` says why it could not."""

    def __init__(self, url: URL, query: str, run_id: str | None, interval_s: float) -> None:
        self._url, self._query, self._run_id, self._interval_s = url, query, run_id, interval_s
        self._stop = threading.Event()
        self._under_way: float | None = None
        self.before: list[Latency] = []
        self.during: list[Latency] = []
        self.after: list[Latency] = []
        self.problem: str | None = None

    def baseline(self) -> list[Latency]:
        """Take a few probes at once, within half a second: how it is without a migration."""
        taken: list[Latency] = []
        deadline = time.monotonic() + BASELINE_LIMIT_S
        try:
            with self._connected(int(BASELINE_LIMIT_S * 1000)) as connection:
                while len(taken) < BASELINE_PROBES and time.monotonic() < deadline:
                    taken.append(self._once(connection))
        except DatabaseError as error:
            self.problem = str(error).splitlines()[0]
        return taken

    def run(self) -> None:
        """Probe until ``stop``, and connect again after a lost connection."""
        while not self._stop.is_set():
            try:
                with self._connected(PROBE_TIMEOUT_MS) as connection:
                    while not self._stop.is_set():
                        self._keep(self._once(connection))
                        self._stop.wait(self._interval_s)
            except ConnectionLostError:
                self._stop.wait(self._interval_s)
            except DatabaseError as error:
                self._give_up_or_count(error)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    @property
    def current_ms(self) -> float | None:
        """How long the probe that is under way has taken, or the last one, whichever is longer."""
        under_way = self._under_way
        waiting_ms = 0.0 if under_way is None else (time.monotonic() - under_way) * 1000
        if not self.during:
            return waiting_ms or None
        return max(waiting_ms, self.during[-1].ms)

    def summary(self) -> ProbeSummary | None:
        """Return the middle and the longest latencies, or None when nothing was probed."""
        if not (self.before or self.during or self.after):
            return None
        return ProbeSummary(
            before_ms=_middle(self.before),
            during_ms=_middle(self.during),
            after_ms=_middle(self.after),
            longest_ms=max((latency.ms for latency in self.during), default=0.0),
            probes=len(self.during),
        )

    @contextlib.contextmanager
    def _connected(self, timeout_ms: int) -> Iterator[Connection]:
        with connect(
            self._url,
            "probe",
            run_id=self._run_id,
            statement_timeout_ms=timeout_ms,
            connect_timeout_s=CONNECT_TIMEOUT_S,
        ) as connection:
            execute(connection, "SET default_transaction_read_only = on")
            yield connection

    def _once(self, connection: Connection) -> Latency:
        at, started = utc_now(), time.monotonic()
        self._under_way = started
        try:
            execute(connection, self._query)
        finally:
            self._under_way = None
        return Latency(at, (time.monotonic() - started) * 1000)

    def _keep(self, latency: Latency) -> None:
        self.during.append(latency)
        if len(self.during) > MOST_LATENCIES:
            del self.during[::2]

    def _give_up_or_count(self, error: DatabaseError) -> None:
        """Count a probe that ran into its time-out; one that is wrong can only be given up."""
        if error.sqlstate == QUERY_CANCELED:
            self._keep(Latency(utc_now(), float(PROBE_TIMEOUT_MS)))
            return
        self.problem = str(error).splitlines()[0]
        self._stop.set()


def _middle(latencies: list[Latency]) -> float | None:
    ordered = sorted(latency.ms for latency in latencies)
    return ordered[len(ordered) // 2] if ordered else None
