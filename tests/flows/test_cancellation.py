"""A run that is told to end: the database as before, nothing left on the server, and the team knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from prefect.settings import PREFECT_API_URL

from tests.flows.observing import leftovers

RUN = "import sys; from flows.production_migration import production_migration as run; run(sys.argv[1])"
SLOW_UPGRADE = """
op.execute("ALTER TABLE users ADD COLUMN status text")
op.execute("SELECT pg_sleep(120)")
"""
GRACE_S = 30  # what Prefect gives a cancelled run before SIGKILL


def wait_until(condition, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.1)


def test_a_cancelled_migration_ends_its_statement_and_leaves_the_database_as_it_was(shop, slack) -> None:
    shop.add_revision("r1", SLOW_UPGRADE)
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", RUN, shop.name], cwd=root, env=environment)
    try:
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(120)%' "
        sleeping += "AND application_name LIKE 'lockkeeper:migrate%'"
        wait_until(lambda: shop.query(sleeping), 120)

        process.send_signal(signal.SIGTERM)
        process.wait(GRACE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()

    assert shop.columns() == ["balance", "email", "id"]
    assert shop.query("SELECT version_num FROM alembic_version") == [("base0",)]
    assert leftovers(shop) == []
    assert len(slack.messages) == 1
    assert "the database is unchanged" in slack.messages[0]["text"]
