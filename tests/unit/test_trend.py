"""Trends: a rate is the middle of many slopes, nothing is made up from too little, the page needs nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from lockkeeper.models import DrillReport
from lockkeeper.monitoring.history import Sample
from lockkeeper.monitoring.trend import Trend, trend_of
from lockkeeper.monitoring.trend_story import NOT_YET, trend_facts, trend_page
from tests.unit.test_history import START, a_sample
from tests.unit.test_page import FETCHING, read
from tests.unit.test_reports import HOSTILE

GB, MB = 1_000_000_000, 1_000_000
MINUTES_A_DAY = 1440


def growing(days: int = 10, per_day: int = 100 * MB, **values: object) -> list[Sample]:
    """Looks each hour at a database that grows evenly."""
    return [
        a_sample(
            60 * hour,
            size_bytes=GB + per_day * hour // 24,
            tables={"public.orders": GB // 2 + per_day * hour // 48, "public.users": 1000},
            commits=3600 * 50 * hour,
            rollbacks=3600 * hour,
            wal_bytes=3600 * MB * hour,
            **values,
        )
        for hour in range(24 * days)
    ]


def a_drill(day: int, recovery_s: float) -> DrillReport:
    at = START + timedelta(days=day)
    backup = f"{at:%Y%m%dT%H%M%SZ}-1a2b3c"
    return DrillReport(
        run_id=f"d{day}", target="shop", backup_id=backup, backup_made_at=at, started_at=at,
        database_bytes=GB, rows=10, restore_s=recovery_s - 3, compare_s=1, analyze_s=1,
        predicted_recovery_s=recovery_s, loss_window_s=0, objective_s=300,
    )  # fmt: skip


def a_trend(samples: list[Sample], size_limit: float | None = None) -> Trend:
    drills = [a_drill(1, 40.0), a_drill(8, 55.0)]
    return trend_of("shop", START, samples, drills, size_limit)


def test_growth_is_told_for_the_database_and_the_tables_that_grow_fastest() -> None:
    trend = a_trend(growing())
    assert trend.database.bytes_a_day == pytest.approx(100 * MB, rel=0.01)
    assert [one.name for one in trend.tables] == ["public.orders", "public.users"]
    assert trend.tables[0].bytes_a_day == pytest.approx(50 * MB, rel=0.01)
    facts = dict(trend_facts(trend))
    assert facts["database"] == "2.0 GB, +100.0 MB a day"
    assert facts["public.users"] == "1.0 kB, +0 B a day"
    assert facts["a recovery would take"] == "55.0 s, 40.0 s at first (objective 5 min 00 s)"


def test_one_bulk_load_is_no_trend() -> None:
    samples = growing(per_day=0)
    loaded = [one.model_copy(update={"size_bytes": one.size_bytes + 50 * GB}) for one in samples[-12:]]
    assert a_trend([*samples[:-12], *loaded]).database.bytes_a_day == pytest.approx(0)


def test_when_the_limit_or_the_end_of_the_disk_is_reached_is_told() -> None:
    samples = [
        one.model_copy(update={"disk_free_share": 0.5 - 0.01 * number / 24})
        for number, one in enumerate(growing())
    ]
    trend = a_trend(samples, size_limit=4 * GB)
    assert trend.disk_full_days == pytest.approx(40, abs=0.5)
    assert trend.limit_days == pytest.approx(20, abs=0.5)
    facts = dict(trend_facts(trend))
    assert facts["disk full"] == "in 40 days at this rate"
    assert facts["limit of database-size"] == "reached in 20 days at this rate"
    assert a_trend(growing(per_day=0), size_limit=4 * GB).limit_days is None
    assert a_trend(growing(per_day=-1), size_limit=4 * GB).limit_days is None
    assert a_trend(growing(), size_limit=float("inf")).limit_days is None
    assert a_trend(growing(), size_limit=1.0).limit_days == 0


def test_from_half_an_hour_no_day_is_made_up() -> None:
    trend = a_trend([a_sample(n, size_bytes=GB + n * GB) for n in range(30)])
    assert trend.database.bytes_a_day is None
    assert dict(trend_facts(trend))["database"] == f"30.0 GB, {NOT_YET}"


def test_a_counter_that_began_again_is_no_rate_and_unknown_values_are_left_out() -> None:
    values = [(0, 100), (1, 160), (2, None), (3, 10), (4, 70)]
    trend = a_trend([a_sample(minute, commits=commits) for minute, commits in values])
    assert [(round(day * MINUTES_A_DAY), rate) for day, rate in trend.rate(lambda one: one.commits)] == [
        (1, 1.0), (4, 1.0)
    ]  # fmt: skip
    assert [value for _, value in trend.curve(lambda one: one.commits)] == [100, 160, 10, 70]
    assert trend.database is None


def test_a_month_of_minutes_is_thinned_and_keeps_its_peaks() -> None:
    samples = [a_sample(number, connections=90 if number == 20_000 else 7) for number in range(43_200)]
    curve = a_trend(samples).curve(lambda one: one.connections)
    assert len(curve) <= 300
    assert max(value for _, value in curve) == 90


def test_the_page_draws_growth_load_and_drills_and_fetches_nothing() -> None:
    page = trend_page(a_trend(growing()))
    text = read(page).text
    for title in (
        "shop over time", "Size of the database", "Tables that grow fastest", "Transactions", "WAL",
        "Connections", "Longest wait for a lock", "Drills", "240 looks from 2026-11-01",
    ):  # fmt: skip
        assert title in text
    assert page.count('role="img"') == page.count("<figcaption>") == 7
    assert not [found for found in FETCHING.findall(page) if found != "data="]


def test_names_of_tables_are_shown_and_never_markup() -> None:
    samples = [one.model_copy(update={"tables": {HOSTILE: 1000 + n}}) for n, one in enumerate(growing(2))]
    nesting = read(trend_page(a_trend(samples)))
    assert "<b>x</b>" in nesting.text
    assert "\x1b" not in nesting.text


def test_of_a_target_without_looks_the_drills_are_drawn() -> None:
    trend = a_trend([])
    text = read(trend_page(trend)).text
    assert "no looks since 2026-11-01, 2 drills" in text
    assert "A recovery" not in text
    assert "a recovery would take" in text
    assert trend.as_dict()["database"] is None


def test_nothing_at_all_is_no_error() -> None:
    empty = trend_of("shop", datetime(2026, 11, 1, tzinfo=timezone.utc), [], [])
    assert trend_facts(empty) == []
    read(trend_page(empty))
