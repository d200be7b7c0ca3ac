"""The longest stall of an application while an int key with foreign keys pointing at it becomes a bigint.

    python -m benchmarks.key_benchmark [--rows 200000] [--major 16]
    python -m benchmarks.key_benchmark --reader-s 30    # a reader of both tables at each stage's start

It starts a PostgreSQL of its own (fsync on); four clients send 300 statements/s from before the first stage
to after the last (contract, undo, contract again, drop), and keep journals. For each stage: how long it took,
the longest statement and the 99th percentile; at the end what failed, was lost or was mixed up. With a reader
it goes through the stages once: no undo, no second contract.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import URL

from benchmarks.online_operations_benchmark import DURABLE
from benchmarks.rename_benchmark import reader
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename
from tests.acceptance import key_writers

BAR_MS = 250.0
IDLE_S = 5.0
READ = "SELECT count(*) FROM orders, (SELECT count(*) FROM lines) AS others"


def main() -> None:
    """Measure every stage, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--reader-s", type=float, default=0, help="a reader of so long at each stage's start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major, settings=DURABLE) as server:
            url = server.url("postgres")
            key_writers.prepare(url, options.rows)
            rename = ColumnRename(url, ColumnChange("orders", "id", "id", new_type="bigint"))
            with key_writers.clients(url) as ran:
                time.sleep(IDLE_S)
                measure(rename, ran, url, options.reader_s)
            found = key_writers.problems(url, ran)
    statements = sum(len(client.took_s) for client in ran)
    print(f"\n{statements:,} statements; failed, lost or mixed up: {len(found)} {found[:3] or ''}")
    print(
        f"longest stall {key_writers.longest_ms(ran):.0f} ms (bar {BAR_MS:g}), load {os.getloadavg()[0]:.1f}"
    )


def measure(rename: ColumnRename, ran: list[key_writers.Client], url: URL, reader_s: float) -> None:
    """Go through all stages; without a reader also back once."""
    stages: list[tuple[str, Callable[[], object]]] = [
        ("no change", lambda: time.sleep(IDLE_S)), ("expand", rename.expand),
        ("backfill", rename.backfill), ("validate", rename.validate), ("flip", rename.flip),
        ("observe", rename.observe), ("contract", rename.contract), ("undo", rename.undo),
        ("validate again", rename.validate), ("flip again", rename.flip), ("observe again", rename.observe),
        ("contract again", rename.contract), ("drop", lambda: rename.drop(force=True)),
    ]  # fmt: skip
    if reader_s:
        stages = [stage for stage in stages if stage[0] != "undo" and not stage[0].endswith(" again")]
    print("| stage | took | longest statement | p99 |\n| --- | ---: | ---: | ---: |")
    for name, stage in stages:
        started = time.monotonic()
        with reader(url, reader_s if name != "no change" else 0, READ):
            stage()
        took_s = time.monotonic() - started
        time.sleep(1.0)
        took = sorted(took for client in ran for at, took in list(client.took_s) if at >= started - 0.5)
        longest_ms, p99_ms = took[-1] * 1000, took[int(len(took) * 0.99)] * 1000
        print(f"| {name} | {took_s:.2f} s | {longest_ms:.0f} ms | {p99_ms:.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
