"""What online operations do to the application: nobody waits long, the migration not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ops_project import Project, connect, query
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.ops import LockPolicy, LockWaitError

TABLES = """
CREATE TABLE users (id bigint PRIMARY KEY, email text);
INSERT INTO users SELECT n, 'user' || n FROM generate_series(1, 2000) AS n;
"""
IMPATIENT = LockPolicy(lock_timeout_ms=20, attempts=4, max_delay_ms=20, patience_ms=200, builds=2)
HELD_S = 3.0
DEADLINE_S = 30.0


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


@contextmanager
def holding(url: URL, statement: str, name: str = "holder") -> Iterator[Callable[[], None]]:
    """Keep a transaction open that has run ``statement``; yields a function that ends it."""
    connection = connect(url)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute(f"SET application_name = '{name}'")
        cursor.execute(statement)
    try:
        yield connection.rollback
    finally:
        connection.close()


class Writer(threading.Thread):
    """An application: writes one row after the other and remembers the longest statement, in seconds."""

    def __init__(self, url: URL) -> None:
        super().__init__()
        self.connection = connect(url)
        self.stop = threading.Event()
        self.longest_s = 0.0
        self.written = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self.connection.cursor() as cursor:
                while not self.stop.is_set():
                    started = time.monotonic()
                    cursor.execute("UPDATE users SET id = id WHERE id = 1500")
                    self.longest_s = max(self.longest_s, time.monotonic() - started)
                    self.written += 1
        except Exception as error:
            self.failure = error
        finally:
            self.connection.close()

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join(DEADLINE_S)


@pytest.mark.parametrize(
    "operation",
    [
        'op.add_column_online("users", sa.Column("status", sa.Text, nullable=False, server_default="x"))',
        'op.set_not_null_online("users", "email")',
        'op.add_check_online("c", "users", "id > 0")',
        'op.add_unique_online("u", "users", ["id"])',
        'op.drop_column_online("users", "email")',
    ],
)
def test_behind_a_reader_the_application_goes_on_and_the_operation_succeeds(
    project: Project, operation: str
) -> None:
    project.revision("a1", operation)
    with holding(project.url, "SELECT count(*) FROM users") as release:
        writer = Writer(project.url)
        timer = threading.Timer(HELD_S, release)
        with writer:
            timer.start()
            started = time.monotonic()
            project.upgrade()
            took_s = time.monotonic() - started
        timer.join()
    assert writer.failure is None
    assert took_s >= HELD_S * 0.9
    # Queued behind the reader it would have waited as long as it; how little it is, the benchmark measures.
    assert writer.longest_s < HELD_S * 0.8


def test_a_lock_that_never_comes_ends_with_the_blockers_name_and_nothing_changed(project: Project) -> None:
    project.policy = IMPATIENT
    project.revision("a1", 'op.add_column_online("users", sa.Column("status", sa.Text))')
    with (
        holding(project.url, "SELECT count(*) FROM users", name="night report"),
        pytest.raises(LockWaitError) as caught,
    ):
        project.upgrade()
    assert caught.value.sqlstate == "55P03"
    assert caught.value.attempts == 4
    assert "night report" in str(caught.value)
    assert "AccessShareLock" in caught.value.blockers[0]
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'status'"
    assert query(project.url, columns) == [(0,)]


OLD_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"


@pytest.mark.parametrize(
    ("holder", "left"), [(OLD_SNAPSHOT, 0), (OLD_SNAPSHOT + "; LOCK TABLE users IN ROW EXCLUSIVE MODE", 1)]
)
def test_a_build_that_waits_too_long_is_taken_back_or_repaired_by_the_next_run(
    project: Project, holder: str, left: int
) -> None:
    """While somebody uses the table, not even the drop can end: then the next run does it."""
    project.policy = IMPATIENT
    project.revision("a1", 'op.create_index_online("i", "users", ["email"])')
    with holding(project.url, holder), pytest.raises(LockWaitError, match="holder"):
        project.upgrade()
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indrelid = 'users'::regclass"
    assert query(project.url, invalid) == [(left,)]
    project.upgrade()
    assert query(project.url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


def test_the_session_gets_its_settings_back(project: Project) -> None:
    query(project.url, f"ALTER DATABASE {project.url.database} SET lock_timeout = '777ms'")
    project.revision(
        "a1",
        """
        op.create_index_online("i", "users", ["email"])
        op.set_not_null_online("users", "email")
        names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        values = [op.get_bind().exec_driver_sql("SHOW " + name).scalar() for name in names]
        assert values == ["777ms", "0", "0"], values
        """,
    )
    project.upgrade()


def test_a_vacuum_in_the_way_is_waited_for_without_holding_up_anybody(project: Project) -> None:
    """As an autovacuum does, the other session holds SHARE UPDATE EXCLUSIVE."""
    project.policy = LockPolicy(attempts=1)
    project.revision("a1", 'op.add_column_online("users", sa.Column("status", sa.Text))')
    with holding(project.url, "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE") as release:
        writer = Writer(project.url)
        timer = threading.Timer(HELD_S, release)
        with writer:
            timer.start()
            project.upgrade()
        timer.join()
    assert writer.failure is None
    assert writer.longest_s < HELD_S * 0.8


def test_a_backfill_steps_back_from_a_locked_row_and_says_which_when_it_gives_up(project: Project) -> None:
    query(project.url, "ALTER TABLE users ADD v int")
    project.policy = IMPATIENT
    project.revision("a1", 'op.backfill_online("users", {"v": "1"}, "v IS NULL", batch_rows=500)')
    with holding(project.url, "SELECT FROM users WHERE id = 1100 FOR UPDATE"):
        with pytest.raises(LockWaitError, match="row with id = 1100") as caught:
            project.upgrade()
        assert query(project.url, "SELECT count(*) FROM users WHERE v = 1")[0][0] >= 1000
    assert caught.value.attempts == 4
    project.upgrade()
    assert query(project.url, "SELECT count(*) FROM users WHERE v IS NULL") == [(0,)]


def test_an_index_that_somebody_is_building_is_left_alone(project: Project) -> None:
    project.policy = IMPATIENT
    project.revision("a1", 'op.create_index_online("i", "users", ["email"])')
    builder = connect(project.url)
    holder = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; LOCK TABLE users IN ROW EXCLUSIVE MODE"
    with holding(project.url, holder) as release:
        build = "CREATE INDEX CONCURRENTLY i ON users (email)"
        thread = threading.Thread(target=lambda: builder.cursor().execute(build))
        thread.start()
        deadline = time.monotonic() + DEADLINE_S
        while not query(project.url, "SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid <> 0"):
            assert time.monotonic() < deadline
        with pytest.raises(LockWaitError, match="is building it"):
            project.upgrade()
        release()
        thread.join(DEADLINE_S)
    builder.close()
    project.upgrade()


def test_the_longest_lock_is_short_on_every_server(
    tmp_path: Path, every_server: EmbeddedPostgres, make_database: Callable[..., URL]
) -> None:
    url = make_database(every_server)
    query(url, "CREATE TABLE users (id bigint PRIMARY KEY, email text)")
    query(url, "INSERT INTO users SELECT n, 'user' || n FROM generate_series(1, 100000) AS n")
    project = Project(tmp_path, url)
    project.revision(
        "a1",
        """
        op.add_column_online("users", sa.Column("status", sa.String(20), nullable=False, server_default="a"))
        op.set_not_null_online("users", "email")
        op.create_index_online("users_status", "users", ["status"])
        op.add_unique_online("users_email", "users", ["email"])
        op.add_check_online("users_c", "users", "length(email) > 0")
        """,
    )
    writer = Writer(url)
    with writer:
        project.upgrade()
    assert writer.failure is None
    assert writer.written > 0
