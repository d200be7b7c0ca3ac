"""What does the stairway cost a revision, beyond Alembic's own work?

Each of the revisions makes a table with an index and 50 rows. The same moves (up, down, up) are made by
``lockkeeper test`` and by plain Alembic in one process, one after the other on the same server.

    python -m benchmarks.stairway_benchmark --revisions 100
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.proving import run_migration_test

BAR_S = 0.5
ENV = """import os
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """from alembic import op

revision = "r{n}"
down_revision = {down!r}


def upgrade():
    op.execute("CREATE TABLE t{n} (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x', at timestamptz)")
    op.execute("CREATE INDEX i{n} ON t{n} (name)")
    op.execute("INSERT INTO t{n} SELECT g FROM generate_series(1, 50) AS g")


def downgrade():
    op.execute("DROP TABLE t{n}")
"""


def write_project(folder: Path, revisions: int) -> Path:
    """Write the project; returns its alembic.ini."""
    versions = folder / "scripts" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(ENV)
    for n in range(1, revisions + 1):
        text = REVISION.format(n=n, down=f"r{n - 1}" if n > 1 else None)
        (versions / f"r{n}.py").write_text(text)
    ini = folder / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = %(here)s/scripts\n")
    return ini


def plain_s(ini: Path, server: URL, revisions: int) -> float:
    """Return how long plain Alembic takes for the same moves."""
    with connect(server, "benchmark") as connection:
        execute(connection, "CREATE DATABASE plain")
    os.environ["DATABASE_URL"] = server.set(database="plain").render_as_string(hide_password=False)
    config = Config(str(ini))
    started = time.monotonic()
    for n in range(1, revisions + 1):
        command.upgrade(config, f"r{n}")
        command.downgrade(config, f"r{n - 1}" if n > 1 else "base")
        command.upgrade(config, f"r{n}")
    return time.monotonic() - started


def main() -> None:
    """Measure, and compare with the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--revisions", type=int, default=100)
    parser.add_argument("--major", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ini = write_project(folder / "project", arguments.revisions)
        with temporary_postgres(folder, major=arguments.major) as server:
            started = time.monotonic()
            report = run_migration_test(AlembicSettings(config_file=ini), server.url())
            ours = time.monotonic() - started
            plain = plain_s(ini, server.url(), arguments.revisions)
    beyond = (ours - plain) / arguments.revisions
    print(f"exit code {report.exit_code}; ours {ours:.1f} s, plain Alembic {plain:.1f} s")
    print(f"bar: below {BAR_S} s: {beyond:.2f} s, {'met' if beyond < BAR_S else 'MISSED'}")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
