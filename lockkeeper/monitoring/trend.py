"""Where a target is going: growth, load and waits over days of scheduled looks, and what its drills took.

Read from the storage alone. A rate is the median of the slopes between all pairs of a hundred looks (Sen
1968, Estimates of the regression coefficient based on Kendall's tau): one bulk load, or one VACUUM FULL, is
no trend.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

from lockkeeper.config import Target
from lockkeeper.drill.history import read_drills
from lockkeeper.measured import Point
from lockkeeper.models import DrillReport, utc_now
from lockkeeper.monitoring.history import Sample, read_samples
from lockkeeper.monitoring.series import thinned
from lockkeeper.storage import open_storage

DAY_S = 86_400.0
SHORTEST_DAYS = 1 / 24
"""Less than an hour of looks tells nothing of a day."""
LOOKS_COMPARED, MOST_POINTS = 100, 300
TABLES_SHOWN = 10


@dataclass(frozen=True)
class Growth:
    """What grew: its size now and its rate; the rate is None where too little was seen."""

    name: str
    bytes: int
    bytes_a_day: float | None


@dataclass(frozen=True)
class Trend:
    """A target over the days that were asked for; ``samples`` by time, ``drills`` oldest first."""

    target: str
    since: datetime
    samples: Sequence[Sample]
    drills: Sequence[DrillReport]
    database: Growth | None
    tables: Sequence[Growth]
    disk_full_days: float | None
    limit_days: float | None

    def curve(self, value: Callable[[Sample], float | None]) -> list[Point]:
        """Return a value over days since the beginning, thinned to its peaks."""
        points = [(one.at, found) for one in self.samples if (found := value(one)) is not None]
        return [(self.day(at), found) for at, found in thinned(points, MOST_POINTS)]

    def rate(self, counter: Callable[[Sample], int | None]) -> list[Point]:
        """Return a counter's increase a second; where it began again nothing is drawn."""
        seen = [(one.at, found) for one in self.samples if (found := counter(one)) is not None]
        steps = [
            (at, (value - was) / (at - since).total_seconds())
            for (since, was), (at, value) in pairwise(seen)
            if value >= was and at > since
        ]
        return [(self.day(at), value) for at, value in thinned(steps, MOST_POINTS)]

    def day(self, at: datetime) -> float:
        """Return days since the beginning."""
        return (at - self.since).total_seconds() / DAY_S

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-able."""
        return {
            "target": self.target,
            "since": self.since.isoformat(),
            "looks": len(self.samples),
            "database": asdict(self.database) if self.database else None,
            "tables": [asdict(one) for one in self.tables],
            "disk_full_days": self.disk_full_days,
            "database_size_limit_days": self.limit_days,
            "drills": [one.model_dump(mode="json") for one in self.drills],
        }


def read_trend(target: Target, days: float) -> Trend:
    """Read the last days of a target from its storage; changes nothing. Raises StorageError."""
    storage, since = open_storage(target.storage), utc_now() - timedelta(days=days)
    samples = read_samples(storage, target.name, since)
    drills = [one for one in read_drills(storage, target.name) if one.started_at >= since]
    return trend_of(target.name, since, samples, drills, target.policies.alert_limits.get("database-size"))


def trend_of(
    target: str,
    since: datetime,
    samples: Sequence[Sample],
    drills: Sequence[DrillReport],
    size_limit: float | None = None,
) -> Trend:
    """Return what the samples say; ``size_limit`` is the alert's own, in bytes."""
    database = next(_growths(samples, ["the database"], lambda one, _: one.size_bytes), None)
    names = sorted({name for one in samples[-1:] for name in one.tables})
    tables = sorted(_growths(samples, names, lambda one, name: one.tables.get(name)), key=_steepest)
    free = [(one.at, one.disk_free_share) for one in samples if one.disk_free_share is not None]
    falling = _a_day(free)
    full_days = free[-1][1] / -falling if falling is not None and falling < 0 else None
    return Trend(
        target, since, samples, drills, database, tables[:TABLES_SHOWN], full_days,
        _days_until(database, size_limit),
    )  # fmt: skip


def _growths(
    samples: Sequence[Sample], names: Sequence[str], size: Callable[[Sample, str], int | None]
) -> Iterator[Growth]:
    for name in names:
        sizes = [(one.at, found) for one in samples if (found := size(one, name)) is not None]
        if sizes:
            yield Growth(name, sizes[-1][1], _a_day(sizes))


def _steepest(growth: Growth) -> tuple[float, str]:
    return -(growth.bytes_a_day or 0.0), growth.name


def _a_day(points: Sequence[tuple[datetime, float]]) -> float | None:
    """Return the change a day, or None where less than an hour was seen."""
    if not points or (points[-1][0] - points[0][0]).total_seconds() < SHORTEST_DAYS * DAY_S:
        return None
    chosen = points[:: -(-len(points) // LOOKS_COMPARED)]
    slopes = [
        (later - earlier) / (at - since).total_seconds()
        for (since, earlier), (at, later) in combinations(chosen, 2)
        if at > since
    ]
    return statistics.median(slopes) * DAY_S if slopes else None


def _days_until(growth: Growth | None, limit: float | None) -> float | None:
    """Return when a size reaches its limit at this rate; None where it does not, or has no limit."""
    if growth is None or limit is None or math.isinf(limit):
        return None
    if growth.bytes_a_day is None or growth.bytes_a_day <= 0:
        return None
    return max(0.0, (limit - growth.bytes) / growth.bytes_a_day)
