"""Break a migration on purpose: afterwards the database equals before, or equals after, never in between.

``docs/faults.md`` lists these tests.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from psycopg2 import sql

from lockkeeper.config import LocalStorageSettings
from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.locks import migration_lock

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
ZERO_BALANCES = 'op.execute("UPDATE users SET balance = 0")'
NOT_ZERO = "SELECT id, email FROM users WHERE balance = 0"


def assert_as_before(shop) -> None:
    assert shop.differences() == []
    assert leftovers(shop) == []


def leftovers(shop) -> list[str]:
    """Scratch databases, locks and sessions that a run must not leave behind."""
    with connect(shop.target.maintenance_url, "tests") as connection:
        scratch = f"{shop.target.database}_lk_verify%"
        databases = fetch_all(connection, "SELECT datname FROM pg_database WHERE datname LIKE %s", (scratch,))
        sessions = fetch_all(
            connection,
            "SELECT application_name FROM pg_stat_activity "
            "WHERE application_name LIKE 'lockkeeper:%%' AND application_name <> 'lockkeeper:tests' "
            "AND datname LIKE %s",
            (f"{shop.target.database}%",),
        )
    return [str(row[0]) for row in databases + sessions]


def rungs(report) -> list[tuple[str, bool]]:
    return [(attempt.rung, attempt.succeeded) for attempt in report.recovery]


class MeddlingEngine(Engine):
    """Runs ``between`` after the verified backup and before the first change."""

    between = staticmethod(lambda shop: None)
    shop = None

    def migrate(self, plan, backup):
        type(self).between(type(self).shop)
        return super().migrate(plan, backup)


def engine_with(shop, action) -> type[Engine]:
    return type("Engine", (MeddlingEngine,), {"between": staticmethod(action), "shop": shop})


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
    ]
    assert shop.migrate().outcome is Outcome.NOTHING_TO_DO
    assert leftovers(shop) == []


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


def test_an_emptied_table_is_noticed_and_a_human_decides(shop) -> None:
    """PostgreSQL does not count what TRUNCATE removes, so nobody can prove that no write went with it."""
    shop.add_revision("r1", 'op.execute("TRUNCATE orders")')
    report = shop.migrate()
    assert "public.orders had 1000 rows and is empty" in report.error
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert report.next_command == f"lockkeeper restore shop {report.backup_id} --accept-loss"


def test_an_emptied_table_is_restored_under_the_policy_accept_loss(shop) -> None:
    shop.with_policies(recovery="accept-loss")
    shop.add_revision("r1", 'op.execute("TRUNCATE orders")')
    report = shop.migrate()
    assert rungs(report)[-1] == ("restore", True)
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
    assert_as_before(shop)


def test_a_connection_ended_by_the_server_changes_nothing(shop) -> None:
    ending = "SELECT pg_terminate_backend(pg_backend_pid())"
    shop.add_revision("r1", ADD_STATUS + f'\nop.execute("{ending}")')
    report = shop.migrate()
    assert report.outcome is Outcome.UNCHANGED
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
            "r1", ADD_STATUS + "\nopen('reached', 'w').close()\nop.execute('SELECT pg_sleep(60)')"
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
    shop.add_revision("r1", ADD_STATUS)
    with migration_lock(shop.target.maintenance_url, shop.target.database, "the-first"):
        report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    assert "the-first" in report.error
    assert_as_before(shop)


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


def test_writes_of_the_application_are_never_restored_away(shop) -> None:
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)

    def write(shop) -> None:
        with connect(shop.url, "application") as connection:
            execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")

    report = shop.migrate(engine_type=engine_with(shop, write))
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert "public.orders" in report.recovery[-1].reason
    assert f"lockkeeper restore shop {report.backup_id}" in report.next_command
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 5000") == "acknowledged"
    assert leftovers(shop) == []


def test_under_the_policy_accept_loss_the_restore_runs_and_keeps_the_failed_database(shop) -> None:
    shop.with_policies(recovery="accept-loss")
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)

    def write(shop) -> None:
        with connect(shop.url, "application") as connection:
            execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")

    report = shop.migrate(engine_type=engine_with(shop, write))
    assert report.outcome is Outcome.RECOVERED
    assert_as_before(shop)
    quarantine = report.restore.quarantine_database
    with connect(shop.target.maintenance_url, "tests") as connection:
        opening = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(quarantine))
        execute(connection, opening)
    with connect(shop.url.set(database=quarantine), "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 5000") == "acknowledged"


def test_under_the_policy_manual_a_human_decides_about_the_restore(shop) -> None:
    shop.with_policies(recovery="manual")
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)
    report = shop.migrate()
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert rungs(report) == [("downgrade", False)]
    assert report.next_command == f"lockkeeper restore shop {report.backup_id}"


class GoneStorageEngine(Engine):
    """Loses its storage while the dump streams."""

    def create_backup(self, plan):
        folder = self.target.storage.path
        folder.rename(folder.with_name("unmounted"))
        folder.write_text("not a folder any more")
        try:
            return super().create_backup(plan)
        finally:
            folder.unlink()
            folder.with_name("unmounted").rename(folder)


def test_a_storage_that_is_gone_during_the_backup_changes_nothing(shop) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(engine_type=GoneStorageEngine)
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["backup"]
    assert_as_before(shop)


@contextmanager
def damaged(path) -> Iterator[None]:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    yield


class FlippedBitEngine(Engine):
    """Flips one bit of the stored dump."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        with damaged(dump):
            return super().verify_backup(backup_id, keep_copy)


class TruncatedEngine(Engine):
    """Cuts the stored dump in half."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        os.truncate(dump, dump.stat().st_size // 2)
        return super().verify_backup(backup_id, keep_copy)


class MissingEngine(Engine):
    """Deletes the stored dump."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        dump.unlink()
        return super().verify_backup(backup_id, keep_copy)


@pytest.mark.parametrize("engine_type", [FlippedBitEngine, TruncatedEngine, MissingEngine])
def test_a_damaged_backup_is_noticed_before_anything_is_migrated(shop, engine_type) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(engine_type=engine_type)
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["verify-backup"]
    assert report.backup_id in report.error
    assert_as_before(shop)


def test_a_full_disk_under_the_scratch_database_changes_nothing(server_folder, make_shop) -> None:
    with temporary_postgres(server_folder / "shop") as own, ExitStack() as scratch_server:
        # PostgreSQL reports a file-size limit as it reports a full disk: "could not extend file".
        with limited_file_size(20 * 2**20):
            scratch = scratch_server.enter_context(temporary_postgres(server_folder / "scratch"))
        scratch_url = scratch.url().render_as_string(hide_password=False)
        shop = make_shop(own, scratch_url=scratch_url)
        with connect(shop.url, "setup") as connection:
            execute(connection, "CREATE TABLE big AS SELECT repeat('x', 1900) FROM generate_series(1, 20000)")
        shop.remember()
        shop.add_revision("r1", ADD_STATUS)
        report = shop.migrate()
        assert report.outcome is Outcome.UNCHANGED
        assert "could not extend file" in report.error
        assert_as_before(shop)


@contextmanager
def limited_file_size(limit: int) -> Iterator[None]:
    """Limit the size of files that this process and the servers started in the block can write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class InterruptedEngine(Engine):
    """Gets SIGINT, as from Ctrl-C, while the migration runs."""

    def _on_revision(self, *event):
        os.kill(os.getpid(), signal.SIGINT)
        return super()._on_revision(*event)


def test_an_interrupt_in_mid_migration_changes_nothing_and_ends_the_statement(shop) -> None:
    shop.add_revision("r1", ADD_STATUS + '\nop.execute("SELECT pg_sleep(60)")')
    with pytest.raises(KeyboardInterrupt):
        shop.migrate(engine_type=InterruptedEngine)
    (journal,) = shop.target.storage.path.rglob("runs/*.json")
    assert "interrupted (KeyboardInterrupt)" in journal.read_text()
    assert_as_before(shop)


def test_a_long_transaction_in_the_way_is_refused(shop) -> None:
    shop.with_policies(max_transaction_age_s=0.01)
    shop.add_revision("r1", ADD_STATUS)
    with connect(shop.url, "forgotten", autocommit=False) as idle:
        execute(idle, "SELECT pg_sleep(0.05)")
        report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    assert "lockkeeper:forgotten" in report.error
    assert_as_before(shop)


def test_a_prepared_transaction_in_the_way_is_refused(server_folder, make_shop) -> None:
    with temporary_postgres(server_folder / "prepared", settings={"max_prepared_transactions": "5"}) as own:
        shop = make_shop(own)
        shop.add_revision("r1", ADD_STATUS)
        with connect(shop.url, "setup") as connection:
            execute(connection, "BEGIN; CREATE TABLE p (id int); PREPARE TRANSACTION 'forgotten'")
            report = shop.migrate()
            execute(connection, "ROLLBACK PREPARED 'forgotten'")
        assert report.outcome is Outcome.REFUSED
        assert "prepared" in report.error
        assert_as_before(shop)


@pytest.mark.parametrize(
    ("revision", "complaint"),
    [("nonsense", "nonsense"), ("base0", "already"), ("+5", "")],
)
def test_a_revision_that_cannot_be_reached_is_refused(shop, revision, complaint) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(revision)
    if revision == "base0":
        assert report.outcome is Outcome.NOTHING_TO_DO
    else:
        assert report.outcome is Outcome.REFUSED
        assert complaint in report.error
    assert_as_before(shop)


def test_a_project_that_connects_elsewhere_is_stopped_before_its_first_statement(
    shop, make_database, server
) -> None:
    elsewhere = make_database(server)
    text = elsewhere.render_as_string(hide_password=False)
    environment = shop.folder / "scripts" / "env.py"
    environment.write_text(environment.read_text().replace('os.environ["DATABASE_URL"]', repr(text)))
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    with connect(elsewhere, "tests") as connection:
        query = sql.SQL("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert fetch_value(connection, query) == 0
    assert_as_before(shop)


def test_a_storage_that_cannot_be_written_is_refused(shop, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    shop.target = shop.target.model_copy(update={"storage": LocalStorageSettings(path=tmp_path / "file")})
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    assert "storage" in report.error
    assert_as_before(shop)


def test_an_invalid_index_from_before_is_mentioned_and_blamed_on_nobody(shop) -> None:
    with connect(shop.url, "setup") as connection:
        execute(connection, "CREATE INDEX left_behind ON orders (user_id)")
        execute(
            connection, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_behind'::regclass"
        )
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert "public.left_behind is invalid" in str([check.message for check in report.checks])


def test_a_database_that_is_only_named_like_ours_is_never_dropped(server, make_shop, make_database) -> None:
    shop = make_shop(server)
    strangers = make_database(server, f"{shop.target.database}_lk_verify_0a1b2c3d")
    shop.add_revision("r1", ADD_STATUS)
    assert shop.migrate().outcome is Outcome.SUCCEEDED
    with connect(strangers, "tests") as connection:
        assert fetch_value(connection, "SELECT current_database()") == strangers.database
