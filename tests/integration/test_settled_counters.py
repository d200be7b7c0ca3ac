"""That nobody else has written is said only when no session can hold back counts of what it has committed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from sqlalchemy.engine import URL

from lockkeeper.backup import create_backup
from lockkeeper.backup.counters import WriteCounters, read_counters, settled_counters
from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.measured import UnforeseenWrite
from lockkeeper.postgres.connection import Connection, connect, execute
from tests.integration.planting import application

TABLES = "CREATE TABLE busy (id int); CREATE TABLE rare (id int, done bool)"


@pytest.fixture
def database(make_database: Callable[..., URL], servers: Callable[[int], EmbeddedPostgres]) -> Iterator[URL]:
    url = make_database(servers(18))
    with connect(url, "tests") as connection:
        execute(connection, TABLES)
        execute(connection, "SELECT pg_stat_force_next_flush()")
    return url


def held_back(session: psycopg2.extensions.connection) -> None:
    """Commit twice within a second: the second one's counts stay in the session for ten."""
    session.autocommit = True
    session.cursor().execute("INSERT INTO busy VALUES (1)")
    session.cursor().execute("INSERT INTO rare VALUES (1)")


def inserted(now: WriteCounters) -> int:
    assert now.counters is not None
    return now.counters["public.rare"][0]


def test_an_idle_session_that_holds_counts_back_is_waited_for(database: URL) -> None:
    with contextlib.closing(application(database)) as session, connect(database, "verify") as connection:
        held_back(session)
        assert inserted(read_counters(connection)) == 0, "else nothing is proven here"
        looks = []

        def enough(now: WriteCounters) -> bool:
            looks.append(inserted(now))
            session.close()  # which it hands them in for
            return looks[-1] > 0

        assert inserted(settled_counters(connection, enough)) == 1
    assert looks[0] == 0


def test_a_session_that_stays_in_its_transaction_leaves_it_unknown(database: URL) -> None:
    with contextlib.closing(application(database)) as session, connect(database, "verify") as connection:
        held_back(session)
        session.cursor().execute("BEGIN; SELECT 1")
        found = settled_counters(connection, lambda _now: False, timeout_s=0.3)
        assert (found.counters, found.epoch) == (None, None)
        assert settled_counters(connection, lambda _now: True).counters is not None


def test_where_the_role_may_not_see_into_others_sessions_their_locks_tell(database: URL) -> None:
    with contextlib.closing(application(database)) as session, connect(database, "verify") as connection:
        session.cursor().execute("SELECT 1")
        with plain_role(connection):
            assert settled_counters(connection, lambda _now: False, timeout_s=0).counters is None


@contextlib.contextmanager
def plain_role(connection: Connection) -> Iterator[None]:
    execute(connection, "CREATE ROLE plain_counter; SET ROLE plain_counter")
    try:
        yield
    finally:
        execute(connection, "RESET ROLE; DROP ROLE plain_counter")


def test_nobody_is_waited_for_where_nobody_else_is(database: URL) -> None:
    with contextlib.closing(application(database)) as session:
        held_back(session)
    looks = []
    with connect(database, "verify") as connection:
        wait_until_gone(connection)
        assert inserted(settled_counters(connection, lambda now: bool(looks.append(now)))) == 1
    assert looks == []


def wait_until_gone(connection: Connection) -> None:
    execute(
        connection,
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'shop-worker')"
        " LOOP PERFORM pg_stat_clear_snapshot(); END LOOP; END $$",
    )


def test_rows_that_an_idle_application_has_just_written_do_not_undo_a_good_migration(
    database: URL, make_target: Callable[..., Target]
) -> None:
    target = make_target(database, policies={"rehearsal": "full"})
    backup = create_backup(target, run_id="r1")
    with contextlib.closing(application(database)) as session, connect(database, "verify") as connection:
        held_back(session)
        with connect(database, "migrate") as migration:
            execute(migration, "UPDATE rare SET done = true WHERE done IS NULL")
        write = UnforeseenWrite(revision="a", table="public.rare", written=(0, 1, 0), own=(0, 1, 0))
        leaves = threading.Timer(0.5, session.close)
        leaves.start()
        (check,) = Engine(target, "r1")._check_writes(connection, backup, [write])
        leaves.join()
    assert check.state.value == "warning"
    assert "others have written there" in check.message
