"""A connection that dies in the middle of a stage: an error worth another try, and the next try goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.errors import LockkeeperError, is_transient
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.rename import ColumnChange, ColumnRename, Stage

TABLE = """
CREATE TABLE items (id bigint PRIMARY KEY, a text NOT NULL CHECK (a <> ''), other int);
CREATE INDEX items_a ON items (a);
INSERT INTO items SELECT n, 'v' || n, n FROM generate_series(1, 500) AS n;
"""
END_SESSIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND application_name ~ '^lockkeeper:(rename|backfill)'
  AND wait_event_type = 'Lock'
"""
LIMIT_S = 60

Step = Callable[[ColumnRename], object]
STEPS: dict[Stage, tuple[Step, str]] = {
    Stage.EXPANDED: (lambda rename: rename.expand(), "ACCESS SHARE"),
    Stage.BACKFILLED: (lambda rename: rename.backfill(), "ACCESS EXCLUSIVE"),
    Stage.VALIDATED: (lambda rename: rename.validate(), "ACCESS EXCLUSIVE"),
    Stage.FLIPPED: (lambda rename: rename.flip(), ""),
    Stage.OBSERVING: (lambda rename: rename.observe(), "ACCESS EXCLUSIVE"),
    Stage.SCREAMED: (lambda rename: rename.scream(0), "ACCESS SHARE"),
    Stage.CONTRACTED: (lambda rename: rename.contract(), "ACCESS SHARE"),
    Stage.DROPPED: (lambda rename: rename.drop(force=True), "ACCESS SHARE"),
}


def interrupted(rename: ColumnRename, step: Step, lock: str) -> list[BaseException]:
    """Hold the stage up by a lock, end its session there, and return what it raised."""
    raised: list[BaseException] = []

    def try_it() -> None:
        try:
            step(rename)
        except LockkeeperError as error:
            raised.append(error)

    with connect(rename.url, "tests", autocommit=False) as holder, connect(rename.url, "tests") as killer:
        execute(holder, f"LOCK TABLE items IN {lock} MODE")
        thread = threading.Thread(target=try_it)
        thread.start()
        for _ in range(LIMIT_S * 200):
            execute(killer, END_SESSIONS)
            thread.join(0.005)
            if not thread.is_alive():
                break
    thread.join(LIMIT_S)
    return raised


def test_a_session_that_is_ended_in_any_stage_is_worth_another_try_which_goes_on(database: URL) -> None:
    query(database, TABLE)
    rename = ColumnRename(database, ColumnChange("items", "a", "b"))
    for stage, (step, lock) in STEPS.items():
        if lock:
            raised = interrupted(rename, step, lock)
            assert [is_transient(error) for error in raised] == [True], f"{stage}: {raised}"
        step(rename)
        assert rename.status().stage is stage
        if stage is Stage.VALIDATED:
            query(
                database, "UPDATE items SET a = 'by old' WHERE id = 1; UPDATE items SET b = 'x' WHERE id = 2"
            )
            assert query(database, "SELECT count(*) FROM items WHERE a <> b") == [(0,)]
    assert query(database, "SELECT b FROM items WHERE id < 4 ORDER BY id") == [("by old",), ("x",), ("v3",)]
