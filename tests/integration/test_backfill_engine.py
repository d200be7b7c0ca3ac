"""The backfill engine on real tables: every kind of key, workers that die or are replaced, rows that fail."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.backfill.engine import BackfillProgress
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.errors import BackfillError, BackfillStoppedError, ConfigurationError, FencedError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename

DEADLINE_S = 60.0
CHANGE = ColumnChange("items", "old", "new")
KEYS = {
    "integer": "id int PRIMARY KEY|n",
    "text": "id text PRIMARY KEY|'key ''' || n",
    "uuid": "id uuid PRIMARY KEY|md5(n::text)::uuid",
    "composite": "a int, b text, PRIMARY KEY (a, b)|n % 7, 'b' || n",
    "unique index": "id int NOT NULL UNIQUE|n",
    "no key": "id int|n",
}
UNFILLED = "SELECT count(*) FROM items WHERE new IS DISTINCT FROM old"


def make_items(url: URL, key: str = KEYS["integer"], rows: int = 2_000, old: str = "'text ' || n") -> None:
    columns, _, values = key.partition("|")
    query(url, f"CREATE TABLE items ({columns.replace(', PRIMARY', ', old text, PRIMARY')})")
    if "old text" not in columns.replace(", PRIMARY", ", old text, PRIMARY"):
        query(url, "ALTER TABLE items ADD COLUMN old text")
    order = "a, b, old" if key.startswith("a int") else "id, old"
    query(url, f"INSERT INTO items ({order}) SELECT {values}, {old} FROM generate_series(1, {rows}) AS n")
    query(url, "ANALYZE items")


def expanded(url: URL, change: ColumnChange = CHANGE, **limits: Any) -> ColumnRename:
    rename = ColumnRename(url, change)
    rename.expand()
    rename.tune(**{"batch_rows": 100, **limits})
    return rename


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def written(url: URL) -> int:
    return int(query(url, "SELECT coalesce(sum(rows_written), 0)::int FROM lockkeeper.backfill_chunk")[0][0])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("key", KEYS)
def test_every_row_is_filled_and_written_once_whatever_the_key(database: URL, key: str, workers: int) -> None:
    make_items(database, KEYS[key])
    expanded(database).backfill(workers=workers)
    assert query(database, UNFILLED) == [(0,)]
    assert written(database) == 2_000


@pytest.fixture
def large(every_server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    url = make_database(every_server)
    make_items(url, rows=24_000, old="repeat('x', 400) || n")
    return url


def test_a_table_that_is_not_small_is_filled_page_by_page_mostly_in_place(large: URL) -> None:
    rename = expanded(large, batch_rows=10_000)
    query(large, "UPDATE items SET new = 'by the application' WHERE id = 5")
    before = query(large, "SELECT pg_relation_size('items')")[0][0]
    rename.backfill()
    assert query(large, "SELECT DISTINCT by_pages FROM lockkeeper.backfill_chunk") == [(True,)]
    assert query(large, UNFILLED) == [(0,)]
    assert query(large, "SELECT old FROM items WHERE id = 5") == [("by the application",)]
    assert written(large) == 23_999
    assert query(large, f"SELECT pg_relation_size('items') < 2.4 * {before}") == [(True,)]


def test_a_table_rewritten_meanwhile_stops_the_worker_and_the_next_run_finds_all_rows(database: URL) -> None:
    make_items(database, rows=24_000, old="repeat('x', 400) || n")
    rename = expanded(database, batch_rows=500)
    rewritten = []

    def rewrite(progress: BackfillProgress) -> None:
        if progress.rows_copied and not rewritten:
            rewritten.append(query(database, "CLUSTER items USING items_pkey"))

    rename.tune(pause_ms=50)
    with pytest.raises(FencedError, match="rewritten"):
        rename.backfill(rewrite)
    rename.tune(pause_ms=0, batch_rows=10_000)
    rename.backfill()
    assert query(database, UNFILLED) == [(0,)]
    assert written(database) == 24_000


KILLED = """
import sys
from sqlalchemy.engine import make_url
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename
ColumnRename(make_url(sys.argv[1]), ColumnChange("items", "old", "new")).backfill()
"""


@pytest.mark.parametrize("key", ["composite", "no key"])
def test_after_kill_9_the_next_run_repeats_nothing_and_skips_nothing(database: URL, key: str) -> None:
    make_items(database, KEYS[key])
    query(database, "CREATE TABLE writes (at serial)")
    rename = expanded(database, pause_ms=20)
    query(
        database,
        "CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO public.writes DEFAULT VALUES; RETURN NULL; END$$",
    )
    query(database, "CREATE TRIGGER w AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION count_write()")
    argv = [sys.executable, "-c", KILLED, database.render_as_string(hide_password=False)]
    with subprocess.Popen(argv) as process:
        wait_for(lambda: process.poll() is not None or written(database) > 300)
        process.kill()
    assert 0 < written(database) < 2_000
    rename.tune(pause_ms=0)
    rename.backfill()
    assert query(database, UNFILLED) == [(0,)]
    assert written(database) == 2_000
    assert query(database, "SELECT count(*) FROM writes") == [(2_000,)]


def test_a_worker_whose_token_is_gone_rolls_its_batch_back(database: URL) -> None:
    make_items(database)
    rename = expanded(database, pause_ms=20)

    def take_over(progress: BackfillProgress) -> None:
        query(database, "UPDATE lockkeeper.column_change SET token = token + 1")
        query(database, "UPDATE lockkeeper.backfill_chunk SET token = token + 1")

    with pytest.raises(FencedError):
        rename.backfill(take_over)
    filled = query(database, "SELECT count(new) FROM items")[0][0]
    assert filled == written(database) < 2_000


BAD = "CHECK (new IS NULL OR new NOT IN ('text 700', 'text 1500'))"


@pytest.mark.parametrize("key", ["composite", "no key"])
def test_a_failing_batch_is_halved_down_to_the_rows_which_are_parked_by_name(database: URL, key: str) -> None:
    make_items(database, KEYS[key])
    rename = expanded(database)
    query(database, f"ALTER TABLE items ADD CONSTRAINT bad {BAD} NOT VALID")
    with pytest.raises(BackfillError, match="2 rows could not be filled") as told:
        rename.backfill()
    assert ("b700" if key == "composite" else "ctid") in str(told.value)
    assert "23514" in str(told.value)
    assert query(database, UNFILLED) == [(2,)]
    query(database, "ALTER TABLE items DROP CONSTRAINT bad")
    rename.backfill()
    assert query(database, UNFILLED) == [(0,)]
    assert query(database, "SELECT count(*) FROM lockkeeper.backfill_parked") == [(0,)]


def test_by_policy_it_stops_at_the_first_row_that_fails(database: URL) -> None:
    make_items(database)
    rename = expanded(database, on_failing_row="stop")
    query(database, f"ALTER TABLE items ADD CONSTRAINT bad {BAD} NOT VALID")
    with pytest.raises(BackfillError, match="id = 700"):
        rename.backfill()
    assert query(database, "SELECT count(new) > 0 AND count(new) < 1500 FROM items") == [(True,)]


def test_a_locked_row_holds_up_nobody_and_is_filled_once_it_is_free(database: URL) -> None:
    make_items(database)
    rename = expanded(database)
    with connect(database, "tests") as connection:
        execute(connection, "BEGIN")
        execute(connection, "SELECT FROM items WHERE id = 50 FOR UPDATE")
        backfill = threading.Thread(target=rename.backfill)
        backfill.start()
        wait_for(lambda: query(database, UNFILLED) == [(1,)])
        assert backfill.is_alive()
        execute(connection, "ROLLBACK")
        backfill.join(DEADLINE_S)
    assert query(database, UNFILLED) == [(0,)]


def test_it_ends_although_inserts_go_on(database: URL) -> None:
    make_items(database)
    rename = expanded(database, pause_ms=10)
    number = iter(range(10_000, 10_000_000))
    stop = threading.Event()

    def insert() -> None:
        with connect(database, "tests") as connection:
            while not stop.is_set():
                execute(connection, f"INSERT INTO items VALUES ({next(number)}, 'later')")

    inserting = threading.Thread(target=insert)
    inserting.start()
    try:
        assert rename.backfill().stage == "backfilled"
    finally:
        stop.set()
        inserting.join(DEADLINE_S)
    assert query(database, UNFILLED) == [(0,)]
    assert written(database) == 2_000


def test_reasons_are_added_up_shown_and_changed_while_it_runs(database: URL) -> None:
    make_items(database)
    rename = expanded(database, pause_ms=30, metric_sql="SELECT 7", max_metric=1, paused=True)
    backfill = threading.Thread(target=rename.backfill)
    backfill.start()
    wait_for(lambda: len(rename.status().throttled_by) == 2)
    assert rename.status().throttled_by == ("paused by request", "the metric at 7, allowed 1")
    rename.tune(paused=False)
    wait_for(lambda: rename.status().throttled_by == ("the metric at 7, allowed 1",))
    assert backfill.is_alive()
    with contextlib.closing(psycopg2.connect(database.render_as_string(hide_password=False))) as somebody:
        cursor, share = somebody.cursor(), Throttle().share_percent
        wait_for(lambda: cursor.execute("SELECT 1") or rename.status().share_percent == share)
    rename.tune(max_metric=10, pause_ms=0)
    backfill.join(DEADLINE_S)
    assert rename.status().stage == "backfilled"
    assert (rename.status().throttled_by, rename.status().share_percent) == ((), None)


def test_asked_to_stop_it_ends_after_its_batch_and_goes_on_later(database: URL) -> None:
    make_items(database)
    rename = expanded(database, pause_ms=30)

    def stop_soon(progress: BackfillProgress) -> None:
        rename.tune(stop=True)

    with pytest.raises(BackfillStoppedError):
        rename.backfill(stop_soon)
    so_far = written(database)
    assert so_far < 2_000
    rename.tune(stop=False, pause_ms=0)
    rename.backfill()
    assert written(database) == 2_000
    with pytest.raises(ConfigurationError, match="no speed"):
        rename.tune(speed=3)
