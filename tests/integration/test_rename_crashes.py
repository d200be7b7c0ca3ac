"""A session, a worker or the whole server that dies in the middle of a stage: the next try goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.errors import LockkeeperError, is_transient
from lockkeeper.local import daemons
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename
from tests.killing import kill_tree

TABLE = """
CREATE TABLE items (id bigint PRIMARY KEY, a text NOT NULL CHECK (a <> ''), other int);
CREATE INDEX items_a ON items (a);
INSERT INTO items SELECT n, 'v' || n, n FROM generate_series(1, 500) AS n;
"""
CHANGE = ColumnChange("items", "a", "b")
WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^lockkeeper:(rename|backfill)'
  AND wait_event_type = 'Lock'
"""
WORKER = """
import os, sys
from sqlalchemy.engine import make_url
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename

rename = ColumnRename(make_url(os.environ["ITEMS_URL"]), ColumnChange("items", "a", "b"))
getattr(rename, sys.argv[1])(*map(float, sys.argv[2:]))
"""
STEPS: dict[Stage, tuple[str, tuple[float, ...], str]] = {
    Stage.EXPANDED: ("expand", (), "ACCESS SHARE"),
    Stage.BACKFILLED: ("backfill", (), "ACCESS EXCLUSIVE"),
    Stage.VALIDATED: ("validate", (), "ACCESS EXCLUSIVE"),
    Stage.FLIPPED: ("flip", (), ""),
    Stage.OBSERVING: ("observe", (), "ACCESS EXCLUSIVE"),
    Stage.SCREAMED: ("scream", (0,), "ACCESS SHARE"),
    Stage.CONTRACTED: ("contract", (), "ACCESS SHARE"),
}
"""Method and arguments, and the lock that holds the stage up."""
LIMIT_S = 60


def wait_until_it_waits(url: URL) -> list[int]:
    """Return the server's processes that the held-up stage has."""
    with connect(url, "tests") as connection:
        for _ in range(LIMIT_S * 200):
            if rows := fetch_all(connection, WAITING):
                return [pid for (pid,) in rows]
            threading.Event().wait(0.005)
    return pytest.fail("the stage was not held up")


def die_beneath(
    rename: ColumnRename, step: str, arguments: tuple[float, ...], kill: Callable[[list[int]], None]
) -> None:
    """Try the stage and kill what it stands on; what that raises must be worth another try."""
    raised: list[BaseException] = []

    def try_it() -> None:
        try:
            getattr(rename, step)(*arguments)
        except LockkeeperError as error:
            raised.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    kill(wait_until_it_waits(rename.url))
    thread.join(LIMIT_S)
    assert [is_transient(error) for error in raised] == [True], f"{step}: {raised}"


def end_its_session(rename: ColumnRename, step: str, arguments: tuple[float, ...]) -> None:
    """End the stage's sessions, as an operator does who is in a hurry."""

    def kill(pids: list[int]) -> None:
        for pid in pids:
            query(rename.url, f"SELECT pg_terminate_backend({pid})")

    die_beneath(rename, step, arguments, kill)


def kill_its_process(rename: ColumnRename, step: str, arguments: tuple[float, ...]) -> None:
    """kill -9 of a worker in the stage."""
    environment = {**os.environ, "ITEMS_URL": rename.url.render_as_string(hide_password=False)}
    argv = [sys.executable, "-c", WORKER, step, *map(str, arguments)]
    with subprocess.Popen(argv, env=environment) as process:
        wait_until_it_waits(rename.url)
        process.kill()


def walk(url: URL, die: Callable[[ColumnRename, str, tuple[float, ...]], None]) -> None:
    """Go the whole way, each stage tried once in vain; an application writes on its way."""
    rename = ColumnRename(url, CHANGE)
    query(url, TABLE)
    for stage, (step, arguments, lock) in STEPS.items():
        if lock:
            # The whole server may die: then the holder's connection is gone as well.
            holder = psycopg2.connect(url.render_as_string(hide_password=False))
            holder.cursor().execute(f"LOCK TABLE items IN {lock} MODE")
            die(rename, step, arguments)
            holder.close()
        getattr(rename, step)(*arguments)
        assert rename.status().stage is stage
        if stage is Stage.EXPANDED:
            query(url, "UPDATE items SET a = 'by old' WHERE id = 1; UPDATE items SET b = 'x' WHERE id = 2")
    assert query(url, "SELECT b FROM items WHERE id < 4 ORDER BY id") == [("by old",), ("x",), ("v3",)]
    assert query(url, "SELECT count(*) FROM items WHERE b <> a_lockkeeper_old") == [(0,)]
    with connect(url, "tests") as connection:
        execute(connection, "INSERT INTO items (id, b) VALUES (1000, 'new')")
    assert query(url, "SELECT a_lockkeeper_old FROM items WHERE id = 1000") == [("new",)]


def test_a_session_that_is_ended_in_any_stage_is_worth_another_try_which_goes_on(database: URL) -> None:
    walk(database, end_its_session)


def test_after_kill_9_of_the_worker_in_any_stage_the_next_one_goes_on(database: URL) -> None:
    walk(database, kill_its_process)


def test_after_kill_9_of_the_server_in_any_stage_the_next_try_goes_on(
    server_folder: Path, tmp_path: Path
) -> None:
    folder = server_folder / tmp_path.name
    folder.mkdir()
    folder.chmod(0o755)
    with temporary_postgres(folder, settings={"fsync": "on", "synchronous_commit": "on"}) as mortal:

        def kill(_pids: list[int]) -> None:
            assert mortal.process is not None
            kill_tree(mortal.process.pid)

        def die(rename: ColumnRename, step: str, arguments: tuple[float, ...]) -> None:
            die_beneath(rename, step, arguments, kill)
            daemons.end_process(mortal.process)  # nothing is left to end but the handle
            mortal.start()

        walk(mortal.url(), die)
