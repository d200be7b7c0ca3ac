"""Conditions planted on a real server: each is told once within two looks, and its end once.

The looks are real; the minute between two of them is simulated, since rates are taken per look.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from sqlalchemy.engine import URL

from lockkeeper.backfill.throttle import pause_asked_query
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.monitoring import AlertState, DatabaseMonitor, Judge, watching
from lockkeeper.monitoring.readings import Look, Vitals
from lockkeeper.monitoring.rules import RULES, limits_of
from lockkeeper.monitoring.sampler import Sampler, sampling
from lockkeeper.postgres.connection import connect, execute, fetch_value, libpq_environment
from lockkeeper.process import run_program

START = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)
DEADLINE_S = 20.0
SETUP = (
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 1000) n"
)
BURN = """DO $$ BEGIN FOR n IN 1..800 LOOP
    BEGIN UPDATE t SET v = 'y' WHERE id = 1; RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$"""
PATIENCE_MS = 30_000
"""A busy machine must not turn a look into "could not look", which is another test."""
FILL = "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 3000)"


MIB = 2**20
SETTINGS = {
    "autovacuum_naptime": "1h",  # what it writes and when is nobody's planting
    "archive_mode": "on",
    "max_prepared_transactions": "5",
    "shared_buffers": "1MB",
    "wal_receiver_status_interval": "1s",
}


@pytest.fixture(scope="module")
def planted_server(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of these tests' own: what is planted is often the server's, not one database's."""
    with temporary_postgres(server_folder / "planted", settings=SETTINGS) as server:
        set_system(server.url(), "archive_command", "true")
        yield server


@pytest.fixture
def database(planted_server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    return make_database(planted_server)


@pytest.fixture
def replica(planted_server: EmbeddedPostgres, server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A real stand-by of that server."""
    data_dir = server_folder / "planted-replica"
    data_dir.mkdir(mode=0o700)
    if planted_server.user:
        shutil.chown(data_dir, planted_server.user)
    argv = [
        str(planted_server.bin_dir / "pg_basebackup"), "--pgdata", str(data_dir), "--write-recovery-conf",
        "--checkpoint", "fast", "--wal-method", "stream",
    ]  # fmt: skip
    environment = {**libpq_environment(planted_server.url()), "PATH": "/usr/bin:/bin"}
    run_program(argv, env=environment, user=planted_server.user, cwd=Path("/"), timeout_s=120)
    standby = EmbeddedPostgres(data_dir, password=planted_server.password, settings=SETTINGS)
    standby.start()
    yield standby
    standby.destroy()


def nothing() -> None:
    pass


def application(url: URL) -> psycopg2.extensions.connection:
    """Connect as an application does: a name that is not Lockkeeper's, everything in transactions."""
    return psycopg2.connect(url.render_as_string(hide_password=False), application_name="shop-worker")


def run(url: URL, *statements: str) -> None:
    """Run statements; what they add to the statistics is there when this returns."""
    with connect(url, "tests") as connection:
        for statement in (*statements, "SELECT pg_stat_force_next_flush()"):
            execute(connection, statement)


def wait_for(url: URL, condition: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    with connect(url, "tests") as connection:
        while not fetch_value(connection, f"SELECT {condition}"):
            assert time.monotonic() < deadline, condition
            time.sleep(0.05)


@contextlib.contextmanager
def holding(url: URL, statement: str) -> Iterator[None]:
    """Hold a transaction open, idle, until it is old enough to be seen."""
    with contextlib.closing(application(url)) as held:
        held.cursor().execute(statement)
        wait_for(url, OLD_ENOUGH)
        yield


OLD_ENOUGH = (
    "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'shop-worker'"
    " AND datname = current_database() AND xact_start < clock_timestamp() - interval '0.5 s')"
)


@contextlib.contextmanager
def busy(url: URL, *statements: str) -> Iterator[None]:
    """Run statements that do not end by themselves, each in a session of its own, then end them."""

    def work(statement: str) -> None:
        with contextlib.closing(application(url)) as session, contextlib.suppress(psycopg2.Error):
            session.cursor().execute(statement)

    threads = [threading.Thread(target=work, args=(statement,)) for statement in statements]
    for thread in threads:
        thread.start()
    wait_for(url, OLD_ENOUGH)
    try:
        yield
    finally:
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shop-worker' "
            "AND datname = current_database()"
        )
        run(url, end)
        for thread in threads:
            thread.join(DEADLINE_S)


@contextlib.contextmanager
def chain_of_three(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    first, second = "UPDATE t SET v = 'b' WHERE id = 2", "UPDATE t SET v = 'b' WHERE id = 1"
    with holding(url, "UPDATE t SET v = 'a' WHERE id = 1"), busy(url, f"{first}; {second}"):
        wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 1")
        with busy(url, "UPDATE t SET v = 'c' WHERE id = 2"):
            wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 2")
            yield nothing


@contextlib.contextmanager
def idle_in_transaction(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with holding(url, "UPDATE t SET v = 'a' WHERE id = 1"):
        yield nothing


@contextlib.contextmanager
def long_query(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with busy(url, "SELECT pg_sleep(60)"):
        yield nothing


@contextlib.contextmanager
def old_snapshot(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t"
    with holding(url, snapshot):
        run(url, BURN)
        yield nothing


@contextlib.contextmanager
def many_connections(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.ExitStack() as stack:
        for _ in range(25):
            stack.enter_context(contextlib.closing(application(url)))
        yield nothing
    wait_for(url, "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop-worker') = 0")


@contextlib.contextmanager
def deadlock(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as one, contextlib.closing(application(url)) as other:
        one.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1")
        other.cursor().execute("SET LOCAL deadlock_timeout = '10s'; UPDATE t SET v = 'a' WHERE id = 2")
        crossing = threading.Thread(
            target=lambda: other.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1")
        )
        crossing.start()
        wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 1")
        with pytest.raises(psycopg2.errors.DeadlockDetected):
            one.cursor().execute("SET LOCAL deadlock_timeout = '10ms'; UPDATE t SET v = 'a' WHERE id = 2")
        one.rollback()
        crossing.join(DEADLINE_S)
    wait_for(url, "(SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) > 0")
    yield nothing


@contextlib.contextmanager
def hidden_sessions(url: URL, sampler: Sampler) -> Iterator[Callable[[], None]]:
    role = f"nobody_{url.database}"
    run(url, f"CREATE ROLE {role}")
    with busy(url, "SELECT pg_sleep(60)"):
        execute(sampler.connection, f"SET ROLE {role}")
        yield nothing
        execute(sampler.connection, "RESET ROLE")
    run(url, f"DROP ROLE {role}")


def once(plant: tuple[str, ...], *undo: str):
    """Return a condition that statements make, and others end."""

    @contextlib.contextmanager
    def planted(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
        run(url, *plant)
        yield nothing
        run(url, *undo)

    return planted


def each_look(statement: str):
    """Return a condition that lasts as long as a statement is run between looks."""

    @contextlib.contextmanager
    def planted(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
        yield lambda: run(url, statement)

    return planted


@contextlib.contextmanager
def failing_index(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as session:
        session.autocommit = True
        with pytest.raises(psycopg2.errors.UniqueViolation):
            session.cursor().execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (v)")
    yield nothing
    run(url, "DROP INDEX broken")


def set_system(url: URL, setting: str, value: str | None) -> None:
    """Change a setting of the server and wait until it holds in a new session."""
    change = f"ALTER SYSTEM SET {setting} = '{value}'" if value else f"ALTER SYSTEM RESET {setting}"
    run(url, change, "SELECT pg_reload_conf()")
    pending = f"(SELECT count(*) FROM pg_file_settings WHERE name = '{setting}' AND NOT applied) = 0"
    wait_for(url, pending)


@contextlib.contextmanager
def failing_archive(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    set_system(url, "archive_command", "false")

    def fill_a_segment() -> None:
        counted = "(SELECT failed_count FROM pg_stat_archiver)"
        with connect(url, "tests") as connection:
            before = fetch_value(connection, f"SELECT {counted}")
        run(url, "CREATE TABLE IF NOT EXISTS a AS SELECT 1 AS id", "SELECT pg_switch_wal()")
        wait_for(url, f"{counted} > {before}")

    yield fill_a_segment
    set_system(url, "archive_command", "true")
    run(url, "INSERT INTO a VALUES (1)", "SELECT pg_switch_wal()")
    archived = "(SELECT last_archived_time > COALESCE(last_failed_time, '-infinity') FROM pg_stat_archiver)"
    wait_for(url, archived)


@contextlib.contextmanager
def prepared_transaction(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as session:
        session.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1; PREPARE TRANSACTION 'planted'")
    wait_for(url, "(SELECT clock_timestamp() - prepared > interval '0.3 s' FROM pg_prepared_xacts)")
    yield nothing
    run(url, "ROLLBACK PREPARED 'planted'")


@contextlib.contextmanager
def many_locks(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    run(url, "DO $$ BEGIN FOR n IN 1..700 LOOP EXECUTE format('CREATE TABLE l%s ()', n); END LOOP; END $$")
    lock = "DO $$ BEGIN FOR n IN 1..700 LOOP EXECUTE format('LOCK TABLE l%s', n); END LOOP; END $$"
    with holding(url, lock):
        yield nothing


@contextlib.contextmanager
def lost_slot(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    run(url, *SLOT)
    set_system(url, "max_slot_wal_keep_size", "1MB")
    for _ in range(3):
        run(url, "INSERT INTO w VALUES (1)", "SELECT pg_switch_wal()")
    run(url, "CHECKPOINT")
    yield nothing
    run(url, NO_SLOT)
    set_system(url, "max_slot_wal_keep_size", None)


@contextlib.contextmanager
def hidden_sequences(url: URL, sampler: Sampler) -> Iterator[Callable[[], None]]:
    role = f"nobody_{url.database}"
    run(url, "CREATE SEQUENCE s", f"CREATE ROLE {role}", f"GRANT pg_monitor TO {role}")
    execute(sampler.connection, f"SET ROLE {role}")
    yield nothing
    execute(sampler.connection, "RESET ROLE")
    run(url, f"DROP ROLE {role}")


class Planted(NamedTuple):
    rule: str
    limit: float
    plant: Callable[..., contextlib.AbstractContextManager[Callable[[], None]]]


SLOT = ("SELECT pg_create_physical_replication_slot('planted', true)", "CREATE TABLE w AS SELECT 1 AS id")
NO_SLOT = "SELECT pg_drop_replication_slot('planted')"
UNTENDED = "ALTER TABLE t SET (autovacuum_enabled = false)"
ROLLED_BACK = "BEGIN; SELECT 1; ROLLBACK;" * 1500
BIG = "CREATE TABLE big (v text)"
SORT = (
    "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY -n) x"
)
MULTIXACTS = """DO $$ BEGIN FOR n IN 1..400 LOOP
    PERFORM FROM t WHERE id = 1 FOR KEY SHARE;
    BEGIN UPDATE t SET v = 'y' WHERE id = 1; RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$"""
BIGGER = f"TRUNCATE big; {FILL}; {FILL}; {FILL}"
READ = "SET enable_indexscan = off; " + "SELECT count(*) FROM big;" * 12
PLANTED = [
    Planted("blocked-sessions", 2, chain_of_three),
    Planted("ungranted-lock", 0.01, chain_of_three),
    Planted("idle-in-transaction", 0.2, idle_in_transaction),
    Planted("long-transaction", 0.2, idle_in_transaction),
    Planted("long-query", 0.2, long_query),
    Planted("old-snapshot", 500, old_snapshot),
    Planted("connections", 15, many_connections),
    Planted("hidden-sessions", 1, hidden_sessions),
    Planted("deadlocks", 1, deadlock),
    Planted("invalid-index", 1, failing_index),
    Planted("dead-rows", 3, once((UNTENDED, "DELETE FROM t"), "VACUUM t")),
    Planted("analyze-debt", 3, once((UNTENDED, "UPDATE t SET v = 'z'"), "ANALYZE t")),
    Planted("autovacuum-off", 1, once((UNTENDED,), "ALTER TABLE t RESET (autovacuum_enabled)")),
    Planted(
        "sequence-use", 80,
        once(("CREATE SEQUENCE s AS int", "SELECT setval('s', 2000000000)"), "SELECT setval('s', 1)"),
    ),
    Planted("slot-inactive", 1, once(SLOT, NO_SLOT)),
    Planted("slot-retention", 1, once(SLOT, NO_SLOT)),
    Planted("database-growth", 50e6, each_look(FILL)),
    Planted("table-growth", 50e6, each_look(FILL)),
    Planted("wal-rate", 20_000, each_look(FILL)),
    Planted("temporary-files", 1e5, each_look(SORT)),
    Planted("rollbacks", 20, each_look(ROLLED_BACK)),
    Planted("requested-checkpoints", 2, each_look("CHECKPOINT; CHECKPOINT; CHECKPOINT")),
    Planted("archive-failures", 1, failing_archive),
    Planted("prepared-transaction", 0.2, prepared_transaction),
    Planted("lock-table", 5, many_locks),
    Planted("slot-lost", 1, lost_slot),
    Planted("cache-misses", 50, each_look(f"{BIGGER}; {READ}")),
    Planted("database-size", 14e6, once((BIGGER,), "TRUNCATE big")),
    Planted("unseen", 1, hidden_sequences),
]  # fmt: skip


class Looker:
    """Takes looks a simulated minute apart and keeps what they tell of one rule."""

    def __init__(self, sampler: Sampler, limits: dict[str, float]) -> None:
        self._sampler = sampler
        self._judge = Judge("shop", RULES, limits_of(limits))
        self._before: Vitals | None = None
        self._number = 0
        self.alerts: list = []

    def look(self) -> None:
        at = START + timedelta(minutes=self._number)
        self._number += 1
        vitals = self._sampler.vitals(at)
        self.alerts += self._judge.judge(Look(self._sampler.activity(at), vitals, self._before))
        self._before = vitals

    def told(self, rule: str) -> list[AlertState]:
        return [alert.state for alert in self.alerts if alert.rule == rule]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.rule)
def test_a_planted_condition_is_told_once_and_its_end_once(database, planted) -> None:
    run(database, SETUP, BIG)
    run(database, "ANALYZE t")
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        looker = Looker(sampler, {planted.rule: planted.limit})
        looker.look()
        assert looker.told(planted.rule) == []
        with planted.plant(database, sampler) as again:
            for _ in range(2):
                again()
                looker.look()
            assert looker.told(planted.rule)[:1] == [AlertState.FIRING]
            again()
            looker.look()
        for _ in range(3):
            looker.look()
    assert looker.told(planted.rule) == [AlertState.FIRING, AlertState.RESOLVED]


def test_the_age_of_transaction_ids_is_told_and_a_freeze_ends_it(database) -> None:
    run(database, SETUP)
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        now = sampler.vitals().database
        looker = Looker(sampler, {"wraparound": (now.xid_age + 500) / now.freeze_max_age})
        looker.look()
        run(database, BURN)
        looker.look()
        assert looker.told("wraparound") == [AlertState.FIRING]
        run(database, "VACUUM (FREEZE)")
        looker.look()
    assert looker.told("wraparound") == [AlertState.FIRING, AlertState.RESOLVED]


def test_the_age_of_multixacts_is_told_and_a_freeze_ends_it(database) -> None:
    run(database, SETUP)
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        now = sampler.vitals().database
        looker = Looker(sampler, {"multixact-wraparound": (now.mxid_age + 300) / now.mxid_freeze_max_age})
        looker.look()
        run(database, MULTIXACTS)
        looker.look()
        assert looker.told("multixact-wraparound") == [AlertState.FIRING]
        run(database, "VACUUM (FREEZE)")
        looker.look()
    assert looker.told("multixact-wraparound") == [AlertState.FIRING, AlertState.RESOLVED]


def test_the_lag_of_a_real_replica_is_told_and_its_catching_up_ends_it(database, replica) -> None:
    run(database, BIG)
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        looker = Looker(sampler, {"replication-lag": 2 * MIB})
        wait_for(database, CAUGHT_UP)
        looker.look()
        run(replica.url(), "SELECT pg_wal_replay_pause()")
        run(database, FILL)
        looker.look()
        looker.look()
        assert looker.told("replication-lag") == [AlertState.FIRING]
        [alert] = [alert for alert in looker.alerts if alert.rule == "replication-lag"]
        assert "walreceiver (streaming) is" in alert.message
        run(replica.url(), "SELECT pg_wal_replay_resume()")
        wait_for(database, CAUGHT_UP)
        looker.look()
        looker.look()
    assert looker.told("replication-lag") == [AlertState.FIRING, AlertState.RESOLVED]


def test_a_replica_that_falls_behind_pauses_backfills_until_it_has_caught_up(
    database, replica, make_target
) -> None:
    run(database, BIG)
    policies = {"monitor_interval_s": 0.05, "impact_lag_bytes": 2 * MIB}
    asked = f"(\n{pause_asked_query()}\n)"
    with watching(DatabaseMonitor(make_target(database, policies=policies), "r1")) as monitor:
        run(replica.url(), "SELECT pg_wal_replay_pause()")
        run(database, FILL)
        wait_for(database, asked)
        run(replica.url(), "SELECT pg_wal_replay_resume()")
        wait_for(database, f"NOT {asked}")
    assert monitor.summary().throttled


CAUGHT_UP = (
    "EXISTS (SELECT FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) < 65536)"
)


def test_a_prepared_transaction_that_others_wait_for_is_named(database) -> None:
    run(database, SETUP)
    with (
        sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler,
        prepared_transaction(database, sampler),
        busy(database, "UPDATE t SET v = 'b' WHERE id = 1"),
    ):
        [wait] = sampler.activity().waits
    assert wait.blocker_pid == 0
    assert "a prepared transaction, see pg_prepared_xacts" in wait.blocker


def test_a_queue_of_hundreds_is_bounded_and_the_root_of_each_wait_is_kept(database) -> None:
    run(database, SETUP)
    queue = ["UPDATE t SET v = 'b' WHERE id = 1"] * 30
    with (
        sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler,
        holding(database, "UPDATE t SET v = 'a' WHERE id = 1"),
        busy(database, *queue),
    ):
        wait_for(database, "(SELECT count(*) FROM pg_locks WHERE NOT granted) >= 30")
        activity = sampler.activity()
    assert len(activity.waits) <= 30 * 5
    [root] = activity.roots()
    assert len(activity.blocked_by([root])) == 30


MINUTE_OF_LOAD = """CREATE PROCEDURE a_minute(minute int) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..1000 LOOP
        UPDATE t SET v = 'order ' || n WHERE id = 1 + (minute * 977 + n * 31) % 5000;
        INSERT INTO big SELECT 'line ' || n WHERE n % 10 = 0;
        PERFORM v FROM t WHERE id = n;
        IF n % 50 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END $$"""


def test_an_hour_of_normal_load_tells_nothing(database) -> None:
    """61,000 transactions, one of fifty rolled back, with autovacuum's and checkpoints' work."""
    run(database, SETUP, BIG, "INSERT INTO t SELECT n, 'x' FROM generate_series(1001, 5000) n")
    run(database, "ANALYZE t", MINUTE_OF_LOAD)
    with (
        sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler,
        contextlib.closing(application(database)),
        contextlib.closing(application(database)),
    ):
        looker = Looker(sampler, {"disk-used": float("inf")})  # the disk is this machine's, not the load's
        for minute in range(61):
            run(database, f"CALL a_minute({minute})")
            if minute % 2:
                run(database, "VACUUM ANALYZE t, big")
            if minute % 5 == 0:
                run(database, "CHECKPOINT")
            looker.look()
    assert looker.alerts == []
