"""A recovery from storage, practised on real servers."""

from __future__ import annotations

from lockkeeper.backup import list_backups
from lockkeeper.drill import read_drills
from lockkeeper.engine import Engine
from lockkeeper.models import Outcome, RunReport
from lockkeeper.operations import run_backup, run_drill
from lockkeeper.postgres.connection import connect, fetch_all
from lockkeeper.record import new_run_id
from lockkeeper.runbook import MigrationRequest
from lockkeeper.storage import open_storage


def play(shop, runbook) -> RunReport:
    run_id = new_run_id()
    request = MigrationRequest(run_id=run_id, target=shop.target.name, database=shop.target.database)
    return runbook(Engine(shop.target, run_id), request)


def test_a_drill_brings_the_newest_backup_back_and_leaves_nothing(shop) -> None:
    assert play(shop, run_backup).outcome is Outcome.SUCCEEDED
    report = play(shop, run_drill)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    newest = list_backups(shop.target)[0]
    assert (report.drill.backup_id, report.drill.rows) == (newest.id, 1501)
    assert report.drill.predicted_recovery_s > report.drill.restore_s > 0
    assert read_drills(open_storage(shop.target.storage), "shop") == [report.drill]
    assert shop.differences() == []
    with connect(shop.target.maintenance_url, "tests") as connection:
        scratch = f"{shop.target.database}_lk_%"
        assert fetch_all(connection, "SELECT 1 FROM pg_database WHERE datname LIKE %s", (scratch,)) == []


def test_a_recovery_that_would_take_too_long_fails_the_drill_and_warns_the_next_migration(shop) -> None:
    play(shop, run_backup)
    shop.with_policies(recovery_objective_s=0.001)
    report = play(shop, run_drill)
    assert (report.outcome, report.outcome.exit_code) == (Outcome.UNCHANGED, 1)
    assert "A recovery from storage is predicted to take" in report.error
    shop.add_revision("r1", "pass")
    migrated = shop.migrate()
    assert migrated.outcome is Outcome.SUCCEEDED, migrated.error
    assert migrated.drill == report.drill
    assert [check.message for check in migrated.checks if check.name == "recovery objective"] != []


def test_a_drill_without_a_verified_backup_is_refused(shop) -> None:
    report = play(shop, run_drill)
    assert report.outcome is Outcome.REFUSED
    assert "lockkeeper backup shop" in report.error


def test_a_backup_that_has_rotted_is_found_by_the_drill(shop) -> None:
    play(shop, run_backup)
    dump = next(shop.target.storage.path.rglob("dump.zst"))
    dump.write_bytes(dump.read_bytes()[:-100])
    report = play(shop, run_drill)
    assert report.outcome is Outcome.UNCHANGED
    assert report.error
    assert report.drill is None
