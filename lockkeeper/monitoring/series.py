"""Keeps what a monitor saw over time, in bounded memory: peaks survive, however long it lasts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from lockkeeper.measured import BackfillSeries, ImpactSeries, Point
from lockkeeper.models import utc_now
from lockkeeper.monitoring.probe import Latency, LatencyProbe

MOST_POINTS = 300
"""Of each curve: more than a screen has columns for, and small enough to be stored with the report."""


class PeakSeries:
    """One curve. When it is full, two neighbours become one, the higher of them, from then on too."""

    def __init__(self, most: int = 2 * MOST_POINTS) -> None:
        self._most = most
        self._width = 1  # how many values a point stands for
        self._in_last = 0
        self._points: list[tuple[datetime, float]] = []

    def add(self, at: datetime, value: float) -> None:
        """Append one value."""
        if 0 < self._in_last < self._width:
            self._points[-1] = max(self._points[-1], (at, value), key=lambda point: point[1])
            self._in_last += 1
            return
        if len(self._points) == self._most:
            self._points, self._width = thinned(self._points, self._most // 2), 2 * self._width
        self._points.append((at, value))
        self._in_last = 1

    def points(self, since: datetime, most: int = MOST_POINTS) -> tuple[Point, ...]:
        """Return at most ``most`` of them, as seconds after ``since`` and value."""
        kept = thinned(self._points, most)
        return tuple((round((at - since).total_seconds(), 2), round(value, 3)) for at, value in kept)


def thinned(points: list[tuple[datetime, float]], most: int) -> list[tuple[datetime, float]]:
    """Return at most ``most`` points: of neighbours, the highest."""
    width = -(-len(points) // most) if most else 1
    if width <= 1:
        return points
    groups = (points[start : start + width] for start in range(0, len(points), width))
    return [max(group, key=lambda point: point[1]) for group in groups]


class SeriesKeeper:
    """The curves of one run's report."""

    def __init__(self) -> None:
        self._began = utc_now()
        self._blocked, self._waits, self._active = PeakSeries(), PeakSeries(), PeakSeries()
        self._sizes = PeakSeries()

    def took_activity(self, at: datetime, blocked: int, longest_wait_s: float, active: int) -> None:
        """Keep one look at the sessions."""
        self._blocked.add(at, blocked)
        self._waits.add(at, longest_wait_s)
        self._active.add(at, active)

    def took_size(self, at: datetime, size_bytes: int) -> None:
        """Keep one look at the database's size."""
        self._sizes.add(at, size_bytes)

    def series(self, probe: LatencyProbe) -> ImpactSeries:
        """Return all curves, with the probe's before, beside and after the migration."""
        since = min([self._began, *(latency.at for latency in probe.before)])
        return ImpactSeries(
            started_at=since,
            blocked_sessions=self._blocked.points(since),
            longest_wait_s=self._waits.points(since),
            active_sessions=self._active.points(since),
            size_bytes=self._sizes.points(since),
            latency_before_ms=_latencies(probe.before, since),
            latency_during_ms=_latencies(probe.during, since),
            latency_after_ms=_latencies(probe.after, since),
        )


class BackfillKeeper:
    """The curves of one run's backfill, made of what it says of itself about once a second."""

    def __init__(self, began: datetime | None = None) -> None:
        self._began = self._last_at = began or utc_now()
        self._last_rows: int | None = None
        self._rates, self._latencies = PeakSeries(), PeakSeries()

    def took(self, at: datetime, rows_filled: int, latency_ms: float | None) -> None:
        """Keep one look: the rows that are filled by then, those of former runs included."""
        elapsed_s = (at - self._last_at).total_seconds()
        if self._last_rows is not None and elapsed_s > 0:
            self._rates.add(at, max(rows_filled - self._last_rows, 0) / elapsed_s)
        if latency_ms is not None:
            self._latencies.add(at, latency_ms)
        self._last_at, self._last_rows = at, rows_filled

    def series(self) -> BackfillSeries | None:
        """Return both curves, or None when it was over before it could be looked at twice."""
        rates = self._rates.points(self._began)
        if not rates:
            return None
        return BackfillSeries(
            started_at=self._began, rows_per_s=rates, latency_ms=self._latencies.points(self._began)
        )


def _latencies(latencies: Iterable[Latency], since: datetime) -> tuple[Point, ...]:
    curve = PeakSeries()
    for latency in latencies:
        curve.add(latency.at, latency.ms)
    return curve.points(since)
