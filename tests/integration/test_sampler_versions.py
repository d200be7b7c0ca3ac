"""Every reading works on every server version with pg_monitor only; what a role may not see is said."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError
from lockkeeper.monitoring import sampler as sampler_module
from lockkeeper.monitoring.readings import Activity, Command, Vitals
from lockkeeper.monitoring.sampler import sampling
from lockkeeper.postgres.connection import connect, execute, fetch_all, libpq_environment

PATIENCE_MS = 30_000
DEADLINE_S = 30.0
PASSWORD = "only-here"
NOW = datetime(2026, 11, 26, tzinfo=timezone.utc)
SETUP = (
    "CREATE TABLE t (id int PRIMARY KEY, v text)",
    "INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 4000) AS n",
    "CREATE SEQUENCE used AS smallint START 30000",
    "SELECT nextval('used')",
    # PUBLIC cannot execute what it cannot reach; the planner never sees through plpgsql.
    "CREATE FUNCTION slowly(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS "
    "$$ BEGIN PERFORM pg_sleep(0.02); RETURN v; END $$",
    "CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_sleep(0.01); RETURN new; END $$",
    "VACUUM ANALYZE t",
)
SLOW_VACUUM = ("SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1")
"""Ten pages a second."""
LONG_SETUP = (
    "CREATE TABLE copied (id int, v text)",
    "CREATE TRIGGER slow BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION slow_row()",
    "CREATE INDEX rebuilt ON t (slowly(v)) WHERE id <= 40",  # a second for CLUSTER
)
LONG_COMMANDS = {
    "create index": "CREATE INDEX slow ON t (slowly(v))",
    "vacuum": "VACUUM (DISABLE_PAGE_SKIPPING) t",
    "analyze": "ANALYZE t",
    "cluster": "CLUSTER t USING t_pkey",
    "copy from": "COPY copied FROM {file}",
}


@pytest.fixture
def role(every_server, make_database) -> Iterator[Callable[..., URL]]:
    """Return a function: roles to be granted -> URL of a database with data, as a role with only these."""
    database = make_database(every_server)
    name = f"watcher_{database.database}"
    with connect(database, "tests") as connection:
        for statement in SETUP:
            execute(connection, statement)
        login = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        execute(connection, login.format(sql.Identifier(name), sql.Literal(PASSWORD)))

        def grant(*roles: str) -> URL:
            for one in roles:
                execute(connection, f"GRANT {one} TO {name}")
            return database.set(username=name, password=PASSWORD)

        yield grant
        execute(connection, f"DROP ROLE {name}")


@pytest.fixture
def owner(role, every_server) -> URL:
    """The superuser's URL of the same database."""
    return every_server.url(role().database)


@contextlib.contextmanager
def in_the_background(url: URL, *statements: str) -> Iterator[None]:
    """Run statements in a session of the application's; end it at the end of the block."""
    session = psycopg2.connect(url.render_as_string(hide_password=False), application_name="shop-worker")
    session.autocommit = True

    def work() -> None:
        with contextlib.suppress(psycopg2.Error):
            for statement in statements:
                session.cursor().execute(statement)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        with connect(url, "tests") as connection:
            execute(connection, "SELECT pg_terminate_backend(%s)", (session.info.backend_pid,))
        thread.join(DEADLINE_S)
        session.close()


def until(read: Callable[[], object], what: str = "") -> object:
    """Read until it is something; the last reading."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := read()):
        assert time.monotonic() < deadline, f"was never seen: {what}"
        time.sleep(0.05)
    return found


def look(url: URL) -> tuple[Activity, Vitals]:
    with sampling(url, statement_timeout_ms=PATIENCE_MS) as sampler:
        return sampler.activity(), sampler.vitals()


def test_pg_monitor_alone_sees_everything_but_the_numbers_of_sequences(role, owner) -> None:
    watcher = role("pg_monitor")
    with (
        connect(owner, "holder", autocommit=False) as holder,
        in_the_background(owner, "LOCK TABLE t IN SHARE MODE"),
    ):
        execute(holder, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        execute(holder, "SELECT pg_sleep(0.3)")
        with in_the_background(owner, "SELECT count(*) FROM t"):
            activity = until(lambda: _when(look(watcher)[0], lambda one: one.waits))
            _, vitals = look(watcher)
    assert activity.hidden == 0
    assert {wait.blocker_application for wait in activity.waits} == {"lockkeeper:holder"}
    assert {wait.wants for wait in activity.waits} == {"AccessShareLock on t"}
    assert any("pg_sleep" in session.statement for session in activity.sessions)
    assert list(vitals.unseen) == ["sequences"]
    assert "1 sequences cannot be seen by this role. Run: GRANT SELECT" in vitals.unseen["sequences"]
    assert vitals.database.sees_all
    assert vitals.database.size_bytes > 0
    assert {table.name for table in vitals.tables} == {"public.t"}
    assert vitals.tables[0].total_bytes is None  # somebody holds it exclusively
    assert vitals.wal_bytes > 0
    assert vitals.checkpoints_timed >= 0
    assert vitals.lock_slots > 0
    assert vitals.disk_free_share is not None


def test_looks_each_second_spare_what_was_dear_and_a_whole_look_does_not(database, monkeypatch) -> None:
    monkeypatch.setattr(sampler_module, "DEAR_REST", 1e6)
    with connect(database, "tests") as connection, sampling(database) as sampler:
        assert sampler.vitals(sparing=True).tables == ()
        execute(connection, "CREATE TABLE t (id int)")
        execute(connection, "SELECT pg_stat_force_next_flush()")
        assert sampler.vitals(sparing=True).tables == ()
        assert [table.name for table in sampler.vitals().tables] == ["public.t"]


def test_a_query_is_planned_once_however_often_it_is_asked(role, owner) -> None:
    with sampling(role("pg_monitor"), statement_timeout_ms=PATIENCE_MS) as sampler:
        for looks in range(4):
            sampler.activity()
            sampler.vitals()
            prepared = "SELECT count(*), COALESCE(max(generic_plans), 0) FROM pg_prepared_statements"
            [(number, planned)] = fetch_all(sampler.connection, prepared)
            assert (number > 5) == (looks > 0)  # one look alone pays for no preparation
    assert planned == 3


@pytest.mark.parametrize("left", ["DEALLOCATE ALL", "PREPARE lockkeeper_{} AS SELECT 'of another session'"])
def test_behind_a_pooler_that_changes_the_server_session_looks_go_on(database, left) -> None:
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        sampler.activity()
        if "{}" not in left:
            sampler.activity()
        for number in range(20 if "{}" in left else 1):
            execute(sampler.connection, left.format(number))
        for _ in range(3):
            assert sampler.activity().connections >= 1
            assert sampler.vitals().unseen == {}


@pytest.mark.parametrize("looks", [0, 1, 2], ids=["first look", "preparing", "prepared"])
def test_a_session_that_is_ended_is_a_lost_connection_at_whatever_look(database, looks) -> None:
    with sampling(database, statement_timeout_ms=PATIENCE_MS) as sampler:
        for _ in range(looks):
            sampler.activity()
        with connect(database, "tests") as connection:
            end = "SELECT pg_terminate_backend(%s)"
            execute(connection, end, (sampler.connection.info.backend_pid,))
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                sampler.activity()
            with pytest.raises(ConnectionLostError):
                sampler.vitals()


def test_with_the_sequences_granted_nothing_is_left_unseen(role, owner) -> None:
    watcher = role("pg_monitor", "pg_read_all_data")
    _, vitals = look(watcher)
    assert vitals.unseen == {}
    assert [(name, round(used, 2)) for name, used in vitals.sequences] == [("public.used", 0.92)]
    assert vitals.tables[0].total_bytes > 0


def test_a_role_without_any_privilege_is_told_what_it_could_not_see(role, owner) -> None:
    index = "CREATE INDEX slow ON t (slowly(v))"
    with in_the_background(owner, index), replication(owner):
        progress = until(lambda: look(role())[1].unseen.get("commands"))
        activity, vitals = look(role())
    assert activity.hidden >= 1
    assert "1 long commands cannot be seen by this role. Run: GRANT pg_monitor" in progress
    assert "1 replicas cannot be seen by this role. Run: GRANT pg_monitor" in vitals.unseen["replication"]
    assert "sequences" in vitals.unseen
    assert not vitals.database.sees_all
    assert vitals.disk_free_share is None


def test_long_commands_are_seen_with_the_time_that_they_still_take(role, owner, server_folder) -> None:
    watcher = role("pg_monitor")
    rows = server_folder / f"rows-{owner.database}"
    rows.write_text("".join(f"{n}\t{'x' * 300}\n" for n in range(4000)))
    with connect(owner, "tests") as connection:
        for statement in LONG_SETUP:
            execute(connection, statement)
    for kind, statement in LONG_COMMANDS.items():
        started = statement.format(file=f"'{rows}'")
        with in_the_background(owner, *SLOW_VACUUM, started):
            command = progress_of(watcher, kind)
        assert command.total > 0, kind
        assert command.table.endswith("copied" if kind == "copy from" else "t"), kind
        if kind != "cluster":  # too fast here to be seen twice in a phase that counts
            assert 0 < command.percent < 100, kind
            assert command.eta_s > 0, kind


def test_a_base_backup_is_seen_with_the_time_that_it_still_takes(role, owner, every_server, tmp_path) -> None:
    argv = [
        str(every_server.bin_dir / "pg_basebackup"), "--pgdata", str(tmp_path / "base"), "--progress",
        "--checkpoint", "fast", "--max-rate", "32k", "--no-slot", "--wal-method", "none",
    ]  # fmt: skip
    environment = {**libpq_environment(owner), "PATH": "/usr/bin:/bin"}
    environment.pop("PGDATABASE")
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as program:
        try:
            command = progress_of(role("pg_monitor"), "basebackup")
        finally:
            program.kill()
    assert command.phase == "streaming database files"
    assert 0 < command.percent < 100
    assert command.eta_s > 0


@contextlib.contextmanager
def replication(url: URL) -> Iterator[None]:
    """Receive WAL as a replica does."""
    connection = psycopg2.connect(
        url.render_as_string(hide_password=False),
        connection_factory=psycopg2.extras.PhysicalReplicationConnection,
    )
    with contextlib.closing(connection):
        with connect(url, "tests") as asking:
            lsn = fetch_all(asking, "SELECT pg_current_wal_lsn()")[0][0]
        connection.cursor().start_replication(start_lsn=lsn)
        yield


def _when(value: Activity, holds: Callable[[Activity], object]) -> Activity | None:
    return value if holds(value) else None


def progress_of(url: URL, kind: str) -> Command:
    """Return a long command as soon as its end can be told."""
    with sampling(url, statement_timeout_ms=PATIENCE_MS) as sampler:
        started = time.monotonic()

        def read() -> Command | None:
            at = NOW + timedelta(seconds=time.monotonic() - started)
            found = [one for one in sampler.commands(at) if one.kind == kind]
            return next((one for one in found if one.eta_s is not None or kind == "cluster"), None)

        return until(read, kind)
