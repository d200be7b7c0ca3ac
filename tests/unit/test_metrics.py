"""Metrics: strict parsers read them, no name is invented, no reader sees half a file."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text_format

from lockkeeper.errors import ConfigurationError
from lockkeeper.measured import MonitorSummary, ProbeSummary
from lockkeeper.models import DrillReport, Outcome, RunReport, Step, StepState
from lockkeeper.monitoring.metrics import (
    FOLDER_VARIABLE,
    METRICS,
    Metrics,
    activity_metrics,
    history_metrics,
    migration_metrics,
    vitals_metrics,
    write_metrics,
    writing,
)
from lockkeeper.monitoring.readings import (
    Activity,
    Command,
    DatabaseVitals,
    Look,
    Replica,
    Session,
    Slot,
    TableVitals,
    Vitals,
    Wait,
)

AT = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "lockkeeper.json"
NASTY = 'a "table"\\ with\nlines'


def a_look() -> Look:
    waits = tuple(
        Wait(
            waiter, "app", "client backend", "SELECT", 2.5, "AccessShareLock", 10, "lk", "u", "active", 3, "x"
        )
        for waiter in (20, 20, 21)
    )
    session = Session(30, "app", "u", "active", "", 40.0, 30.0, 1.0, 5, "SELECT ?")
    activity = Activity(AT, 7, 3, 1, 0, 100, (session,), waits)
    database = DatabaseVitals(1000, 50, 2, 25, 75, 1, 0, 300, 1, 1000, 1000, True, 0.0, (), 0, False, True)
    vitals = Vitals(
        AT,
        database,
        tables=(TableVitals("public.t", 10, 4, 0, 50, 50, True, 10, 10),),
        replicas=(*(Replica("walreceiver", "streaming", lag, 0.1) for lag in (5, None)),),
        slots=(Slot("s", True, 99, "reserved", None),),
        commands=(Command(10, "CREATE INDEX", NASTY, "building", 25, 100),),
        wal_bytes=12345,
        disk_free_share=0.4,
    )  # fmt: skip
    return Look(activity, vitals, None, frozenset({10}), 12.0)


def a_report(operation: str, outcome: Outcome | None, duration_s: float = 60.0) -> RunReport:
    steps = tuple(
        Step(name=name, state=StepState.DONE, started_at=AT, duration_s=2.0)
        for name in ("backup", "migrate", "migrate")
    )
    return RunReport(
        run_id="r1", operation=operation, target="shop", database="shop", outcome=outcome,
        started_at=AT, duration_s=duration_s, steps=steps,
    )  # fmt: skip


def a_drill() -> DrillReport:
    return DrillReport(
        run_id="d1", target="shop", backup_id="b1", backup_made_at=AT, started_at=AT, database_bytes=1,
        rows=1, restore_s=1, compare_s=1, analyze_s=1,
        predicted_recovery_s=90, loss_window_s=0, objective_s=300,
    )  # fmt: skip


def everything() -> list[Metrics]:
    look = a_look()
    assert look.vitals is not None
    metrics = Metrics("shop")
    metrics.set("look_success", 1)
    metrics.set("look_timestamp_seconds", 1.5)
    metrics.set("incidents_open", 2, rule="long-query")
    activity_metrics(metrics, look.activity)
    vitals_metrics(metrics, look.vitals)
    history_metrics(metrics, [a_report("migrate", Outcome.SUCCEEDED)], None, a_drill())
    probe = ProbeSummary(before_ms=1.0, during_ms=2.0, longest_ms=30.0, probes=3)
    summary = MonitorSummary(samples=9, max_blocked_sessions=2, longest_block_s=2.5, probe=probe)
    return [metrics, migration_metrics("shop", look, summary, running=True)]


def values(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Name without prefix, labels but for the target -> value."""
    found = {}
    for family in parse_open_metrics(metrics.text()):
        for sample in family.samples:
            labels = ",".join(value for name, value in sample.labels.items() if name != "target")
            key = (sample.name.removeprefix("lockkeeper_"), labels)
            assert key not in found, "a series is there twice"
            found[key] = sample.value
    return found


def test_both_of_prometheus_parsers_read_the_same_from_a_file() -> None:
    for metrics in everything():
        by_open_metrics = [s for f in parse_open_metrics(metrics.text()) for s in f.samples]
        by_text_format = [s for f in parse_text_format(metrics.text()) for s in f.samples]
        assert by_open_metrics == by_text_format
        assert len(by_open_metrics) > 10


def test_values_are_those_of_the_look() -> None:
    looked, beside = (values(metrics) for metrics in everything())
    assert looked["lock_waits", ""] == 2
    assert looked["lock_wait_longest_seconds", ""] == 2.5
    assert looked["query_longest_seconds", ""] == 30
    assert looked["database_cache_hit_ratio", ""] == 0.75
    assert looked["replica_lag_bytes", "walreceiver,0"] == 5
    assert ("replica_lag_bytes", "walreceiver,1") not in looked, "unknown is not zero"
    assert looked["run_step_duration_seconds", "migrate,migrate"] == 4
    assert beside["migration_blocked_sessions", ""] == 2
    assert beside["migration_probe_seconds", ""] == 0.012


def test_names_of_the_users_tables_can_hold_anything() -> None:
    beside = values(everything()[1])
    assert beside["command_progress_ratio", f"10,CREATE INDEX,{NASTY}"] == 0.25


def test_the_newest_run_that_ended_counts_and_a_failure_is_no_success() -> None:
    metrics = Metrics("shop")
    reports = [
        a_report("migrate", None),
        a_report("migrate", Outcome.RECOVERED, 7),
        a_report("migrate", Outcome.SUCCEEDED, 9),
        a_report("backup", Outcome.NEEDS_HUMAN),
    ]
    history_metrics(metrics, reports, None, None)
    found = values(metrics)
    assert (found["run_success", "migrate"], found["run_duration_seconds", "migrate"]) == (0, 7)
    assert (found["run_needs_human", "migrate"], found["run_needs_human", "backup"]) == (0, 1)


def test_what_could_not_be_read_is_not_written_as_zero() -> None:
    metrics = Metrics("shop")
    vitals_metrics(metrics, Vitals(AT, unseen={"tables": "permission denied", "database": "time-out"}))
    assert values(metrics) == {}


def test_after_the_migration_nothing_is_said_of_the_present() -> None:
    found = values(migration_metrics("shop", a_look(), MonitorSummary(samples=3), running=False))
    assert found["migration_running", ""] == 0
    assert ("migration_blocked_sessions", "") not in found


def test_a_metric_without_a_meaning_is_refused() -> None:
    with pytest.raises(KeyError, match="no place in METRICS"):
        Metrics("shop").set("surprise", 1)


def test_every_metric_of_the_dashboard_exists_and_every_metric_is_shown() -> None:
    board = json.loads(DASHBOARD.read_text())
    board.pop("uid")
    used = set(re.findall(r"lockkeeper_(\w+)", json.dumps(board)))
    hidden = {"migration_samples", "backup_verified_bytes"} - used
    assert used | hidden == set(METRICS)


def test_the_dashboards_panels_do_not_overlap_and_have_queries() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"])
        taken |= cells


def test_a_file_is_replaced_whole_and_readable_by_the_collector(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for number in (1, 2):
        metrics = Metrics("shop")
        metrics.set("lock_waits", number)
        write_metrics(metrics, "look")
    assert [path.name for path in tmp_path.iterdir()] == ["lockkeeper-shop-look.prom"]
    path = tmp_path / "lockkeeper-shop-look.prom"
    assert 'lockkeeper_lock_waits{target="shop"} 2.0' in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_written_to_is_a_problem_and_fails_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=FOLDER_VARIABLE):
        write_metrics(Metrics("shop"), "look")
    problems: list[str] = []
    with writing(lambda _running: Metrics("shop"), "migration", problems):
        pass
    assert len(problems) == 1
    assert "cannot be written" in problems[0]


def test_the_last_file_beside_a_migration_says_that_it_has_ended(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))

    def take(running: bool) -> Metrics:
        return migration_metrics("shop", None, MonitorSummary(), running=running)

    with writing(take, "migration", []):
        pass
    text = (tmp_path / "lockkeeper-shop-migration.prom").read_text()
    assert 'lockkeeper_migration_running{target="shop"} 0.0' in text


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    write_metrics(Metrics("shop"), "look")
    assert list(tmp_path.iterdir()) == []
