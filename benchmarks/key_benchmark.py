"""The longest stall of an application while an int key with foreign keys pointing at it becomes a bigint.

    python -m benchmarks.key_benchmark [--rows 200000] [--major 16]

It starts a PostgreSQL of its own (fsync on); four clients send 300 statements/s from before the first stage
to after the last (contract, undo, contract again, drop), and keep journals. For each stage: how long it took,
the longest statement and the 99th percentile; at the end what failed, was lost or was mixed up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.online_operations_benchmark import DURABLE
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename
from tests.acceptance import key_writers

BAR_MS = 250.0
IDLE_S = 5.0


def main() -> None:
    """Measure every stage, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--major", type=int, default=16)
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
                measure(rename, ran)
            found = key_writers.problems(url, ran)
    statements = sum(len(client.took_s) for client in ran)
    print(f"\n{statements:,} statements; failed, lost or mixed up: {len(found)} {found[:3] or ''}")
    print(
        f"longest stall {key_writers.longest_ms(ran):.0f} ms (bar {BAR_MS:g}), load {os.getloadavg()[0]:.1f}"
    )


def measure(rename: ColumnRename, ran: list[key_writers.Client]) -> None:
    """Go through all stages, and back once."""
    stages: list[tuple[str, Callable[[], object]]] = [
        ("no change", lambda: time.sleep(IDLE_S)), ("expand", rename.expand),
        ("backfill", rename.backfill), ("validate", rename.validate), ("flip", rename.flip),
        ("observe", rename.observe), ("contract", rename.contract), ("undo", rename.undo),
        ("validate again", rename.validate), ("flip again", rename.flip), ("observe again", rename.observe),
        ("contract again", rename.contract), ("drop", lambda: rename.drop(force=True)),
    ]  # fmt: skip
    print("| stage | took | longest statement | p99 |\n| --- | ---: | ---: | ---: |")
    for name, stage in stages:
        started = time.monotonic()
        stage()
        took_s = time.monotonic() - started
        time.sleep(1.0)
        took = sorted(took for client in ran for at, took in list(client.took_s) if at >= started - 0.5)
        longest_ms, p99_ms = took[-1] * 1000, took[int(len(took) * 0.99)] * 1000
        print(f"| {name} | {took_s:.2f} s | {longest_ms:.0f} ms | {p99_ms:.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
