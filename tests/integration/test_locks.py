"""One migration per database at a time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from psycopg2 import sql

from lockkeeper.errors import ConnectionLostError, LockHeldError
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.locks import LOCK_CLASS, end_leftover_sessions, lock_holder, migration_lock
from tests.integration.plain_roles import plain_owner


def test_the_second_run_is_refused_and_told_who_holds_the_lock(server) -> None:
    with migration_lock(server.url(), "shop", "run-1"):
        with (
            pytest.raises(LockHeldError, match="lockkeeper:lock:run-1"),
            migration_lock(server.url(), "shop", "run-2"),
        ):
            pass
        with migration_lock(server.url(), "another", "run-3"), connect(server.url(), "t") as connection:
            assert "run-1" in (lock_holder(connection, "shop") or "")
    with migration_lock(server.url(), "shop", "run-4"), connect(server.url(), "t") as connection:
        assert "run-4" in (lock_holder(connection, "shop") or "")


def test_a_holder_of_another_role_is_named_to_a_role_that_may_not_see_since_when(database) -> None:
    with plain_owner(database) as first, plain_owner(database) as second, connect(first, "lock") as holder:
        assert fetch_value(holder, "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (LOCK_CLASS, "shop"))
        with pytest.raises(LockHeldError, match=rf"of {first.username}, lockkeeper:lock\)"):  # noqa: SIM117
            with migration_lock(second, "shop", "run-2"):
                pass
        with pytest.raises(LockHeldError, match=f"of {first.username}, lockkeeper:lock, since 20"):  # noqa: SIM117
            with migration_lock(database, "shop", "run-3"):
                pass


def test_the_lock_dies_with_a_killed_holder(server) -> None:
    script = (
        "import sys\nfrom lockkeeper.postgres.locks import migration_lock\n"
        "from sqlalchemy.engine import make_url\n"
        "with migration_lock(make_url(sys.stdin.readline().strip()), 'shop', 'victim'):\n"
        "    print('held', flush=True)\n    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdin.write(server.url().render_as_string(hide_password=False) + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "held\n"
        child.kill()
        with migration_lock(server.url(), "shop", "next", wait_s=10):
            pass


def test_a_lost_lock_session_is_noticed(server) -> None:
    with migration_lock(server.url(), "shop", "run-1") as lock, connect(server.url(), "t") as connection:
        lock.check()
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        fetch_all(connection, statement, ("lockkeeper:lock:run-1",))
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s"
        deadline = time.monotonic() + 10
        while not fetch_value(connection, gone, ("lockkeeper:lock:run-1",)):
            assert time.monotonic() < deadline
        with pytest.raises(ConnectionLostError, match="another migration could start"):
            lock.check()


def test_statements_of_a_killed_migration_are_ended_and_others_are_not(server, database) -> None:
    with (
        connect(database, "migrate", run_id="old", autocommit=False) as orphan,
        connect(database, "migrate", run_id="mine") as own,
        connect(database, "report") as other,
    ):
        execute(orphan, sql.SQL("CREATE TABLE half_done (id int)"))
        assert end_leftover_sessions(server.url(), database.database, "mine") == 1
        assert fetch_value(own, "SELECT to_regclass('half_done')") is None
        assert fetch_value(other, "SELECT 1") == 1
