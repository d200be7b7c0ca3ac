"""What does the monitor beside a migration cost an application at full speed?

    python -m benchmarks.sampler_benchmark --pairs 20

One pgbench runs the whole time without a pause between its transactions. The monitor watches in turns: spans
with it and spans without, in random order within each pair, so that a drift of the machine falls on both. The
figure is the median of the pairs' ratios of transactions/s, with a bootstrap interval. Beside it: CPU seconds
of this process and of the monitor's server processes while it watched, in percent of one core, the opening of
its sessions included.

The server has more tables than pgbench's and idle connections, as a busy server has. Bars: 2 % of the
transactions/s, 1 % of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.monitoring import DatabaseMonitor, watching
from lockkeeper.postgres.connection import connect, execute, fetch_all, libpq_environment

SETTLE_S = 1.0
"""The second in which a span begins or ends belongs to neither."""
PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")
MANY_TABLES = """DO $$ BEGIN FOR n IN 1..{} LOOP
    EXECUTE format('CREATE TABLE other_%s (id bigserial PRIMARY KEY, v text)', n);
    EXECUTE format('INSERT INTO other_%s (v) VALUES (''x'')', n);
END LOOP; END $$"""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """A pgbench that runs; ``rates`` has monotonic time -> transactions/s of the second before it."""

    process: subprocess.Popen[str]
    rates: list[tuple[float, float]] = field(default_factory=list)

    def read(self) -> None:
        """Read pgbench's progress until it ends."""
        for line in self.process.stderr or ():
            if found := PROGRESS.match(line):
                self.rates.append((time.monotonic(), float(found[2])))

    def rate(self, begin: float, end: float) -> float:
        """Return the mean of the whole seconds of a span."""
        inside = [rate for at, rate in self.rates if begin + SETTLE_S + 1 <= at <= end]
        return statistics.fmean(inside)


@contextlib.contextmanager
def pgbench(program: Path, url: URL, seconds: float, clients: int) -> Iterator[Load]:
    """Run pgbench at full speed, with its progress read each second."""
    argv = [
        str(program), "--no-vacuum", "--protocol", "prepared", "--client", str(clients), "--progress", "1",
        "--time", str(round(seconds)),
    ]  # fmt: skip
    environment = {**os.environ, **libpq_environment(url)}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        load = Load(process)
        reader = threading.Thread(target=load.read)
        reader.start()
        try:
            yield load
        finally:
            process.terminate()
            process.wait()
            reader.join()


def server_cpu_s(pids: list[int]) -> float:
    """CPU seconds that server processes have used so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


@dataclass
class Costs:
    """CPU while the monitor watched."""

    seconds: float = 0.0
    own_s: float = 0.0
    server_s: float = 0.0
    samples: int = 0

    def percent(self, cpu_s: float) -> float:
        """Return CPU seconds as a share of one core."""
        return 100 * cpu_s / self.seconds


def watch(target: Target, seconds: float, costs: Costs, admin: psycopg2.extensions.connection) -> None:
    """Watch for a span; connecting, first looks and closing included in our process's share."""
    monitor = DatabaseMonitor(target, "benchmark")
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with watching(monitor):
        time.sleep(max(0.0, seconds - (time.monotonic() - started)))
        pids = [
            pid
            for (pid,) in fetch_all(
                admin, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:%:benchmark'"
            )
        ]
        costs.server_s += server_cpu_s(pids)
    after = resource.getrusage(resource.RUSAGE_SELF)
    costs.own_s += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    costs.seconds += seconds
    costs.samples += monitor.summary().samples


def interval(ratios: list[float], rounds: int = 4000) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    choose = random.Random(7)
    medians = sorted(statistics.median(choose.choices(ratios, k=len(ratios))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def measure(target: Target, program: Path, options: argparse.Namespace) -> None:
    """Take turns, then print the table."""
    costs = Costs()
    choose = random.Random(options.seed)
    ratios, rates = [], []
    whole_s = 2 * options.pairs * (options.span + 1) + 30
    with (
        connect(target.url, "benchmark") as admin,
        pgbench(program, target.url, whole_s, options.clients) as load,
    ):
        time.sleep(5)
        for _ in range(options.pairs):
            pair: dict[bool, float] = {}
            for watched in choose.sample([True, False], 2):
                begin = time.monotonic()
                if watched and not options.nothing:
                    watch(target, options.span, costs, admin)
                else:
                    time.sleep(options.span)
                pair[watched] = load.rate(begin, begin + options.span)
            ratios.append(pair[True] / pair[False])
            rates.append(pair[False])
    low, high = interval(ratios)
    loss = 100 * (1 - statistics.median(ratios))
    print(f"transactions/s without: {statistics.median(rates):.0f} (median of {options.pairs} spans)")
    print(f"loss with the monitor: {loss:.2f} % (95 %: {100 * (1 - high):.2f} to {100 * (1 - low):.2f})")
    if costs.seconds:
        print(f"samples: {costs.samples} in {costs.seconds:.0f} s")
        print(f"CPU of this process: {costs.percent(costs.own_s):.2f} % of one core")
        print(f"CPU of its server processes: {costs.percent(costs.server_s):.2f} % of one core")
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Make a server, fill it, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--span", type=float, default=5.0, help="seconds of each span")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--idle", type=int, default=50, help="idle connections")
    parser.add_argument("--tables", type=int, default=300, help="tables beside pgbench's")
    parser.add_argument("--major", type=int, default=15, help="a version with pgbench beside the server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nothing", action="store_true", help="watch nothing: how large is the noise?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        settings = {"max_connections": "200", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}
        with temporary_postgres(folder, major=options.major, settings=settings) as server:
            url = server.url()
            program = server.bin_dir / "pgbench"
            environment = {**os.environ, **libpq_environment(url)}
            filling = [str(program), "--initialize", "--scale", "10", "--quiet"]
            subprocess.run(filling, env=environment, check=True, capture_output=True)
            with connect(url, "benchmark") as connection:
                execute(connection, MANY_TABLES.format(options.tables))
            target = Target(
                name="shop",
                database_url=SecretStr(url.render_as_string(hide_password=False)),
                storage=LocalStorageSettings(path=folder / "storage"),
                policies=Policies(monitor_interval_s=1.0),
            )
            with contextlib.ExitStack() as stack:
                for _ in range(options.idle):
                    idle = psycopg2.connect(url.render_as_string(hide_password=False))
                    stack.enter_context(contextlib.closing(idle))
                measure(target, program, options)


if __name__ == "__main__":
    main()
