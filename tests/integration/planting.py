"""How something is planted in a real server and looked for: sessions, statements, settings, looks.

The looks are real; the minute between two of them is simulated, since rates are taken per look.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import psycopg2
from sqlalchemy.engine import URL

from lockkeeper.monitoring import AlertState, Judge
from lockkeeper.monitoring.readings import Look, Vitals
from lockkeeper.monitoring.rules import RULES, limits_of
from lockkeeper.monitoring.sampler import Sampler
from lockkeeper.postgres.connection import connect, execute, fetch_value

START = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)
DEADLINE_S = 20.0
SETUP = (
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 1000) n"
)
PATIENCE_MS = 30_000
"""A busy machine must not turn a look into "could not look", which is another test."""
FILL = "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 3000)"
BIG = "CREATE TABLE big (v text)"
BURN = """DO $$ BEGIN FOR n IN 1..800 LOOP
    BEGIN UPDATE t SET v = 'y' WHERE id = 1; RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$"""

PLANTED_SETTINGS = {
    "autovacuum_naptime": "1h",  # what it writes and when is nobody's planting
    "archive_mode": "on",
    "max_prepared_transactions": "5",
    "shared_buffers": "1MB",
    "wal_receiver_status_interval": "1s",
}


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


def set_system(url: URL, setting: str, value: str | None) -> None:
    """Change a setting of the server and wait until it holds in a new session."""
    change = f"ALTER SYSTEM SET {setting} = '{value}'" if value else f"ALTER SYSTEM RESET {setting}"
    run(url, change, "SELECT pg_reload_conf()")
    pending = f"(SELECT count(*) FROM pg_file_settings WHERE name = '{setting}' AND NOT applied) = 0"
    wait_for(url, pending)


@contextlib.contextmanager
def prepared_transaction(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as session:
        session.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1; PREPARE TRANSACTION 'planted'")
    wait_for(url, "(SELECT clock_timestamp() - prepared > interval '0.3 s' FROM pg_prepared_xacts)")
    yield nothing
    run(url, "ROLLBACK PREPARED 'planted'")


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
