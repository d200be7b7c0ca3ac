"""users.status on a million rows under load: in one transaction, as it is usually written, and online.

    python -m benchmarks.online_operations_benchmark [--rows 1000000] [--major 16]

It starts a PostgreSQL of its own (fsync on), fills one database with the demo's users, and gives each way of
migrating a fresh copy; one of them is the demo's own revisions, as their files stand in migrations/. An
application of two writers and two readers in a process of its own goes on all the while. For each way: the
longest that any of its statements took, the longest that a lock which stops readers or writers was held on
the table (sampled every few milliseconds), and how long the migration took.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psycopg2
from alembic import command
from alembic.config import Config

from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres

STATEMENTS_PER_S = 100
SAMPLE_S = 0.004
START_TIMEOUT_S = 60.0
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "max_wal_size": "4GB"}
DEMO = Path(__file__).parent.parent / "migrations" / "alembic.ini"
MADE_BY, LAST = "000", "001c"  # the demo's table, and the last of its revisions for users.status
ROWS = """
INSERT INTO users (email, full_name, country, settings, last_login_at)
SELECT format('user%s@example.org', n), md5(n::text), 'NL', '{{"theme": "dark"}}',
    now() - n * interval '1 minute'
FROM generate_series(1, {rows}) AS n;
"""
# A bare random() is volatile: every row would be compared with another one. The subquery is run once.
APPLICATION = (
    "UPDATE users SET credit_cents = credit_cents + 1 WHERE id = (SELECT 1 + (random() * {rows})::bigint)",
    "INSERT INTO users (email, full_name, country) VALUES (gen_random_uuid()::text, 'new', 'NL')",
    "SELECT full_name FROM users WHERE id = (SELECT 1 + (random() * {rows})::bigint)",
    "SELECT count(*) FROM users WHERE id BETWEEN 100 AND 200",
)
ONE_TRANSACTION = """
op.add_column("users", sa.Column("status", sa.String(20), nullable=True))
op.execute("UPDATE users SET status = 'active'")
op.alter_column("users", "status", nullable=False, server_default="active")
op.create_index("idx_users_status", "users", ["status"])
"""
CONSTANT = """
op.add_column_online("users", sa.Column("status", sa.String(20), nullable=False, server_default="active"))
op.create_index_online("idx_users_status", "users", ["status"])
"""
COMPUTED = """
op.add_column_online(
    "users", sa.Column("status", sa.String(20), nullable=False, server_default="active"),
    backfill="CASE WHEN last_login_at > now() - interval '90 days' THEN 'active' ELSE 'inactive' END",
)
op.create_index_online("idx_users_status", "users", ["status"])
"""
DEMO_FILES = "the demo's 001, 001b and 001c"
WAYS = {
    "no migration (10 s)": "import time; time.sleep(10)",
    "one transaction": ONE_TRANSACTION,
    "online, constant": CONSTANT,
    "online, computed": COMPUTED,
    DEMO_FILES: "",
}
ENV = """
import sqlalchemy as sa
from alembic import context

with sa.create_engine(context.config.attributes["url"], poolclass=sa.pool.NullPool).connect() as connection:
    # The demo's revisions have Alembic's own table.
    context.configure(connection=connection, transaction_per_migration=True, version_table="ways")
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
import lockkeeper.ops
from alembic import op

revision, down_revision = "1", None

def upgrade():
{body}
"""
# Locks of the migration only; stopping readers or writers.
STRONG_LOCKS = """
SELECT l.pid FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.relation = 'users'::regclass AND l.granted AND a.application_name <> 'application'
    AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
"""


@dataclass
class Measured:
    """One way of migrating: seconds, and how the application fared."""

    took_s: float
    statements: int
    failed: int
    longest_s: float
    p99_s: float
    lock_held_s: float


@dataclass
class LockSampler(threading.Thread):
    """Watches for locks on the table that stop readers or writers; ``longest_s`` is the longest seen."""

    dsn: str
    longest_s: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__()

    def run(self) -> None:
        """Sample until told to stop. A lock seen once counts as the time between the samples around it."""
        with closing(_connect(self.dsn, "sampler")) as connection, connection.cursor() as cursor:
            free_at = time.monotonic()
            while not self.stop.wait(SAMPLE_S):
                cursor.execute(STRONG_LOCKS)
                held, now = cursor.fetchone() is not None, time.monotonic()
                if held:
                    self.longest_s = max(self.longest_s, now - free_at)
                else:
                    free_at = now

    __hash__ = threading.Thread.__hash__


def _connect(dsn: str, name: str) -> Any:
    connection = psycopg2.connect(dsn, application_name=name)
    connection.autocommit = True
    return connection


def _client(dsn: str, statement: str, stop: Event, durations: list[float], failed: list[str]) -> None:
    with closing(_connect(dsn, "application")) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        while not stop.wait(1 / STATEMENTS_PER_S):
            started = time.monotonic()
            try:
                cursor.execute(statement)
            except psycopg2.Error as error:
                failed.append(str(error))
            durations.append(time.monotonic() - started)


def application(dsn: str, rows: int, running: Event, stop: Event, results: Any) -> None:
    """Write and read until told to stop, then tell how long each statement took."""
    durations: list[float] = []
    failed: list[str] = []
    threads = [
        threading.Thread(target=_client, args=(dsn, sql.format(rows=rows), stop, durations, failed))
        for sql in APPLICATION
    ]
    for thread in threads:
        thread.start()
    while len(durations) < len(APPLICATION) * STATEMENTS_PER_S:  # warm
        stop.wait(0.1)
    durations.clear()
    running.set()
    for thread in threads:
        thread.join()
    results.put((durations, failed))


@contextmanager
def load(dsn: str, rows: int) -> Iterator[Any]:
    """Keep the application running through the block; yields what gives its results afterwards."""
    spawn = multiprocessing.get_context("spawn")
    running, stop, results = spawn.Event(), spawn.Event(), spawn.Queue()
    process = spawn.Process(target=application, args=(dsn, rows, running, stop, results), daemon=True)
    process.start()
    try:
        if not running.wait(START_TIMEOUT_S):
            raise RuntimeError("the application did not start")
        yield results
    finally:
        stop.set()


def migrate(folder: Path, url: Any, body: str) -> None:
    """Run one revision with the given upgrade() through a real Alembic environment."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "script.py.mako").touch()
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    (folder / "versions" / "1.py").write_text(REVISION.format(body=indented))
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    command.upgrade(config, "head")


def demo_cmd(revision: str) -> list[str]:
    """Return the command that takes the demo's own project up to a revision."""
    return [sys.executable, "-m", "alembic", "-c", str(DEMO), "upgrade", revision]


def migrate_demo(dsn: str, revision: str) -> None:
    """Run the demo's own files in a process of their own, whose start counts."""
    environment = {**os.environ, "DATABASE_URL": dsn}
    subprocess.run(demo_cmd(revision), check=True, stdout=subprocess.DEVNULL, env=environment)


def measure(server: EmbeddedPostgres, folder: Path, name: str, body: str, rows: int) -> Measured:
    """Copy the filled database, migrate the copy under load, drop it."""
    database = f"way_{list(WAYS).index(name)}"
    admin = _connect(_dsn(server, "postgres"), "benchmark")
    with admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database} TEMPLATE filled")
        cursor.execute("CHECKPOINT")
    dsn = _dsn(server, database)
    sampler = LockSampler(dsn)
    with load(dsn, rows) as results:
        sampler.start()
        started = time.monotonic()
        if name == DEMO_FILES:
            migrate_demo(dsn, LAST)
        else:
            migrate(folder / database, server.url(database), body)
        took_s = time.monotonic() - started
    sampler.stop.set()
    sampler.join()
    durations, failed = results.get(timeout=START_TIMEOUT_S)
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {database} WITH (FORCE)")
    admin.close()
    durations.sort()
    return Measured(
        took_s, len(durations), len(failed), durations[-1], durations[int(len(durations) * 0.99)],
        sampler.longest_s,
    )  # fmt: skip


def _dsn(server: EmbeddedPostgres, database: str) -> str:
    return server.url(database).render_as_string(hide_password=False)


def fill(server: EmbeddedPostgres, rows: int) -> None:
    """Make the database that each way gets a copy of."""
    admin = _connect(_dsn(server, "postgres"), "benchmark")
    admin.cursor().execute("CREATE DATABASE filled")
    admin.close()
    migrate_demo(_dsn(server, "filled"), MADE_BY)
    connection = _connect(_dsn(server, "filled"), "benchmark")
    with connection.cursor() as cursor:
        cursor.execute(ROWS.format(rows=rows))
        cursor.execute("VACUUM ANALYZE users")
    connection.close()


def main() -> None:
    """Measure every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--major", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        ways = folder / "ways"
        ways.mkdir()
        with temporary_postgres(folder, major=options.major, settings=DURABLE) as server:
            fill(server, options.rows)
            print(f"users.status, {options.rows:,} rows, PostgreSQL {options.major}, 4 clients\n")
            print("| way | migration | longest statement | p99 | statements (failed) | lock held |")
            print("| --- | ---: | ---: | ---: | ---: | ---: |")
            for way, body in WAYS.items():
                m = measure(server, ways, way, body, options.rows)
                print(
                    f"| {way} | {m.took_s:.1f} s | {m.longest_s * 1000:,.0f} ms | {m.p99_s * 1000:.0f} ms "
                    f"| {m.statements:,} ({m.failed}) | {m.lock_held_s * 1000:,.0f} ms |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
