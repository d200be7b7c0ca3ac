"""How long does a migration block writers beyond its impact budget before it is cancelled?

    python -m benchmarks.impact_budget_benchmark --rounds 3

A writer updates one row over and over while a migration takes the table's lock and keeps it for a minute, in
four ways: in a statement, idle in its transaction while Python sleeps, in a statement that catches its
cancel, and in Python that catches its end. The figure is the writer's longest wait beyond the budget.
Bar: 1 s.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, Target
from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import RunReport
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.record import new_run_id
from lockkeeper.runbook import MigrationRequest, run_migration

WAYS = {
    "in a statement": 'op.execute("LOCK TABLE users; SELECT pg_sleep(60)")',
    "idle in its transaction": 'op.execute("LOCK TABLE users")\ntime.sleep(60)',
    "catching its cancel": (
        'op.execute("LOCK TABLE users; DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); '
        'EXCEPTION WHEN query_canceled THEN END; END LOOP; END $$")'
    ),
    "catching its end": (
        'try:\n    op.execute("LOCK TABLE users; SELECT pg_sleep(60)")\nexcept Exception:\n    time.sleep(60)'
    ),
}
ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
SETUP = (
    "CREATE TABLE users (id int PRIMARY KEY, balance int)",
    "INSERT INTO users SELECT n, n FROM generate_series(1, 500) AS n",
)


class Writer:
    """Updates a row over and over; knows its longest wait."""

    def __init__(self, url: URL) -> None:
        self._url, self._stop = url, threading.Event()
        self.longest_s = 0.0

    def _write(self) -> None:
        with connect(self._url, "shop-application") as connection:
            while not self._stop.wait(0.005):
                started = time.monotonic()
                execute(connection, "UPDATE users SET balance = balance + 1 WHERE id = 1")
                self.longest_s = max(self.longest_s, time.monotonic() - started)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Write for the length of the block."""
        thread = threading.Thread(target=self._write)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()


def write_project(folder: Path, body: str) -> AlembicSettings:
    """Write an Alembic project of one revision."""
    versions = folder / "scripts" / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = scripts\n")
    (folder / "scripts" / "env.py").write_text(ENV_PY)
    (versions / "r1.py").write_text(
        'revision = "r1"\ndown_revision = None\nimport time\nfrom alembic import op\n\n'
        f"def upgrade():\n{textwrap.indent(body, '    ')}\n\ndef downgrade():\n    pass\n"
    )
    return AlembicSettings(config_file=folder / "alembic.ini")


def migrate(url: URL, folder: Path, body: str, budget_s: float) -> tuple[RunReport, float]:
    """Migrate beside a writer; returns the report and the writer's longest wait."""
    target = Target(
        name="shop",
        database_url=SecretStr(url.render_as_string(hide_password=False)),
        alembic=write_project(folder / "project", body),
        storage=LocalStorageSettings(path=folder / "storage"),
        policies=Policies(
            impact_block_s=budget_s, impact_action="cancel", rehearsal="off", capture="off",
            impact_probe_sql="SELECT 1",
        ),
    )  # fmt: skip
    run_id = new_run_id()
    request = MigrationRequest(
        run_id=run_id,
        target=target.name,
        database=target.database,
        revision="head",
        initiator="benchmark",
        rehearsal="off",
    )
    with Writer(url).writing() as writer:
        report = run_migration(Engine(target, run_id), request)
    return report, writer.longest_s


def main() -> None:
    """Measure every way in turns; prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget-s", type=float, default=1.0)
    parser.add_argument("--major", type=int, default=16)
    options = parser.parse_args()
    over: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major) as server:
            for number in range(options.rounds):
                for position, (way, body) in enumerate(WAYS.items()):
                    database = f"shop_{number}_{position}"
                    with connect(server.url(), "benchmark") as connection:
                        execute(connection, f"CREATE DATABASE {database}")
                    with connect(server.url(database), "benchmark") as connection:
                        for statement in SETUP:
                            execute(connection, statement)
                    place = folder / database
                    report, longest_s = migrate(server.url(database), place, body, options.budget_s)
                    if report.monitor is None or not report.monitor.cancelled:
                        raise SystemExit(f"{way}: was not cancelled: {report.error}")
                    over[way].append(longest_s - options.budget_s)
    for way, seconds in over.items():
        print(f"{way}: {', '.join(f'{one:.2f}' for one in seconds)} s over {options.budget_s:g} s")
    print(f"most: {max(max(seconds) for seconds in over.values()):.2f} s (bar 1 s)")
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
