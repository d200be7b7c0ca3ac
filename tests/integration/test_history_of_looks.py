"""Looks at a real database leave a history in the storage; ``lockkeeper trend`` draws it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from lockkeeper.cli.main import run
from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.drill.history import write_drill
from lockkeeper.models import utc_now
from lockkeeper.monitoring.history import keep_sample, read_samples
from lockkeeper.monitoring.scheduled import look_once
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.storage import open_storage
from tests.unit.test_history import a_sample
from tests.unit.test_trend import a_drill

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def test_each_look_adds_to_the_history_and_one_that_failed_adds_nothing(database, make_target) -> None:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) AS n")
        execute(connection, "ANALYZE t")
    target = make_target(database)
    for _ in range(2):
        assert look_once(target).undelivered == ()
    look_once(make_target(database.set(password="wrong")))
    samples = read_samples(open_storage(target.storage), target.name, LONG_AGO)
    assert len(samples) == 2
    assert all(one.size_bytes > 5_000_000 and one.tables["public.t"] > 300_000 for one in samples)
    assert samples[0].connections >= 1
    assert samples[1].commits >= samples[0].commits


def test_a_policy_of_no_days_keeps_nothing(database, make_target) -> None:
    target = make_target(database, policies={"history_days": 0})
    assert look_once(target).undelivered == ()
    assert read_samples(open_storage(target.storage), target.name, LONG_AGO) == []


def test_a_history_that_cannot_be_written_is_said_and_the_alerts_are_told_all_the_same(
    database, make_target, tmp_path, webhook
) -> None:
    receiver = webhook(200)
    target = make_target(
        database, alert_webhook_url=receiver.url, policies={"alert_limits": {"database-size": 1.0}}
    )
    (tmp_path / "storage" / target.name / "monitor").mkdir(parents=True)
    (tmp_path / "storage" / target.name / "monitor" / "history").write_text("in the way")
    report = look_once(target)
    assert [problem.split(":")[0] for problem in report.undelivered] == ["history"]
    assert [message["rule"] for message in receiver.received] == ["database-size"]


def test_a_bucket_keeps_a_history_as_a_folder_does(s3, make_target, database) -> None:
    target = make_target(database, storage=s3.settings(prefix="history"))
    storage = open_storage(target.storage)
    for number in range(63):
        keep_sample(storage, "shop", a_sample(number), 30)
    assert [one.id for one in read_samples(storage, "shop", LONG_AGO)] == [f"s{n}" for n in range(63)]
    assert len(storage.list("shop/monitor/history/hours/")) == 1
    assert len(storage.list("shop/monitor/history/looks/")) <= 4


@pytest.fixture
def told(make_target, database, tmp_path, monkeypatch) -> Target:
    """A target with three days of history, and its URL where the command line finds it."""
    monkeypatch.setenv("SHOP_URL", database.render_as_string(hide_password=False))
    target = make_target(database, storage=LocalStorageSettings(path=tmp_path / "kept"))
    storage, now = open_storage(target.storage), utc_now()
    for hour in range(72):
        sample = a_sample(hour, size_bytes=1_000_000_000 + hour * 10_000_000, connections=5 + hour % 7)
        keep_sample(storage, "shop", sample.model_copy(update={"at": now - timedelta(hours=71 - hour)}), 30)
    for day, recovery_s in ((0, 40.0), (1, 50.0)):
        write_drill(
            storage, a_drill(day, recovery_s).model_copy(update={"started_at": now - timedelta(days=2 - day)})
        )
    return target


def trend(target: Target, *options: str) -> int:
    place = ["--database-url-env", "SHOP_URL", "--storage", str(target.storage.path)]
    return run(["trend", "shop", *place, *options])


def test_the_command_tells_growth_and_drills_as_lines_numbers_and_a_page(told, tmp_path, capsys) -> None:
    page = tmp_path / "trend.html"
    assert trend(told, "--json", "--output", str(page)) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["looks"] == 72
    assert data["database"]["bytes_a_day"] == pytest.approx(240_000_000, rel=0.01)
    assert [drill["predicted_recovery_s"] for drill in data["drills"]] == [40.0, 50.0]
    assert data["file"] == str(page)
    assert "Size of the database" in page.read_text()
    assert trend(told) == 0
    lines = capsys.readouterr().out
    assert "+240.0 MB a day" in lines
    assert "50.0 s, 40.0 s at first" in lines


def test_a_target_that_nobody_has_looked_at_is_refused_with_what_to_do(told, tmp_path, capsys) -> None:
    empty = told.model_copy(update={"storage": LocalStorageSettings(path=tmp_path / "new")})
    assert trend(empty) == 2
    assert "Schedule monitor-database" in capsys.readouterr().err
