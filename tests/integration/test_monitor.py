"""The monitor sees who waits for whom, with real sessions that block each other."""

from __future__ import annotations

import threading
import time

from lockkeeper.engine import Engine
from lockkeeper.errors import LockTimeoutError
from lockkeeper.monitoring import DatabaseMonitor, watching
from lockkeeper.postgres.connection import connect, execute, fetch_value

FAST = {"monitor_interval_s": 0.02}


def wait_until(condition, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def blocked_reader(url) -> threading.Thread:
    def read() -> None:
        with connect(url, "application") as reader:
            execute(reader, "SELECT count(*) FROM t")

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_sessions_that_the_migration_blocks_are_counted(database, make_target) -> None:
    monitor = DatabaseMonitor(make_target(database, policies=FAST), "r1")
    with connect(database, "migrate", run_id="r1", autocommit=False) as migration:
        execute(migration, "CREATE TABLE t (id int)")
        migration.commit()
        execute(migration, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with watching(monitor):
            readers = [blocked_reader(database) for _ in range(3)]
            wait_until(lambda: monitor.summary().max_blocked_sessions == 3)
            wait_until(lambda: monitor.summary().longest_block_s > 0.1)
            migration.rollback()
            for reader in readers:
                reader.join()
    summary = monitor.summary()
    assert summary.failed_samples == 0
    assert summary.size_before_bytes is not None
    assert summary.size_after_bytes is not None


def test_the_idle_transaction_that_the_migration_waits_for_is_named(database, make_target) -> None:
    told: list[str] = []
    monitor = DatabaseMonitor(make_target(database, policies=FAST), "r2", told.append)
    with connect(database, "setup") as setup:
        execute(setup, "CREATE TABLE t (id int)")
    with connect(database, "forgotten", autocommit=False) as idle, watching(monitor):
        execute(idle, "SELECT count(*) FROM t")
        pid = fetch_value(idle, "SELECT pg_backend_pid()")
        with connect(database, "migrate", run_id="r2", lock_timeout_ms=400) as migration:
            try:
                execute(migration, "ALTER TABLE t ADD COLUMN x int")
            except LockTimeoutError:
                wait_until(lambda: bool(told))
    assert f"session {pid} (lockkeeper:forgotten" in told[0]
    assert "AccessExclusiveLock on t" in told[0]
    assert "idle in transaction" in monitor.summary().blockers[0]


def test_a_database_that_cannot_be_watched_is_said_and_fails_nothing(database, make_target) -> None:
    monitor = DatabaseMonitor(make_target(database.set(password="wrong"), policies=FAST), "r3")
    with watching(monitor):
        wait_until(lambda: monitor.summary().failed_samples > 0)
    assert monitor.summary().samples == 0


def test_metrics_are_written_beside_a_migration_and_say_when_it_is_over(
    database, make_target, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("LOCKKEEPER_METRICS_DIR", str(tmp_path))
    target = make_target(database, policies=FAST)
    path = tmp_path / f"lockkeeper-{target.name}-migration.prom"
    running = f'lockkeeper_migration_running{{target="{target.name}"}}'
    with Engine(target, "r9").monitored() as monitor:
        wait_until(lambda: path.exists() and f"{running} 1.0" in path.read_text())
        wait_until(lambda: monitor.summary().samples > 0)
    text = path.read_text()
    assert f"{running} 0.0" in text
    assert f'lockkeeper_migration_samples{{target="{target.name}"}} {monitor.summary().samples}.0' in text
