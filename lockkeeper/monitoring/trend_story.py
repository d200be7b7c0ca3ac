"""A trend as lines for the terminal and as a page with pictures."""

from __future__ import annotations

from collections.abc import Iterator

from lockkeeper.monitoring.history import Sample
from lockkeeper.monitoring.trend import Growth, Trend
from lockkeeper.page import Table, TrendPage, trend_html
from lockkeeper.page.charts import Chart, chart_over_days
from lockkeeper.text_units import format_duration, format_size

NOT_YET = "too little was seen for a rate"
TABLES_DRAWN = 3


def trend_facts(trend: Trend) -> list[tuple[str, str]]:
    """Return what matters of a trend, as label and value."""
    return list(_facts(trend))


def trend_page(trend: Trend) -> str:
    """Return the page: one HTML file that needs nothing else."""
    growths = [(one.name, format_size(one.bytes), _rate(one)) for one in trend.tables]
    drills = [
        (f"{one.started_at:%Y-%m-%d %H:%M}", format_size(one.database_bytes), format_duration(one.restore_s),
         format_duration(one.predicted_recovery_s), format_duration(one.objective_s))
        for one in reversed(trend.drills)
    ]  # fmt: skip
    tables = []
    if growths:
        tables.append(Table("Tables", ("table", "size", "growth"), growths))
    if drills:
        header = ("drill", "database", "restore", "a recovery would take", "objective")
        tables.append(Table("Drills", header, drills))
    page = TrendPage(
        title=f"{trend.target} over time",
        subtitle=_extent(trend),
        figures=trend_facts(trend),
        charts=[chart for chart in _charts(trend) if chart is not None],
        tables=tables,
    )
    return trend_html(page)


def _facts(trend: Trend) -> Iterator[tuple[str, str]]:
    if trend.database is not None:
        yield "database", f"{format_size(trend.database.bytes)}, {_rate(trend.database)}"
    for table in trend.tables[:TABLES_DRAWN]:
        yield table.name, f"{format_size(table.bytes)}, {_rate(table)}"
    if trend.disk_full_days is not None:
        yield "disk full", f"in {trend.disk_full_days:.0f} days at this rate"
    if trend.limit_days is not None:
        yield "limit of database-size", f"reached in {trend.limit_days:.0f} days at this rate"
    if trend.samples:
        longest = max(trend.samples, key=lambda one: one.longest_wait_s)
        fullest = max(trend.samples, key=lambda one: one.connections)
        yield "longest wait for a lock", f"{format_duration(longest.longest_wait_s)}{_when(longest)}"
        used = f"{fullest.connections} of {fullest.connections_max}"
        yield "most connections", f"{used}{_when(fullest)}"
    if trend.drills:
        first, last = trend.drills[0], trend.drills[-1]
        was = f", {format_duration(first.predicted_recovery_s)} at first" if first is not last else ""
        took = format_duration(last.predicted_recovery_s)
        yield "a recovery would take", f"{took}{was} (objective {format_duration(last.objective_s)})"


def _when(sample: Sample) -> str:
    return f", {sample.at:%Y-%m-%d %H:%M}"


def _rate(growth: Growth) -> str:
    if growth.bytes_a_day is None:
        return NOT_YET
    size = format_size(round(growth.bytes_a_day))
    return f"{size} a day" if growth.bytes_a_day < 0 else f"+{size} a day"


def _extent(trend: Trend) -> str:
    if not trend.samples:
        return f"no looks since {trend.since:%Y-%m-%d}, {len(trend.drills)} drills"
    first, last = trend.samples[0].at, trend.samples[-1].at
    looks = f"{len(trend.samples):,} looks from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    return f"{looks}, {len(trend.drills)} drills"


def _charts(trend: Trend) -> Iterator[Chart | None]:
    since = trend.since
    size = trend.curve(lambda one: None if one.size_bytes is None else one.size_bytes / 1e6)
    yield chart_over_days("Size of the database", "MB", since, {"size": size})
    largest = {one.name: _table_curve(trend, one.name) for one in trend.tables[:TABLES_DRAWN]}
    yield chart_over_days("Tables that grow fastest", "MB", since, largest)
    used = trend.curve(lambda one: None if one.disk_free_share is None else 100 - 100 * one.disk_free_share)
    yield chart_over_days("Disk used", "%", since, {"used": used})
    committed = {
        "committed": trend.rate(lambda one: one.commits),
        "rolled back": trend.rate(lambda one: one.rollbacks),
    }
    yield chart_over_days("Transactions", "a second", since, committed)
    wal = [(at, rate / 1e6) for at, rate in trend.rate(lambda one: one.wal_bytes)]
    yield chart_over_days("WAL", "MB a second", since, {"WAL": wal})
    sessions = {
        "connected": trend.curve(lambda one: one.connections),
        "active": trend.curve(lambda one: one.active),
    }
    yield chart_over_days("Connections", "sessions", since, sessions)
    waits = trend.curve(lambda one: one.longest_wait_s)
    yield chart_over_days("Longest wait for a lock", "s", since, {"longest wait": waits})
    dated = [(trend.day(one.started_at), one) for one in trend.drills]
    drills = {
        "a recovery would take": [(at, one.predicted_recovery_s) for at, one in dated],
        "objective": [(at, one.objective_s) for at, one in dated],
    }
    yield chart_over_days("Drills", "s", since, drills)


def _table_curve(trend: Trend, name: str) -> list[tuple[float, float]]:
    return trend.curve(lambda one: one.tables[name] / 1e6 if name in one.tables else None)
