"""The course of a run in numbers, for its pictures: a bounded list of points, one for each sample."""

from __future__ import annotations

from datetime import datetime

from lockkeeper.models import Fact
from lockkeeper.monitoring.budget import blocked_sessions
from lockkeeper.monitoring.readings import Look

MOST_POINTS = 4000


class Point(Fact):
    """One moment. Zero is a measurement, None is not known."""

    at: datetime
    blocked: int = 0
    waiting: int = 0
    longest_block_s: float = 0.0
    connections: int = 0
    probe_ms: float | None = None
    size_bytes: int | None = None
    wal_bytes: int | None = None
    lag_bytes: int | None = None


def point_of(look: Look) -> Point:
    """Return a look as a point."""
    blocked = blocked_sessions(look.activity, look.own_pids)
    vitals = look.vitals
    lags = [one.lag_bytes for one in vitals.replicas if one.lag_bytes is not None] if vitals else []
    return Point(
        at=look.activity.at,
        blocked=len(blocked),
        waiting=len({wait.waiter_pid for wait in look.activity.waits}),
        longest_block_s=round(max((wait.waiting_s for wait in blocked.values()), default=0.0), 3),
        connections=look.activity.connections,
        probe_ms=None if look.probe_ms is None else round(look.probe_ms, 2),
        size_bytes=vitals.database.size_bytes if vitals and vitals.database else None,
        wal_bytes=vitals.wal_bytes if vitals else None,
        lag_bytes=max(lags, default=None),
    )


class Timeline:
    """Points in order of time; when there are too many, neighbours become one that keeps the worse values."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def add(self, point: Point) -> None:
        """Append a point."""
        self.points.append(point)
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points = [_worse(first, second) for first, second in pairs]


def _worse(first: Point, second: Point) -> Point:
    changes = {
        name: max(value, getattr(first, name) or 0)
        for name in ("blocked", "waiting", "longest_block_s", "connections", "probe_ms")
        if (value := getattr(second, name)) is not None
    }
    return second.model_copy(update=changes)
