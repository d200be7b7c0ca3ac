"""Break a migration on purpose: afterwards the database equals before, or equals after, never in between.

``docs/faults.md`` lists these tests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockkeeper.backup import list_backups
from lockkeeper.engine import Engine
from lockkeeper.errors import ConfigurationError, StorageError
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import BackupState, Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from tests.acceptance.aftermath import assert_as_before, assert_nothing_left, leftovers
from tests.acceptance.meddling import (
    ADD_STATUS,
    DROP_STATUS,
    NOT_IN_PREFLIGHT,
    NOT_ZERO,
    ZERO_BALANCES,
    engine_with,
    rungs,
)


def test_without_a_fault_the_database_equals_after(shop) -> None:
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert any("public.users.status" in difference for difference in shop.differences())
    assert [step.name for step in report.steps] == [
        "preflight",
        "backup",
        "verify-backup",
        "migrate",
        "verify",
        "expire-backups",
    ]
    assert shop.migrate().outcome is Outcome.NOTHING_TO_DO
    assert leftovers(shop) == []


class FullStorageEngine(Engine):
    """Has a storage that nothing can be removed from."""

    def expire_backups(self):
        raise StorageError("Cannot delete.")


def test_who_only_migrates_keeps_no_more_backups_than_the_policy_says(shop) -> None:
    """And one that cannot be removed is a warning of a migration that succeeded."""
    shop.with_policies(retention_count=1, retention_days=0)
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    first = shop.migrate(engine_type=FullStorageEngine)
    assert first.outcome is Outcome.SUCCEEDED
    assert first.warnings == ("Old backups could not be removed: Cannot delete.",)
    shop.add_revision("r2", 'op.execute("CREATE TABLE extra (id int)")', 'op.execute("DROP TABLE extra")')
    second = shop.migrate()
    assert second.outcome is Outcome.SUCCEEDED
    assert second.steps[-1].detail == first.backup_id
    states = {one.id: one.state for one in list_backups(shop.target)}
    assert states == {first.backup_id: BackupState.EXPIRED, second.backup_id: BackupState.VERIFIED}
    assert_nothing_left(shop)


def test_an_error_in_upgrade_is_rolled_back(shop) -> None:
    shop.add_revision("r1", ADD_STATUS + "\n" + ZERO_BALANCES + "\nop.execute('SELECT 1/0')")
    report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert "division by zero" in report.error
    assert rungs(report) == [("transaction rollback", True)]
    assert_as_before(shop)


def test_an_error_after_an_autocommit_block_is_restored(shop) -> None:
    shop.add_revision(
        "r1",
        "with op.get_context().autocommit_block():\n    " + ADD_STATUS + "\nop.execute('SELECT 1/0')",
        DROP_STATUS,
    )
    report = shop.migrate()
    assert rungs(report) == [("transaction rollback", False), ("restore", True)]
    assert report.outcome is Outcome.RECOVERED
    assert report.restore.quarantine_database
    assert_as_before(shop)


def test_a_broken_rule_is_downgraded(shop) -> None:
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    shop.add_rule("nobody_is_active", "SELECT id FROM users WHERE status = 'active'")
    report = shop.migrate()
    assert report.outcome is Outcome.RECOVERED
    assert "nobody_is_active is broken by 500 rows" in report.error
    assert [check.name for check in report.checks if check.refuses] == ["rule nobody_is_active"]
    assert rungs(report) == [("downgrade", True)]
    assert_as_before(shop)


def test_rules_whose_folder_goes_away_during_the_migration_are_asked_all_the_same(shop) -> None:
    gone = f"import shutil; shutil.rmtree({str(shop.folder / 'rules')!r})"  # a release link was switched
    shop.add_revision("r1", f"{ADD_STATUS}\n{NOT_IN_PREFLIGHT} {gone}", DROP_STATUS)
    shop.add_rule("nobody_is_active", "SELECT id FROM users WHERE status = 'active'")
    report = shop.migrate()
    assert not (shop.folder / "rules").exists()
    assert report.outcome is Outcome.RECOVERED
    assert "nobody_is_active is broken by 500 rows" in report.error
    assert_as_before(shop)


class LateRefusalEngine(Engine):
    """Finds, when the migration is committed, that something it needs is not there any more."""

    def verify(self, plan, backup, expected, unforeseen):
        raise ConfigurationError("The folder is gone.")


def test_what_is_refused_after_the_migration_is_recovered_from(shop) -> None:
    """Only what is refused before its first statement is: after it, exit code 2 would be a lie."""
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    report = shop.migrate(engine_type=LateRefusalEngine)
    assert report.outcome is Outcome.RECOVERED
    assert "The folder is gone" in report.error
    assert rungs(report) == [("downgrade", True)]
    assert_as_before(shop)


def test_a_downgrade_that_loses_data_is_noticed_and_restored(shop) -> None:
    shop.add_revision(
        "r1",
        'op.drop_column("orders", "note")',
        'op.add_column("orders", sa.Column("note", sa.Text))',
    )
    shop.add_rule("broken", "SELECT id FROM orders WHERE id = 1")
    report = shop.migrate()
    assert rungs(report) == [("downgrade", False), ("restore", True)]
    assert "public.orders" in report.recovery[0].reason
    assert report.outcome is Outcome.RECOVERED
    assert_as_before(shop)


def test_an_irreversible_revision_is_restored(shop) -> None:
    shop.add_revision("r1", ADD_STATUS, "raise NotImplementedError('no way back')")
    shop.add_rule("broken", "SELECT id FROM users")
    report = shop.migrate()
    assert rungs(report) == [("downgrade", False), ("restore", True)]
    assert_as_before(shop)


def test_corrupted_values_are_restored(shop) -> None:
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)
    report = shop.migrate()
    assert "rule no_zero is broken by 500 rows: (id=" in report.error
    assert "user1@" not in report.model_dump_json()
    assert rungs(report) == [("downgrade", False), ("restore", True)]
    assert_as_before(shop)


def test_a_later_revision_that_fails_takes_the_earlier_ones_back(shop) -> None:
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    shop.add_revision("r2", 'op.execute("CREATE TABLE extra (id int)")', 'op.execute("DROP TABLE extra")')
    shop.add_revision("r3", "raise RuntimeError('bad luck')")
    report = shop.migrate()
    assert [timing.revision for timing in report.revisions] == ["r1", "r2"]
    assert rungs(report) == [("downgrade", True)]
    assert_as_before(shop)


def test_the_downgrade_is_enough_for_tables_that_were_captured_and_for_a_ledger_of_ours(shop) -> None:
    shop.with_policies(capture="auto")
    ledger = 'op.execute("CREATE SCHEMA lockkeeper; CREATE TABLE lockkeeper.ledger AS SELECT 1 AS entry")'
    create = f'op.execute("CREATE TABLE extra (id int PRIMARY KEY)")\n{ledger}'
    shop.add_revision("r1", create, 'op.execute("DROP TABLE extra")')
    shop.add_revision("r2", "raise RuntimeError('bad luck')")
    report = shop.migrate()
    assert rungs(report) == [("downgrade", True)], report.recovery
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT entry FROM lockkeeper.ledger") == 1
        execute(connection, "DROP SCHEMA lockkeeper CASCADE")
    assert_as_before(shop)


def test_an_invalid_index_is_noticed_and_taken_away(shop) -> None:
    shop.add_revision(
        "r1",
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY one_order ON orders ((user_id > 0))")',
    )
    report = shop.migrate()
    assert report.outcome is Outcome.RECOVERED
    assert rungs(report) == [("transaction rollback", False), ("restore", True)]
    assert_as_before(shop)


def test_a_killed_alembic_process_changes_nothing(shop) -> None:
    shop.add_revision("r1", ADD_STATUS + "\nos.kill(os.getpid(), signal.SIGKILL)")
    report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert "Revision r1 failed: its process ended with exit code -9" in report.error
    assert_as_before(shop)


def test_a_connection_ended_by_the_server_changes_nothing(shop) -> None:
    ending = "SELECT pg_terminate_backend(pg_backend_pid())"
    shop.add_revision("r1", ADD_STATUS + f'\nop.execute("{ending}")')
    report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert "terminating connection due to administrator command" in report.error
    assert_as_before(shop)


def test_a_statement_time_out_changes_nothing(shop) -> None:
    shop.with_policies(statement_timeout_ms=300)
    shop.add_revision("r1", ADD_STATUS + '\nop.execute("SELECT pg_sleep(60)")')
    report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert "57014" in report.error or "statement timeout" in report.error
    assert_as_before(shop)


def test_a_server_that_crashes_and_comes_back_changes_nothing(server_folder, make_shop) -> None:
    with temporary_postgres(server_folder / "crash", settings={"fsync": "on"}) as own:
        shop = make_shop(own)
        shop.add_revision(
            "r1",
            f"{ADD_STATUS}\n{NOT_IN_PREFLIGHT} open('reached', 'w').close()\n"
            "op.execute('SELECT pg_sleep(60)')",
        )

        def crash() -> None:
            wait_for_file(shop.folder / "reached")
            own.stop("immediate")
            own.start()

        crasher = threading.Thread(target=crash)
        crasher.start()
        report = shop.migrate()
        crasher.join()
        assert report.outcome is Outcome.UNCHANGED
        assert "server closed the connection" in report.error or "terminating connection" in report.error
        assert_as_before(shop)


def test_a_lock_that_never_comes_free_ends_after_bounded_retries_and_names_the_blocker(shop) -> None:
    shop.with_policies(monitor_interval_s=0.02)
    shop.add_revision("r1", ADD_STATUS)
    with connect(shop.url, "forgotten", autocommit=False) as idle:
        execute(idle, "SELECT count(*) FROM users")
        report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert "lock timeout" in report.error
    assert "lockkeeper:forgotten" in report.monitor.blockers[0]
    assert_as_before(shop)


def test_a_lock_that_comes_free_is_waited_for(shop) -> None:
    shop.with_policies(lock_retries=50)
    shop.add_revision("r1", ADD_STATUS)
    with connect(shop.url, "busy", autocommit=False) as busy:
        execute(busy, "SELECT count(*) FROM users")
        release = threading.Thread(target=release_after_a_lock_time_out, args=(shop, busy))
        release.start()
        report = shop.migrate()
        release.join()
    assert report.outcome is Outcome.SUCCEEDED
    assert report.revisions[0].lock_timeouts >= 1


def release_after_a_lock_time_out(shop, busy) -> None:
    """Let go once a migration waits behind ``busy`` for the second time."""
    seen: set[object] = set()
    waiting = (
        "SELECT l.waitstart FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
        "WHERE NOT l.granted AND a.application_name LIKE 'lockkeeper:migrate:%%'"
    )
    with connect(shop.url, "tests") as watcher:
        for _ in poll(60):
            seen.update(row[0] for row in fetch_all(watcher, waiting, ()) if row[0])
            if len(seen) >= 2:
                busy.rollback()
                return


def poll(timeout_s: float) -> Iterator[None]:
    """Yield every few milliseconds until the deadline, then fail."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        yield
        pause.wait(0.02)
    pytest.fail(f"nothing happened within {timeout_s} s")


def wait_for_file(path) -> None:
    for _ in poll(60):
        if path.exists():
            return


def test_a_second_migration_at_the_same_time_is_refused(shop) -> None:
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    reports = []
    first = shop.migrate(engine_type=engine_with(shop, lambda shop: reports.append(shop.migrate())))
    [second] = reports
    assert second.outcome is Outcome.REFUSED
    assert f"lockkeeper:lock:{first.run_id}" in second.error
    assert second.backup_id is None
    assert first.outcome is Outcome.SUCCEEDED, first.error
    assert_nothing_left(shop)


def test_a_schema_changed_by_somebody_else_since_the_backup_is_refused(shop) -> None:
    shop.add_revision("r1", ADD_STATUS)

    def intrude(shop) -> None:
        with connect(shop.url, "somebody") as connection:
            execute(connection, "CREATE TABLE intruder (id int)")

    report = shop.migrate(engine_type=engine_with(shop, intrude))
    assert report.outcome is Outcome.REFUSED
    assert "public.intruder" in report.error
    with connect(shop.url, "tests") as connection:
        execute(connection, "DROP TABLE intruder")
    assert_as_before(shop)
