"""A backfill pauses while the monitor asks for it, says so, and ends once nobody asks any more."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import psycopg2
from sqlalchemy.engine import URL

from lockkeeper.backfill.throttle import Observation, Throttle, others_at_work
from lockkeeper.monitoring import DatabaseMonitor, watching
from lockkeeper.monitoring.throttle import ThrottleRequest
from lockkeeper.postgres.connection import connect, execute, fetch_value, libpq_parameters
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.connecting import PATIENT_POLICY, session_on
from lockkeeper.rename.engine import ColumnRename
from tests.integration.plain_roles import plain_owner
from tests.integration.planting import busy, wait_for

DEADLINE_S = 60.0


def test_a_backfill_pauses_while_the_impact_budget_is_used_up(database: URL) -> None:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE products (id int PRIMARY KEY, description text)")
        execute(connection, "INSERT INTO products SELECT n, 'text ' || n FROM generate_series(1, 2000) AS n")
        rename = ColumnRename(database, ColumnChange("products", "description", "summary"))
        rename.expand()
        rename.tune(batch_rows=50, pause_ms=100)
        request = ThrottleRequest(connection)
        request.ask()
        backfill = threading.Thread(target=rename.backfill)
        backfill.start()
        deadline = time.monotonic() + DEADLINE_S
        while not rename.status().throttled_by and time.monotonic() < deadline:
            time.sleep(0.05)
        assert rename.status().throttled_by == ("the monitor asks for it: the impact budget is used up",)
        assert backfill.is_alive()
        request.release()
        backfill.join(DEADLINE_S)
        assert not backfill.is_alive()
        assert fetch_value(connection, "SELECT count(*) FROM products WHERE summary = description") == 2000
    assert rename.status().stage == "backfilled"


def test_waiting_sessions_of_another_role_count_whatever_the_backfills_role_may_see(database: URL) -> None:
    with (
        plain_owner(database) as owner,
        connect(owner, "backfill", autocommit=False) as backfill,
        session_on(owner, "watch", None, PATIENT_POLICY) as session,
    ):
        observation = Observation(session, lambda: (backfill.info.backend_pid,), (0,))
        limits = Throttle(max_lock_waiters=0)
        execute(backfill, "SELECT pg_advisory_xact_lock(7)")
        assert observation.reasons(limits) == ()
        with busy(database, "SELECT pg_advisory_xact_lock(7)"):
            wait_for(database, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            assert observation.reasons(limits) == (
                "sessions waiting for the backfill's locks at 1, allowed 0",
            )
            backfill.rollback()


def test_a_slow_application_pauses_a_backfill_through_the_monitor_and_a_fast_one_lets_it_go_on(
    database: URL, make_target
) -> None:
    policies = {
        "monitor_interval_s": 0.05,
        "impact_probe_sql": "SELECT pg_sleep(s) FROM latency",
        "impact_probe_ms": 100,
    }
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE latency AS SELECT 0.3 AS s")
        execute(connection, "CREATE TABLE products (id int PRIMARY KEY, description text)")
        execute(connection, "INSERT INTO products SELECT n, 'text ' || n FROM generate_series(1, 2000) AS n")
        rename = ColumnRename(database, ColumnChange("products", "description", "summary"))
        rename.expand()
        rename.tune(batch_rows=50, pause_ms=100)
        backfill = threading.Thread(target=rename.backfill)
        monitor = DatabaseMonitor(make_target(database, policies=policies), "r1")
        with watching(monitor):
            backfill.start()
            until(lambda: rename.status().throttled_by)
            assert backfill.is_alive()
            execute(connection, "UPDATE latency SET s = 0")
            backfill.join(DEADLINE_S)
            assert not backfill.is_alive()
        assert fetch_value(connection, "SELECT count(*) FROM products WHERE summary = description") == 2000
    summary = monitor.summary()
    assert summary.throttled
    assert "critical: impact-budget on shop. the probe query took" in summary.alerts[0]


def until(condition) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_who_else_uses_the_server_is_seen_and_own_sessions_are_not_taken_for_others(database: URL) -> None:
    with session_on(database, "tests", None, PATIENT_POLICY) as session:
        until(lambda: not others_at_work(session))
        with closing(psycopg2.connect(**libpq_parameters(database))) as application:
            with application.cursor() as cursor:
                cursor.execute("SELECT 1")
            assert others_at_work(session)
        with connect(database, "tests") as own:
            execute(own, "SELECT 1")
            until(lambda: not others_at_work(session))
