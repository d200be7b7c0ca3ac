"""When a backfill slows down for the application's sake: the limits, and whether one is exceeded now.

Reasons are OR-ed: one is enough. Limits live in the ledger, so that they can be changed while it runs.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError

from lockkeeper.backfill.steering import EFFICIENT_ROWS
from lockkeeper.errors import ConfigurationError
from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

PACKAGE = "lockkeeper.backfill"
PAUSE_LOCK = (0x4C4D, 1)  # "LM", an advisory lock's two keys; 0x4C4B is the migration lock's
METRIC_TIMEOUT_S = 2.0
BESIDE_BATCH_MS = 2.0
BESIDE_ROWS = 200
"""What a batch beside others need not go below: about 100 KB of WAL, which their next commit writes."""
MOST_REST_S = 2.0
_MB = 1024 * 1024


@dataclass(frozen=True)
class Throttle:
    """Limits of a backfill; None means no limit.

    Attributes:
        batch_rows: most rows of a batch.
        batch_ms: how long a batch should take; its rows are locked for that long.
        pause_ms: rest after each batch.
        paused: rest until somebody sets it to false.
        stop: end after this batch; the next run goes on.
        max_replication_lag_mb: WAL that the slowest standby has not replayed yet.
        max_lock_waiters: sessions that wait for a lock of this backfill.
        max_probe_ms: how long ``probe_sql``, a query of the application's, may take.
        probe_sql: the query; None probes nothing.
        max_wal_mb_s: WAL written by the whole server, per second.
        max_dead_rows: dead rows of the table that autovacuum has not come to yet.
        metric_sql: a query that returns one number.
        metric_url: an address that answers with one number.
        max_metric: bound of that number.
        on_failing_row: ``park`` goes on and names the row at the end, ``stop`` stops there.
        share_percent: of its time that a backfill works while others use the server, in batches of about
            2 ms; it rests for the remainder, so that commits do not queue behind its WAL. 100 never rests.
        vacuum_percent: VACUUM when so many percent of the table's rows were written since the last; 0 never.
    """

    batch_rows: int = 10_000
    batch_ms: float = 50.0
    pause_ms: float = 0.0
    paused: bool = False
    stop: bool = False
    max_replication_lag_mb: float | None = 64.0
    max_lock_waiters: int | None = 10
    max_probe_ms: float | None = None
    probe_sql: str | None = None
    max_wal_mb_s: float | None = None
    max_dead_rows: int | None = None
    metric_sql: str | None = None
    metric_url: str | None = None
    max_metric: float | None = None
    on_failing_row: Literal["park", "stop"] = "park"
    share_percent: float = 5.0
    vacuum_percent: float = 20.0

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.batch_ms <= 0 or self.pause_ms < 0:
            raise ConfigurationError("batch_rows and batch_ms must be positive, pause_ms not negative.")
        if not 0 < self.share_percent <= 100:
            raise ConfigurationError("share_percent is above 0 and at most 100.")
        if self.on_failing_row not in ("park", "stop"):
            raise ConfigurationError(f"on_failing_row is 'park' or 'stop', not {self.on_failing_row!r}.")
        if (self.metric_sql or self.metric_url) and self.max_metric is None:
            raise ConfigurationError("A metric needs its bound: max_metric.")
        if self.metric_url and not self.metric_url.startswith(("http://", "https://")):
            raise ConfigurationError("metric_url is an http or https address.")

    def batch_budget_ms(self, *, beside: bool) -> float:
        """Return the time that a batch may take; beside others a short one, unless no share is kept."""
        if not beside or self.share_percent == 100:
            return self.batch_ms
        return min(self.batch_ms, BESIDE_BATCH_MS)

    def least_rows(self, *, beside: bool) -> int:
        """Return below how many rows a batch does not shrink for its budget's sake alone."""
        return BESIDE_ROWS if beside and self.share_percent < 100 else EFFICIENT_ROWS

    def rest_s(self, worked_s: float, workers: int, *, beside: bool) -> float:
        """Return how long a worker rests after it has worked: all workers together keep to the share."""
        pause_s = self.pause_ms / 1000
        if not beside:
            return pause_s
        share = self.share_percent / 100
        return max(pause_s, min(MOST_REST_S, worked_s * (max(workers, 1) / share - 1)))

    def resting_share(self, *, beside: bool) -> float | None:
        """Return the percentage of its time that a backfill works just now; None when it does not rest."""
        return self.share_percent if beside and self.share_percent < 100 else None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Throttle:
        """Return the limits, with defaults for what is not given.

        Raises:
            ConfigurationError: there is no limit of that name, or its value makes no sense.
        """
        names = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ConfigurationError(
                f"There is no {', '.join(unknown)}; known are {', '.join(sorted(names))}."
            )
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """Return all limits, JSON-able."""
        return asdict(self)


def pause_asked_query() -> str:
    """Return the query that says whether anybody holds the advisory lock that asks backfills to pause."""
    class_id, object_id = map(str, PAUSE_LOCK)
    return named_query("pause_asked", PACKAGE, class_id=class_id, object_id=object_id)


def others_at_work(session: Session) -> bool:
    """Return whether anybody but Lockkeeper uses the server just now."""
    return bool(session.rows(named_query("others_at_work", PACKAGE))[0][0])


class Observation:
    """Looks at the server through a session of its own; ``reasons`` are those against going on now."""

    def __init__(
        self, session: Session, pids: Callable[[], tuple[int, ...]], table_oids: tuple[int, ...]
    ) -> None:
        self._session = session
        self._pids = pids
        self._oids = table_oids
        self._wal: tuple[float, int] | None = None
        self.probe_ms: float | None = None

    def reasons(self, limits: Throttle) -> tuple[str, ...]:
        """Return why the backfill should wait; a limit that cannot be measured is a reason too."""
        checks = (
            self._asked,
            self._lag,
            self._waiters,
            self._probe,
            self._wal_rate,
            self._dead_rows,
            self._metric,
        )
        found = []
        for check in checks:
            try:
                reason = check(limits)
            except (DBAPIError, OSError, ValueError) as error:
                kind = check.__name__.strip("_").replace("_", " ")
                reason = f"{kind} cannot be measured: {str(error).splitlines()[0]}"
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
            if reason:
                found.append(reason)
        return tuple(found)

    def _number(self, sql: str) -> float:
        value = self._session.rows(sql)[0][0]
        return float(value or 0)

    def _asked(self, _limits: Throttle) -> str | None:
        asked = self._session.rows(pause_asked_query())[0][0]
        return "the monitor asks for it: the impact budget is used up" if asked else None

    def _lag(self, limits: Throttle) -> str | None:
        if limits.max_replication_lag_mb is None:
            return None
        lag_mb = self._number(named_query("replication_lag", PACKAGE)) / _MB
        return _above("replication lag", lag_mb, limits.max_replication_lag_mb, "MB")

    def _waiters(self, limits: Throttle) -> str | None:
        pids = self._pids()
        if limits.max_lock_waiters is None or not pids:
            return None
        listed = f"ARRAY[{', '.join(map(str, pids))}]"
        waiting = self._number(named_query("lock_waiters", PACKAGE, pids=listed))
        return _above("sessions waiting for the backfill's locks", waiting, limits.max_lock_waiters, "")

    def _probe(self, limits: Throttle) -> str | None:
        if limits.probe_sql is None:
            return None
        started = time.monotonic()
        self._session.rows(limits.probe_sql)
        self.probe_ms = (time.monotonic() - started) * 1000
        return _above("the probe query", self.probe_ms, limits.max_probe_ms, "ms")

    def _wal_rate(self, limits: Throttle) -> str | None:
        if limits.max_wal_mb_s is None:
            return None
        now, at = (
            int(self._number("SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')")),
            (time.monotonic()),
        )
        before, self._wal = self._wal, (at, now)
        if before is None or at <= before[0]:
            return None
        return _above("WAL", (now - before[1]) / _MB / (at - before[0]), limits.max_wal_mb_s, "MB/s")

    def _dead_rows(self, limits: Throttle) -> str | None:
        if limits.max_dead_rows is None:
            return None
        listed = ", ".join(map(str, self._oids))
        dead = self._number(
            f"SELECT sum(n_dead_tup) FROM pg_catalog.pg_stat_user_tables WHERE relid IN ({listed})"
        )
        return _above("dead rows", dead, limits.max_dead_rows, "")

    def _metric(self, limits: Throttle) -> str | None:
        if limits.metric_sql:
            return _above("the metric", self._number(limits.metric_sql), limits.max_metric, "")
        if limits.metric_url:
            with urllib.request.urlopen(limits.metric_url, timeout=METRIC_TIMEOUT_S) as answer:  # noqa: S310 - http(s) only
                return _above("the metric", float(answer.read(64).decode()), limits.max_metric, "")
        return None


def _above(what: str, value: float, bound: float | None, unit: str) -> str | None:
    if bound is None or value <= bound:
        return None
    return f"{what} at {value:.4g} {unit}".rstrip() + f", allowed {bound:g}"
