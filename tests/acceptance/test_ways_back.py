"""Undo, recover and clean: what somebody does after a migration has ended, or could not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from lockkeeper.engine import Engine
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.models import Outcome, RunReport
from lockkeeper.operations import run_backup, run_restore
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.record import new_run_id
from lockkeeper.recoveries import run_clean, run_recover, run_undo
from lockkeeper.recovery.remains import find_remains
from lockkeeper.runbook import MigrationRequest
from tests.acceptance.journal_writers import judge, prepare, wait_for_commits, writing
from tests.acceptance.test_kills import command, running_step
from tests.acceptance.test_zero_loss import OUR_OBJECTS

pytestmark = pytest.mark.load

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
LOSE_NOTES = 'op.execute("ALTER TABLE entries DROP COLUMN note")'
IRREVERSIBLE = "raise NotImplementedError('no way back')"


def play(shop, runbook, **options: object) -> RunReport:
    run_id = new_run_id()
    request = MigrationRequest(run_id=run_id, target=shop.target.name, database=shop.target.database)
    return runbook(Engine(shop.target, run_id), request, **options)


def ours(shop) -> list[str]:
    with connect(shop.url, "tests") as connection:
        return [str(row[0]) for row in fetch_all(connection, OUR_OBJECTS)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spools that another run of these tests has left on this machine are not these tests' remains."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


@pytest.fixture
def captured_shop(shop):
    """A shop whose migrations are captured, with the writers' tables."""
    prepare(shop.url)
    shop.with_policies(capture="auto", lock_timeout_ms=2000, lock_retries=20)
    return shop


def test_a_migration_is_undone_and_every_write_since_is_kept(captured_shop) -> None:
    shop = captured_shop
    shop.with_policies(bake_time_s=600)
    shop.add_revision("r1", ADD_STATUS, IRREVERSIBLE)
    with writing(shop.url) as writers:
        assert shop.migrate().outcome is Outcome.SUCCEEDED
        wait_for_commits(writers, 50)
        report = play(shop, run_undo)
        wait_for_commits(writers, 20)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    judgement = judge(shop.url, writers)
    assert (judgement.lost, judgement.invented, judgement.wrong[:3]) == ([], [], [])
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT version_num FROM alembic_version") == "base0"
    assert ours(shop) == []
    assert play(shop, run_undo).outcome is Outcome.REFUSED, "there is nothing left to undo with"


def test_what_the_former_schema_has_no_place_for_is_parked_and_listed(captured_shop) -> None:
    shop = captured_shop
    shop.with_policies(bake_time_s=600)
    shop.add_revision("r1", ADD_STATUS, IRREVERSIBLE)
    assert shop.migrate().outcome is Outcome.SUCCEEDED
    with connect(shop.url, "tests") as connection:
        execute(connection, "UPDATE users SET status = 'gold', balance = 7 WHERE id = 3")
    report = play(shop, run_undo)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT balance FROM users WHERE id = 3") == 7
        parked = fetch_all(connection, f"SELECT * FROM {report.restore.parked_table}")
    assert len(parked) == len(report.restore.parked) == 1
    assert "public.users (id=3)" in report.restore.parked[0]
    assert "gold" in str(parked), "the value is in the table"
    assert "gold" not in report.model_dump_json(), "and not in the report"


def test_nothing_is_kept_after_a_migration_without_a_bake_time(captured_shop) -> None:
    captured_shop.add_revision("r1", ADD_STATUS)
    assert captured_shop.migrate().outcome is Outcome.SUCCEEDED
    assert ours(captured_shop) == []
    assert find_remains(captured_shop.target) == []
    report = play(captured_shop, run_undo)
    assert report.outcome is Outcome.REFUSED
    assert "bake_time_s" in report.error


def test_the_next_migration_lets_go_of_the_way_back_of_the_last(captured_shop) -> None:
    shop = captured_shop
    shop.with_policies(bake_time_s=600)
    shop.add_revision("r1", ADD_STATUS)
    assert shop.migrate().outcome is Outcome.SUCCEEDED
    first = {one.name for one in find_remains(shop.target)}
    shop.add_revision("r2", 'op.execute("CREATE TABLE extra (id int)")')
    assert shop.migrate().outcome is Outcome.SUCCEEDED
    second = {one.name for one in find_remains(shop.target)}
    assert first
    assert second
    assert not first & second
    play(shop, run_clean, waiting=True)
    assert find_remains(shop.target) == []
    assert ours(shop) == []


def test_a_restore_ends_what_was_kept_for_an_undo(captured_shop) -> None:
    shop = captured_shop
    shop.with_policies(bake_time_s=600)
    shop.add_revision("r1", ADD_STATUS)
    migrated = shop.migrate()
    assert (
        play(shop, run_restore, backup_id=migrated.backup_id, accept_loss=True).outcome is Outcome.SUCCEEDED
    )
    assert ours(shop) == []
    assert play(shop, run_undo).outcome is Outcome.REFUSED


def test_clean_keeps_what_waits_and_the_newest_quarantine(captured_shop) -> None:
    shop = captured_shop
    shop.add_revision("bad", LOSE_NOTES, IRREVERSIBLE)
    shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    assert shop.migrate().outcome is Outcome.RECOVERED
    assert play(shop, run_clean).outcome is Outcome.SUCCEEDED
    (left,) = find_remains(shop.target)
    assert left.kind == "quarantine"
    play(shop, run_clean, quarantine=left.name)
    assert find_remains(shop.target) == []


def kill_in_step(shop, step: str) -> None:
    argv, environment = command(shop)
    argv.insert(2, shop.target.name)
    argv += ["--set", f"lock_timeout_ms={shop.target.policies.lock_timeout_ms}"]
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        pause = threading.Event()
        for _ in range(12_000):
            if running_step(shop) == step:
                break
            assert process.poll() is None, "it ended before it came to that step"
            pause.wait(0.005)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("step", ["stand-by", "migrate", "recover: warm swap"])
def test_a_killed_run_is_taken_up_again_without_losing_a_write(captured_shop, step) -> None:
    shop = captured_shop
    shop.add_revision("bad", LOSE_NOTES + "\ntime.sleep(0.3)", IRREVERSIBLE)
    shop.add_rule("never_satisfied", "SELECT 1 AS broken FROM pg_sleep(0.3)")
    with writing(shop.url, pause_s=0.01) as writers:
        wait_for_commits(writers, 20)
        kill_in_step(shop, step)
        report = play(shop, run_recover)
        wait_for_commits(writers, 20)
    assert report.outcome is Outcome.SUCCEEDED, (report.error, report.recovery)
    judgement = judge(shop.url, writers)
    assert (judgement.lost, judgement.invented, judgement.wrong[:3]) == ([], [], [])
    assert ours(shop) == []
    assert [one.kind for one in find_remains(shop.target) if one.kind != "quarantine"] == []
    journal = sorted(Path(shop.target.storage.path).rglob("runs/*.json"))
    assert [json.loads(path.read_text())["outcome"] for path in journal][-1] is not None
    assert play(shop, run_recover).outcome is Outcome.REFUSED


def test_a_machine_that_has_not_what_was_captured_refuses_and_that_which_has_recovers(
    captured_shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = captured_shop
    shop.add_revision("bad", LOSE_NOTES, IRREVERSIBLE)
    shop.add_rule("never_satisfied", "SELECT 1 AS broken FROM pg_sleep(0.3)")
    kill_in_step(shop, "verify")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv(HOME_VARIABLE, str(tmp_path / "another machine"))
        report = play(shop, run_recover)
    assert report.outcome is Outcome.REFUSED
    assert "not on this machine" in report.error
    report = play(shop, run_recover)
    assert report.outcome is Outcome.SUCCEEDED, (report.error, report.recovery)
    assert ours(shop) == []


def test_recover_without_an_unfinished_run_is_refused(shop) -> None:
    play(shop, run_backup)
    report = play(shop, run_recover)
    assert report.outcome is Outcome.REFUSED
    assert "No migration of shop waits for a recovery" in report.error
