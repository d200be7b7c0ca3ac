"""Our backfill of a million rows beside one single UPDATE: server CPU, growth, and the application beside it.

    python -m benchmarks.backfill_benchmark [--rows 1000000] [--large-rows 10000000] [--plot FILE]

It starts a PostgreSQL of its own (fsync on). Rows have about 200 bytes; a text of 32 is copied into a new
column, by one UPDATE and by `ColumnRename.backfill` (behind its trigger, with its ledger, VACUUM and ANALYZE)
in turn, each on a fresh table. CPU is that of all processes of the server, ended ones included: on a
noisy machine it is steadier than time. Then an application of 300 statements/s, first alone, then beside a
backfill. With --large-rows, one more backfill of that many rows, with our own peak memory before and after.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.online_operations_benchmark import DURABLE
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename

BARS = {"CPU": 1.3, "growth": 1.4, "p99": 1.5, "CPU per row of the large table": 1.1}
CLIENTS, STATEMENTS_PER_S = 6, 300
IDLE_S = 10.0
START_TIMEOUT_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TABLE = """
DROP TABLE IF EXISTS products;
CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, price_cents int NOT NULL,
    stock int NOT NULL, description text NOT NULL, attributes text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO products (name, price_cents, stock, description, attributes)
SELECT 'product ' || n, n % 10000, n % 100, md5(n::text), repeat(md5((n * 7)::text), 3)
FROM generate_series(1, {rows}) AS n;
DROP SCHEMA IF EXISTS lockkeeper CASCADE;
"""
APPLICATION = (
    "SELECT name, description FROM products WHERE id = %s",
    "UPDATE products SET stock = stock + 1 WHERE id = %s",
    "UPDATE products SET description = md5(random()::text) WHERE id = %s",
)


@dataclass(frozen=True)
class Filled:
    """One way of filling the column once."""

    cpu_s: float
    wall_s: float
    growth: float
    rows: int

    def __str__(self) -> str:
        rate = self.rows / self.wall_s
        return f"{self.cpu_s:.2f} s | {self.wall_s:.2f} s | {self.growth:.3f} | {rate:,.0f}"


def server_cpu_s(postmaster: int) -> float:
    """Return the CPU seconds of a server's processes, of those that have ended too."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended; its parent has its time
            continue
        own, ended = [int(each) for each in fields[11:13]], [int(each) for each in fields[13:15]]
        if int(folder.name) == postmaster:
            ticks += sum(own) + sum(ended)
        elif int(fields[1]) == postmaster:
            ticks += sum(own)
    return ticks / TICKS_PER_S


def _connect(server: EmbeddedPostgres) -> Any:
    connection = psycopg2.connect(server.url("postgres").render_as_string(hide_password=False))
    connection.autocommit = True
    return connection


def _fresh_table(server: EmbeddedPostgres, rows: int) -> int:
    """Make the table anew, all of it on disk; return its size in bytes."""
    with closing(_connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE.format(rows=rows))
        cursor.execute("VACUUM ANALYZE products")
        cursor.execute("CHECKPOINT")
    return _size_bytes(server)


def _size_bytes(server: EmbeddedPostgres) -> int:
    with closing(_connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_table_size('products')")
        return int(cursor.fetchone()[0])


def _expanded(server: EmbeddedPostgres) -> ColumnRename:
    rename = ColumnRename(server.url("postgres"), ColumnChange("products", "description", "summary"))
    rename.expand()
    return rename


def single_update(server: EmbeddedPostgres, rows: int) -> Filled:
    """Fill the column by one UPDATE."""
    before_bytes = _fresh_table(server, rows)
    with closing(_connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE products ADD COLUMN summary text")
        cpu_s, started = server_cpu_s(server.pid), time.monotonic()
        cursor.execute("UPDATE products SET summary = description")
        wall_s, cpu_s = time.monotonic() - started, server_cpu_s(server.pid) - cpu_s
    return Filled(cpu_s, wall_s, _size_bytes(server) / before_bytes, rows)


def backfill(server: EmbeddedPostgres, rows: int) -> Filled:
    """Fill the column by our backfill."""
    before_bytes = _fresh_table(server, rows)
    rename = _expanded(server)
    cpu_s, started = server_cpu_s(server.pid), time.monotonic()
    rename.backfill()
    wall_s, cpu_s = time.monotonic() - started, server_cpu_s(server.pid) - cpu_s
    return Filled(cpu_s, wall_s, _size_bytes(server) / before_bytes, rows)


def _client(dsn: str, number: int, rows: int, shared: tuple[Any, Any, Any]) -> None:
    """Send statements at a fixed rate: one that is late counts from when it was due."""
    ready, ends_at, results = shared
    durations: list[tuple[float, float]] = []
    failed = 0
    statement, chance = APPLICATION[number % len(APPLICATION)], random.Random(number)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement, (1,))
        ready.release()
        due = time.monotonic()
        while not ends_at.value:
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                cursor.execute(statement, (chance.randint(1, rows),))
            except psycopg2.Error:
                failed += 1
            durations.append((due, time.monotonic() - due))
            due += CLIENTS / STATEMENTS_PER_S
        durations.append((due, max(0.0, time.monotonic() - due)))  # the one that never came
    results.put((durations, failed))


def beside_an_application(
    server: EmbeddedPostgres, rows: int
) -> tuple[dict[str, float], list[tuple[float, float]]]:
    """Measure the application's statements, alone and then beside the backfill.

    Returns also each statement: when it was due, in seconds from the backfill's start, and how long it took.
    """
    _fresh_table(server, rows)
    rename = _expanded(server)
    spawn = multiprocessing.get_context("spawn")
    ready, ends_at, results = spawn.Semaphore(0), spawn.Value("d", 0.0), spawn.Queue()
    dsn = server.url("postgres").render_as_string(hide_password=False)
    clients = [
        spawn.Process(target=_client, args=(dsn, number, rows, (ready, ends_at, results)), daemon=True)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for _ in clients:
        if not ready.acquire(timeout=START_TIMEOUT_S):
            raise RuntimeError("the application did not start")
    time.sleep(IDLE_S / 2)  # to warm up
    idle_from = time.monotonic()
    time.sleep(IDLE_S)
    filling_from = time.monotonic()
    rename.backfill()
    ended = ends_at.value = time.monotonic()
    told = [results.get(timeout=60) for _ in clients]
    durations = [each for durations, _ in told for each in durations]
    idle = sorted(took for due, took in durations if idle_from <= due < filling_from)
    beside = sorted(took for due, took in durations if filling_from <= due < ended)
    moments = [(due - filling_from, took) for due, took in durations if idle_from <= due < ended]
    return {
        "idle p99, ms": _percentile_ms(idle, 0.99), "beside p99, ms": _percentile_ms(beside, 0.99),
        "idle p50, ms": _percentile_ms(idle, 0.5), "beside p50, ms": _percentile_ms(beside, 0.5),
        "idle longest, ms": idle[-1] * 1000, "beside longest, ms": beside[-1] * 1000,
        "statements/s idle": len(idle) / (filling_from - idle_from),
        "statements/s beside": len(beside) / (ended - filling_from),
        "backfill, s": ended - filling_from, "failed": float(sum(failed for _, failed in told)),
    }, moments  # fmt: skip


def _percentile_ms(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)] * 1000


def _peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_turn(server: EmbeddedPostgres, rows: int, rounds: int) -> tuple[list[Filled], list[Filled]]:
    """Measure both ways, one after the other, and print every round."""
    print("| way | server CPU | wall | growth | rows/s |\n| --- | ---: | ---: | ---: | ---: |")
    singles, ours = [], []
    for _ in range(rounds):
        singles.append(single_update(server, rows))
        print(f"| single UPDATE | {singles[-1]} |", flush=True)
        ours.append(backfill(server, rows))
        print(f"| backfill | {ours[-1]} |", flush=True)
    ratio = statistics.median(b.cpu_s for b in ours) / statistics.median(a.cpu_s for a in singles)
    print(f"\nCPU: {ratio:.2f} times the single UPDATE's, medians of {rounds} (bar {BARS['CPU']})")
    print(f"growth: {statistics.median(b.growth for b in ours):.2f} times (bar {BARS['growth']})")
    return singles, ours


def draw(moments: list[tuple[float, float]], path: Path) -> None:
    """Draw the application's statements before and beside the backfill, half a second a point."""
    import pygal  # of the extra `benchmarks`

    places = sorted({int(due // 0.5) for due, _ in moments})
    chart = pygal.Line(
        js=(), width=900, height=320, show_dots=False, x_labels_major_every=4, show_minor_x_labels=False,
        title="Statements of an application, ms; the backfill begins at 0 s",
    )  # fmt: skip
    chart.x_labels = [f"{place * 0.5:g}" for place in places]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        points = []
        for place in places:
            took = sorted(took for due, took in moments if int(due // 0.5) == place)
            points.append(round(_percentile_ms(took, share), 2))
        chart.add(name, points)
    path.write_text(chart.render(is_unicode=True) + "\n")


def application(server: EmbeddedPostgres, rows: int, rounds: int, plot: Path | None) -> None:
    """Print how the application fared."""
    ratios = []
    for _ in range(rounds):
        found, moments = beside_an_application(server, rows)
        ratios.append(found["beside p99, ms"] / found["idle p99, ms"])
        print("; ".join(f"{name} {value:,.1f}" for name, value in found.items()), flush=True)
    if plot:
        draw(moments, plot)
    print(f"p99: {statistics.median(ratios):.2f} times that of idle seconds (bar {BARS['p99']})")


def large(server: EmbeddedPostgres, rows: int, small: list[Filled]) -> None:
    """Print what a row of a large table costs."""
    before_mb = _peak_memory_mb()
    found = backfill(server, rows)
    per_row = found.cpu_s / rows / statistics.median(each.cpu_s / each.rows for each in small)
    print(f"| backfill of {rows:,} | {found} |")
    print(f"CPU per row: {per_row:.2f} times (bar {BARS['CPU per row of the large table']})")
    print(f"our peak memory: {before_mb:.1f} MB before, {_peak_memory_mb():.1f} MB after")


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large-rows", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--plot", type=Path, help="an SVG of the application's last round")
    parser.add_argument("--part", choices=["turns", "application", "all"], default="all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major, settings=DURABLE) as server:
            ours: list[Filled] = []
            if options.part != "application":
                _, ours = in_turn(server, options.rows, options.rounds)
            if options.part != "turns":
                application(server, options.rows, options.rounds, options.plot)
            if options.large_rows:
                large(server, options.large_rows, ours or [backfill(server, options.rows)])
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
