"""What orchestration costs: one revision on a small database, by bare Alembic, the command line, and a flow.

Prints, for each round, the wall seconds of

- ``alembic upgrade +1``;
- ``lockkeeper migrate``, without a Prefect server (backup, proof, rehearsal and verification included);
- the run of the ``production-migration`` deployment, from its first Running state to its end, and how much
  of that was spent between the runbook's steps.

Run it with ``python -m benchmarks.orchestration_benchmark``; it starts and stops servers of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine import URL

from demo.deployments import run_deployment, save_and_deploy
from lockkeeper.config import AlembicSettings, Target
from lockkeeper.local.stack import StackState, start_stack, stop_stack
from lockkeeper.postgres.connection import connect, execute

REPOSITORY = Path(__file__).resolve().parent.parent
ALEMBIC_INI = REPOSITORY / "migrations" / "alembic.ini"
PROGRAMS = Path(sys.executable).parent
FIRST, SECOND = "000", "001"


def small_database(stack: StackState, name: str) -> URL:
    """Make the demo's tables at the first revision, with few rows."""
    with connect(stack.database_url(), "benchmark") as connection:
        for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {}"):
            execute(connection, sql.SQL(statement).format(sql.Identifier(name)))
    url = stack.database_url(name)
    timed([str(PROGRAMS / "alembic"), "-c", str(ALEMBIC_INI), "upgrade", FIRST], url)
    return url


def timed(argv: list[str], url: URL) -> float:
    """Run a program to its end and return its wall seconds."""
    environment = {**os.environ, "DATABASE_URL": url.render_as_string(hide_password=False)}
    environment.pop("PREFECT_API_URL", None)
    started = time.monotonic()
    subprocess.run(argv, check=True, env=environment, cwd=REPOSITORY, capture_output=True)
    return time.monotonic() - started


def by_command_line(stack: StackState, folder: Path) -> float:
    """Migrate once with ``lockkeeper migrate``."""
    url = small_database(stack, "bench_cli")
    argv = [
        str(PROGRAMS / "lockkeeper"), "migrate", "--database-url-env", "DATABASE_URL",
        "--alembic", str(ALEMBIC_INI), "--storage", str(folder / "backups"), "--revision", SECOND, "--json",
    ]  # fmt: skip
    return timed(argv, url)


def by_flow(stack: StackState, target: Target) -> tuple[float, float]:
    """Migrate once through the deployment; returns the run's seconds and those of its steps."""
    small_database(stack, target.database)
    run = run_deployment(stack, target, SECOND, lambda _step: None)
    flow_run = stack.prefect().request("GET", f"/flow_runs/{run.url.rsplit('/', 1)[1]}")
    if run.state_type != "COMPLETED":
        raise SystemExit(f"The flow did not complete: {run.message}")
    return float(flow_run["total_run_time"]), sum(step.duration_s for step in run.report.steps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="lockkeeper-benchmark-"))
    folder.chmod(0o755)
    stack = start_stack(folder / "stack", prefect=True, working_dir=REPOSITORY)
    try:
        url = small_database(stack, "bench_flow")
        target = Target(
            name="bench",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            alembic=AlembicSettings(config_file=ALEMBIC_INI),
            storage=stack.storage("bench"),
        )
        save_and_deploy(stack, [target])
        measured = []
        for _ in range(rounds):
            bare_url = small_database(stack, "bench_bare")
            bare = timed([str(PROGRAMS / "alembic"), "-c", str(ALEMBIC_INI), "upgrade", SECOND], bare_url)
            command = by_command_line(stack, folder)
            flow, steps = by_flow(stack, target)
            measured.append({"alembic": bare, "cli": command, "flow": flow, "steps": steps})
            print(json.dumps({name: round(value, 2) for name, value in measured[-1].items()}), flush=True)
        median = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
        print(f"lockkeeper migrate - bare Alembic: {median['cli'] - median['alembic']:.1f} s (bar: 20)")
        print(f"flow run - its own steps: {median['flow'] - median['steps']:.1f} s (bar: 10)")
        print(f"flow run - lockkeeper migrate: {median['flow'] - median['cli']:.1f} s")
    finally:
        stop_stack(folder / "stack")


if __name__ == "__main__":
    main()
