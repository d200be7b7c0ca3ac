"""What a run must leave behind: the database as it was, and nothing of its own."""

from __future__ import annotations

import re
import threading
import time

from lockkeeper.journal import read_reports
from lockkeeper.postgres.connection import connect, fetch_all
from lockkeeper.postgres.locks import lock_holder
from lockkeeper.storage import open_storage

ENDING_S = 10.0
"""A server process outlives its client by a moment, and by a longer one on a busy machine."""
OWN_DATABASES = r"""
SELECT datname FROM pg_database
WHERE starts_with(datname, %(own)s || '_lk_') AND datname !~ '_lk_failed_\d{14}$'
"""
OWN_SESSIONS = """
SELECT application_name FROM pg_stat_activity
WHERE application_name LIKE 'lockkeeper:%%' AND application_name <> 'lockkeeper:tests'
    AND (starts_with(datname, %(own)s) OR split_part(application_name, ':', 3) = ANY (%(runs)s))
"""
"""In the database and what was made beside it, and of its runs in any other: the lock's, those of a swap."""


def assert_as_before(shop) -> None:
    assert shop.differences() == []
    assert_nothing_left(shop)


def assert_nothing_left(shop) -> None:
    deadline, pause = time.monotonic() + ENDING_S, threading.Event()
    while left := leftovers(shop):
        assert time.monotonic() < deadline, left
        pause.wait(0.05)


def leftovers(shop) -> list[str]:
    """Databases but the quarantine, sessions and the migration lock: what a run must not leave behind."""
    runs = [report.run_id for report in read_reports(open_storage(shop.target.storage), shop.target.name)]
    facts = {"own": shop.target.database, "runs": runs}
    with connect(shop.target.maintenance_url, "tests") as connection:
        found = fetch_all(connection, OWN_DATABASES, facts) + fetch_all(connection, OWN_SESSIONS, facts)
        holder = lock_holder(connection, shop.target.database)
    return [*(str(row[0]) for row in found), *([f"the lock of {holder}"] if holder else [])]


def changed_tables(shop) -> set[str]:
    """The tables whose content is not that of before; nothing else may differ."""
    found = [re.match(r"table (\S+): ", line) for line in shop.differences()]
    assert all(found), shop.differences()
    return {match[1] for match in found if match}
