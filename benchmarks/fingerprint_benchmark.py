"""How fast is a data fingerprint beside COPY (SELECT * ...) TO '/dev/null' on the server?

Both are run in turns by one session on the same table; what counts is the CPU time of that server process
(steady on a noisy machine), wall time is shown too. Above 1 the fingerprint is the faster one.

    python benchmarks/fingerprint_benchmark.py --megabytes 1000
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql

from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.fingerprint import data_fingerprint
from lockkeeper.postgres.fingerprint.data import Table, list_tables, reading_session
from lockkeeper.postgres.fingerprint.hashing import digest_query

BYTES_A_ROW = 360
ROUNDS = 3
BAR = 0.5


class Cost(NamedTuple):
    """Seconds of one run."""

    cpu_s: float
    wall_s: float


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(session: Connection, statement: sql.Composable) -> Cost:
    """Run ``statement`` once in ``session``."""
    pid = session.info.backend_pid
    cpu, wall = cpu_s(pid), time.monotonic()
    execute(session, statement)
    return Cost(cpu_s(pid) - cpu, time.monotonic() - wall)


def ways(table: Table) -> dict[str, sql.Composable]:
    """What is compared."""
    source = table.source
    return {
        "COPY TO /dev/null": sql.SQL("COPY (SELECT * FROM {}) TO '/dev/null'").format(source),
        "count(*)": sql.SQL("SELECT count(*) FROM {}").format(source),
        "fingerprint with columns": digest_query(table.columns, source, per_column=True),
        "fingerprint of rows only": digest_query(table.columns, source, per_column=False),
        "hashtextextended(t::text)": sql.SQL(
            'SELECT sum(hashtextextended(t::text COLLATE "C", 0)) FROM {} AS t'
        ).format(source),
        "md5(t::text)": sql.SQL(
            "SELECT sum(('x' || left(md5(t::text), 16))::bit(64)::int8) FROM {} AS t"
        ).format(source),
    }


def by_column(table: Table) -> dict[str, tuple[sql.Composable, sql.Composable]]:
    """For each column: its COPY and its fingerprint."""
    return {
        column.name: (
            sql.SQL("COPY (SELECT {} FROM {}) TO '/dev/null'").format(sql.SQL(column.quoted), table.source),
            digest_query([column], table.source, per_column=True),
        )
        for column in table.columns
    }


def benchmark(server: EmbeddedPostgres, megabytes: int, *, columns: bool) -> float:
    """Print the table of results; returns the ratio that the bar is about."""
    url = server.url("postgres")
    rows = megabytes * 1_000_000 // BYTES_A_ROW
    script = (Path(__file__).parent / "fingerprint_data.sql").read_text()
    with connect(url, "benchmark") as connection:
        execute(connection, sql.SQL(script).format(rows=sql.Literal(rows)))
        execute(connection, "VACUUM (FREEZE, ANALYZE) mixed")
        size = int(fetch_value(connection, "SELECT pg_table_size('mixed')"))
    with reading_session(url) as session:
        (table,) = list_tables(session)
        print(f"PostgreSQL {server.major}, {rows} rows, {size / 1e6:.0f} MB; best of {ROUNDS} rounds")
        results: dict[str, list[Cost]] = {}
        for _ in range(ROUNDS):
            for name, statement in ways(table).items():
                results.setdefault(name, []).append(measure(session, statement))
        costs = {name: min(runs) for name, runs in results.items()}
        copy = costs["COPY TO /dev/null"].cpu_s
        print(f"{'':28} {'CPU s':>7} {'wall s':>7} {'speed against COPY':>19}")
        for name, cost in costs.items():
            print(f"{name:28} {cost.cpu_s:7.2f} {cost.wall_s:7.2f} {copy / max(cost.cpu_s, 0.01):19.2f}")
        if columns:
            print("by column, speed against COPY of the column:")
            for name, (copied, hashed) in by_column(table).items():
                one = measure(session, copied).cpu_s, measure(session, hashed).cpu_s
                print(f"  {name:12} {one[0]:6.2f} {one[1]:6.2f} {one[0] / max(one[1], 0.01):6.2f}")
        memory = fetch_all(session, "SELECT sum(used_bytes) / 1e6 FROM pg_backend_memory_contexts")[0][0]
        print(f"server process afterwards: {memory:.1f} MB in its memory contexts")
    for jobs in (1, 2):
        started = time.monotonic()
        data_fingerprint(url, jobs=jobs)
        print(f"data_fingerprint(jobs={jobs}): {time.monotonic() - started:.2f} s wall")
    print(f"client: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
    return copy / max(costs["fingerprint with columns"].cpu_s, 0.01)


def main() -> None:
    """Start a throw-away server, measure, compare with the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--columns", action="store_true", help="also each column by itself")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as folder:
        Path(folder).chmod(0o755)
        with temporary_postgres(Path(folder), major=arguments.major) as server:
            ratio = benchmark(server, arguments.megabytes, columns=arguments.columns)
    verdict = "met" if ratio >= BAR else "MISSED"
    print(f"bar: at least {BAR} of the speed of COPY per core: {ratio:.2f}, {verdict}")


if __name__ == "__main__":
    main()
