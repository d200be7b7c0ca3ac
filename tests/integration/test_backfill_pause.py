"""A backfill pauses while the monitor asks for it, says so, and ends once nobody asks any more."""

from __future__ import annotations

import threading
import time

from sqlalchemy.engine import URL

from lockkeeper.monitoring.throttle import ThrottleRequest
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.rename import ColumnChange, ColumnRename

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
