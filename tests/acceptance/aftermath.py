"""What a run must leave behind: the database as it was, and nothing of its own."""

from __future__ import annotations

import threading
import time

from lockkeeper.postgres.connection import connect, fetch_all

ENDING_S = 10.0
"""A server process outlives its client by a moment, and by a longer one on a busy machine."""


def assert_as_before(shop) -> None:
    assert shop.differences() == []
    deadline, pause = time.monotonic() + ENDING_S, threading.Event()
    while left := leftovers(shop):
        assert time.monotonic() < deadline, left
        pause.wait(0.05)


def leftovers(shop) -> list[str]:
    """Scratch databases, locks and sessions that a run must not leave behind."""
    with connect(shop.target.maintenance_url, "tests") as connection:
        scratch = f"{shop.target.database}_lk_verify%"
        databases = fetch_all(connection, "SELECT datname FROM pg_database WHERE datname LIKE %s", (scratch,))
        sessions = fetch_all(
            connection,
            "SELECT application_name FROM pg_stat_activity "
            "WHERE application_name LIKE 'lockkeeper:%%' AND application_name <> 'lockkeeper:tests' "
            "AND datname LIKE %s",
            (f"{shop.target.database}%",),
        )
    return [str(row[0]) for row in databases + sessions]
