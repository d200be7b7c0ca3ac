"""Where nothing can be captured, a write fence: applications read on, cannot write, and lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from lockkeeper.engine import Engine
from lockkeeper.errors import DatabaseError
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import CheckState, Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.postgres.read_only import find_read_only, make_read_only
from lockkeeper.recovery.remains import find_remains, remove_remains
from tests.acceptance.aftermath import assert_as_before
from tests.acceptance.conftest import Shop

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_NOTES = 'op.execute("ALTER TABLE orders DROP COLUMN note")'
WRITE = "INSERT INTO orders VALUES (%s, 1, 'written')"


@pytest.fixture
def fenced_shop(shop: Shop) -> Shop:
    shop.with_policies(without_capture="fence")
    return shop


class Application:
    """Reads and writes all the time, connects again when it is thrown out, remembers what was promised."""

    def __init__(self, shop: Shop) -> None:
        self.url = shop.url
        self.acknowledged: list[int] = []
        self.refusals: list[str | None] = []
        self.reads_while_refused = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Application:
        self._thread.start()
        while len(self.acknowledged) < 3:
            self._stop.wait(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        written = len(self.acknowledged)
        for _ in range(1000):  # it writes again once the run has ended
            if len(self.acknowledged) > written:
                break
            self._stop.wait(0.02)
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        number, connection = 10_000, None
        while not self._stop.wait(0.005):
            number += 1
            try:
                if connection is None:
                    connection = psycopg2.connect(self.url.render_as_string(hide_password=False))
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM users")
                    self.reads_while_refused += bool(self.refusals)
                    cursor.execute(WRITE, (number,))
                self.acknowledged.append(number)
            except psycopg2.Error as error:
                self.refusals.append(error.pgcode)
                if connection is not None and connection.closed:
                    connection = None
        if connection is not None:
            connection.close()

    def lost(self) -> set[int]:
        with connect(self.url, "tests") as connection:
            rows = "SELECT array_agg(id) FROM orders WHERE id > 10000"
            return set(self.acknowledged) - set(fetch_value(connection, rows) or ())


def read_only_databases(shop: Shop) -> list[str]:
    with connect(shop.target.maintenance_url, "tests") as connection:
        return [name for name in find_read_only(connection) if name == shop.target.database]


def test_while_a_migration_runs_applications_read_and_get_a_clear_error_for_a_write(fenced_shop) -> None:
    fenced_shop.add_revision("r1", ADD_STATUS)
    with Application(fenced_shop) as application:
        report = fenced_shop.migrate()
    assert report.outcome is Outcome.SUCCEEDED
    assert "25006" in application.refusals  # read_only_sql_transaction
    assert set(application.refusals) <= {"25006", "57P01", None}
    assert application.reads_while_refused > 0
    assert application.lost() == set()
    assert any(told.startswith("Applications could only read for ") for told in report.warnings)
    assert read_only_databases(fenced_shop) == []


def test_a_bad_migration_is_restored_by_itself_and_nothing_acknowledged_is_lost(fenced_shop) -> None:
    fenced_shop.add_revision("r1", DROP_NOTES, "raise ValueError('no way back')")
    fenced_shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    with Application(fenced_shop) as application:
        report = fenced_shop.migrate()
    assert report.outcome is Outcome.RECOVERED
    assert (report.recovery[-1].rung, report.recovery[-1].loses) == ("restore", "nothing")
    assert application.lost() == set()
    with connect(fenced_shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 1") == "note 1"


def test_an_emptied_table_comes_back_because_nobody_can_have_written(fenced_shop) -> None:
    fenced_shop.add_revision("r1", 'op.execute("TRUNCATE orders")', "raise ValueError('no way back')")
    fenced_shop.add_rule("orders_are_there", "SELECT 1 AS gone WHERE NOT EXISTS (SELECT FROM orders)")
    report = fenced_shop.migrate()
    assert report.outcome is Outcome.RECOVERED
    assert_as_before(fenced_shop)


def test_who_writes_past_the_fence_is_not_overwritten(fenced_shop) -> None:
    class Insisting(Engine):
        def migrate(self, plan, backup):
            with psycopg2.connect(fenced_shop.url.render_as_string(hide_password=False)) as stubborn:
                stubborn.cursor().execute("SET TRANSACTION READ WRITE; " + WRITE % 10_001)
            return super().migrate(plan, backup)

    fenced_shop.add_revision("r1", ADD_STATUS, "raise ValueError('no way back')")
    fenced_shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    report = fenced_shop.migrate(engine_type=Insisting)
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert "orders" in report.recovery[-1].reason
    assert read_only_databases(fenced_shop) == [fenced_shop.target.database]  # nobody else until then
    (fence,) = [one for one in find_remains(fenced_shop.target) if one.kind == "write fence"]
    assert fence.kept
    assert fenced_shop.migrate().outcome is Outcome.REFUSED
    removed, problems = remove_remains(fenced_shop.target, "r-clean", waiting=True)
    assert ("write fence " + fenced_shop.target.database in removed, problems) == (True, [])
    with connect(fenced_shop.url, "application") as connection:
        execute(connection, WRITE, (10_002,))


KILLED = """
import os, signal, sys
from lockkeeper.config import Target
from lockkeeper.recovery.write_fence import WriteFence

fence = WriteFence(Target.model_validate_json(sys.stdin.read()), "r-killed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def until_writable(shop: Shop) -> None:
    pause = threading.Event()
    for _ in range(1500):
        if not read_only_databases(shop):
            break
        pause.wait(0.02)
    with connect(shop.url, "application") as connection:
        execute(connection, WRITE, (10_003,))


def test_a_run_that_is_killed_leaves_no_fence(fenced_shop) -> None:
    shown = {"name": "shop", "database_url": fenced_shop.target.database_url.get_secret_value()}
    told = fenced_shop.target.model_copy(update={"alembic": None}).model_dump(mode="json") | shown
    program = [sys.executable, "-c", KILLED]
    killed = subprocess.run(program, input=json.dumps(told).encode(), capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    until_writable(fenced_shop)


def test_the_next_run_lifts_what_a_killed_run_and_its_guard_have_left(fenced_shop) -> None:
    with connect(fenced_shop.target.maintenance_url, "tests") as connection:
        make_read_only(
            connection, fenced_shop.target.database, run_id="r-dead", reason="a run that is no more"
        )
    with (
        connect(fenced_shop.url, "application") as connection,
        pytest.raises(DatabaseError, match="read-only"),
    ):
        execute(connection, WRITE, (10_004,))
    fenced_shop.add_revision("r1", ADD_STATUS)
    assert fenced_shop.migrate().outcome is Outcome.SUCCEEDED
    until_writable(fenced_shop)


@pytest.fixture
def without_slots(server_folder: Path, make_shop) -> Iterator[Shop]:
    with temporary_postgres(server_folder / "no-slots", settings={"wal_level": "replica"}) as own:
        shop = make_shop(own)
        shop.with_policies(capture="auto", without_capture="fence")
        yield shop


def test_a_server_without_logical_decoding_is_fenced_and_preflight_says_for_how_long(without_slots) -> None:
    without_slots.add_revision("r1", ADD_STATUS)
    first = without_slots.migrate()
    without_slots.add_revision("r2", "op.execute('ALTER TABLE users DROP COLUMN balance')", "pass")
    second = without_slots.migrate()
    assert (first.outcome, second.outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    checks = [check for check in second.checks if check.name == "capture" and "wal_level" in check.message]
    assert [check.state for check in checks] == [CheckState.WARNING]
    assert "applications may only read" in checks[0].message
    assert "the last backup and its proof took" in checks[0].message


def test_a_role_whose_own_default_would_write_past_the_fence_is_refused(fenced_shop) -> None:
    setting = "default_transaction_read_only"
    with connect(fenced_shop.url, "tests") as connection:
        execute(connection, "CREATE ROLE stubborn LOGIN; CREATE ROLE modest LOGIN; CREATE ROLE asleep")
        execute(connection, "ALTER ROLE stubborn SET search_path = public")
        execute(connection, f"ALTER ROLE stubborn SET {setting} = off")
        execute(connection, f"ALTER ROLE asleep SET {setting} = off")
        execute(connection, f"ALTER ROLE modest SET {setting} = on")
    try:
        fenced_shop.add_revision("r1", ADD_STATUS)
        report = fenced_shop.migrate()
    finally:
        with connect(fenced_shop.url, "tests") as connection:
            execute(connection, "DROP ROLE stubborn; DROP ROLE modest; DROP ROLE asleep")
    assert report.outcome is Outcome.UNCHANGED
    assert f"ALTER ROLE ... RESET {setting}" in report.error
    assert "stubborn" in report.error
    assert "modest" not in report.error
    assert "asleep" not in report.error
    assert read_only_databases(fenced_shop) == []


def test_replication_that_would_write_past_the_fence_is_refused(fenced_shop) -> None:
    with connect(fenced_shop.url, "tests") as connection:
        execute(
            connection,
            "CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION p "
            "WITH (connect = false, slot_name = 'feed')",
        )
        execute(connection, "ALTER SUBSCRIPTION feed ENABLE")
    try:
        fenced_shop.add_revision("r1", ADD_STATUS)
        report = fenced_shop.migrate()
    finally:
        with connect(fenced_shop.url, "tests") as connection:
            execute(connection, "ALTER SUBSCRIPTION feed DISABLE")
            execute(connection, "ALTER SUBSCRIPTION feed SET (slot_name = NONE)")
            execute(connection, "DROP SUBSCRIPTION feed")
    assert report.outcome is Outcome.UNCHANGED
    assert "ALTER SUBSCRIPTION" in report.error
    assert read_only_databases(fenced_shop) == []
