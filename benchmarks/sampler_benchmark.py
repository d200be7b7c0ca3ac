"""What does the monitor beside a migration cost an application at full speed?

    python -m benchmarks.sampler_benchmark --pairs 60

One pgbench runs the whole time without a pause between its transactions; it writes down the microsecond in
which each transaction ended. The monitor is a process of its own, which is stopped (SIGSTOP) and let go on
(SIGCONT): many short spans with it and without, side by side, in random order within each pair, so that a
drift of the machine falls on both and nothing is opened or closed at their borders. Of each pair the ratio
is taken, of

- transactions/s,
- CPU seconds of the whole server for each transaction,
- the same with the monitor's own process added, as though it ran on the server's machine.

A virtual machine's cores change their speed from second to second by more than what is to be found. How fast
they are is known from pgbench's own CPU for a transaction, whose work is always the same: a line through the
pairs takes that out (a control variate), and the pairs are drawn again 2,000 times for the interval. After a
stop every reading of the monitor is due at once, so that spans with it have more work than a steady watch.

Before the spans a steady watch is measured alone: its CPU in percent of one core, and what its opening costs.
Bars: 2 % of the transactions/s, 1 % of one core. The server has more tables than pgbench's and idle
connections, as a busy server has; it neither syncs nor vacuums, whose noise would hide what is measured.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import math
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import psycopg2
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.monitoring import DatabaseMonitor, watching
from lockkeeper.postgres.connection import connect, execute, libpq_environment

RUN = "benchmark"
SETTLE_S = 0.1
"""After a switch: transactions that began before it."""
OPENING_S = 3.0
FEWEST_PAIRS = 10
SERVER = {
    "max_connections": "200", "max_wal_size": "4GB", "checkpoint_timeout": "1h", "autovacuum": "off",
    "fsync": "off", "shared_buffers": "256MB",
}  # fmt: skip
MANY_TABLES = """DO $$ BEGIN FOR n IN 1..{} LOOP
    EXECUTE format('CREATE TABLE other_%s (id bigserial PRIMARY KEY, v text)', n);
    EXECUTE format('INSERT INTO other_%s (v) VALUES (''x'')', n);
END LOOP; END $$"""


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of a process have used so far, to the nanosecond; 0 when it is gone."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def server_pids(server: EmbeddedPostgres) -> list[int]:
    """Return the postmaster and its children."""
    postmaster = int((server.data_dir / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def monitor_pids(server: EmbeddedPostgres) -> list[int]:
    """Return the server's processes that serve the monitor."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s"
    with connect(server.url(), "benchmark-asks") as connection, connection.cursor() as cursor:
        cursor.execute(query, (f"lockkeeper:%:{RUN}",))
        return [pid for (pid,) in cursor.fetchall()]


def watch_until_told(target: Target, told: Pipe) -> None:
    """Watch in this process until anything is received; sends CPU seconds of the imports, then of samples."""
    monitor = DatabaseMonitor(target, RUN)
    told.send(time.process_time())
    with watching(monitor):
        told.recv()
    told.send((monitor.summary().samples, monitor.summary().failed_samples))


@contextlib.contextmanager
def monitor_process(target: Target) -> Iterator[tuple[int, float, Pipe]]:
    """Run a monitor in a process of its own; yields its id and the CPU seconds before it watched."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=watch_until_told, args=(target, theirs))
    process.start()
    assert process.pid is not None
    try:
        yield process.pid, ours.recv(), ours
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def pgbench(
    server: EmbeddedPostgres, folder: Path, options: argparse.Namespace
) -> Iterator[tuple[int, Path]]:
    """Run pgbench at full speed; yields its id and the folder of its logs, complete after the block."""
    logs = folder / "logs"
    logs.mkdir()
    argv = [
        str(server.bin_dir / "pgbench"), "--no-vacuum", "--protocol", "prepared",
        "--builtin", options.builtin, "--client", str(options.clients), "--time", "3600",
        "--log", "--log-prefix", str(logs / "tx"),
    ]  # fmt: skip
    environment = {**os.environ, **libpq_environment(server.url())}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process.pid, logs
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def ends_of_transactions(logs: Path) -> list[float]:
    """Return when each transaction ended, as Unix time, sorted."""
    ends = []
    for log in logs.iterdir():
        for line in log.read_text().splitlines():
            fields = line.split()
            if len(fields) >= 6:  # the last line of a log that was cut short
                ends.append(int(fields[4]) + int(fields[5]) / 1e6)
    return sorted(ends)


@dataclass
class Span:
    """One span: when, and the CPU seconds spent in it."""

    begin: float
    end: float
    server_s: float
    own_s: float
    client_s: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin

    def transactions(self, ends: list[float]) -> int:
        """Return how many ended in it."""
        return bisect.bisect(ends, self.end) - bisect.bisect(ends, self.begin)


@dataclass
class Meter:
    """Takes spans of one server and one monitor."""

    server: EmbeddedPostgres
    monitor: int
    client: int
    pids: list[int] = field(default_factory=list)

    def _server_s(self) -> float:
        return sum(cpu_s(pid) for pid in self.pids)

    def span(self, seconds: float) -> Span:
        """Measure the next seconds."""
        begin = time.time()
        before = (self._server_s(), cpu_s(self.monitor), cpu_s(self.client))
        time.sleep(seconds)
        after = (self._server_s(), cpu_s(self.monitor), cpu_s(self.client))
        spent = [later - earlier for earlier, later in zip(before, after, strict=True)]
        return Span(begin, time.time(), *spent)


def effect(outcomes: list[float], machine: list[float], rounds: int = 2000) -> tuple[float, float, float]:
    """Return the effect in % and its 95 % bootstrap interval, the machine's own speed taken out.

    Both lists hold logarithms of a pair's ratio: what remains of the outcome where the machine's is zero is
    the intercept of a line through the pairs.
    """
    choose = random.Random(7)
    indexes = range(len(outcomes))

    def intercept(chosen: Sequence[int]) -> float:
        x, y = [machine[n] for n in chosen], [outcomes[n] for n in chosen]
        return statistics.linear_regression(x, y).intercept

    found = sorted(intercept(choose.choices(indexes, k=len(indexes))) for _ in range(rounds))
    bounds = intercept(indexes), found[int(rounds * 0.025)], found[int(rounds * 0.975)]
    low, middle, high = sorted(100 * math.expm1(bound) for bound in bounds)
    return middle, low, high


def steady(meter: Meter, before_s: float, seconds: float) -> None:
    """Measure the opening and then a watch that nobody stops."""
    time.sleep(OPENING_S)
    serving = monitor_pids(meter.server)
    server_s, own_s = sum(map(cpu_s, serving)), cpu_s(meter.monitor) - before_s
    meter.pids = serving
    span = meter.span(seconds)
    took = span.seconds
    own, server = span.own_s / took, span.server_s / took
    opening_ms = 1000 * (server_s + own_s - OPENING_S * (own + server))
    print(f"steady watch of {took:.0f} s, in % of one core: {100 * (own + server):.2f}")
    print(f"  of it this process {100 * own:.2f}, its server processes {100 * server:.2f}")
    print(f"opening it: {opening_ms:.0f} ms of CPU, once for each migration")


def take_pairs(meter: Meter, options: argparse.Namespace) -> list[dict[bool, Span]]:
    """Take the spans."""
    choose = random.Random(options.seed)
    pairs = []
    meter.pids = server_pids(meter.server)
    for _ in range(options.pairs):
        pair = {}
        for watched in choose.sample([True, False], 2):
            go_on = watched and not options.nothing
            os.kill(meter.monitor, signal.SIGCONT if go_on else signal.SIGSTOP)
            time.sleep(SETTLE_S)
            pair[watched] = meter.span(options.span)
        pairs.append(pair)
    os.kill(meter.monitor, signal.SIGCONT)
    return pairs


def print_pairs(pairs: list[dict[bool, Span]], ends: list[float]) -> None:
    """Print what the monitor changes in each measure."""

    def logs(value: Callable[[Span], float]) -> list[float]:
        return [math.log(value(pair[True]) / value(pair[False])) for pair in pairs]

    count = {id(span): span.transactions(ends) for pair in pairs for span in pair.values()}
    rate = statistics.median(count[id(pair[False])] / pair[False].seconds for pair in pairs)
    machine = logs(lambda span: span.client_s / count[id(span)])
    print(f"{len(pairs)} pairs of spans; without the monitor {rate:.0f} transactions/s")
    measures: dict[str, Callable[[Span], float]] = {
        "transactions/s": lambda span: count[id(span)] / span.seconds,
        "CPU of the server for a transaction": lambda span: span.server_s / count[id(span)],
        "the same with the monitor's process": lambda span: (span.server_s + span.own_s) / count[id(span)],
    }
    for name, measure_of in measures.items():
        outcomes = logs(measure_of)
        change, low, high = effect(outcomes, machine)
        raw = 100 * math.expm1(statistics.fmean(outcomes))
        spread = 100 * statistics.stdev(outcomes)
        told = f"{change:+.2f} % (95 %: {low:+.2f} to {high:+.2f})"
        print(f"{name}: {told}; not adjusted {raw:+.2f} %, pairs spread {spread:.1f} %")


def measure(server: EmbeddedPostgres, target: Target, folder: Path, options: argparse.Namespace) -> None:
    """Watch steadily, then in turns; print."""
    with pgbench(server, folder, options) as (client, logs):
        time.sleep(3)
        with monitor_process(target) as (pid, before_s, told):
            meter = Meter(server, pid, client)
            steady(meter, before_s, options.steady)
            pairs = take_pairs(meter, options)
            told.send("end")
            samples, failed = told.recv()
            print(f"samples taken: {samples}, failed: {failed}")
    print_pairs(pairs, ends_of_transactions(logs))
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Make a server, fill it, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--span", type=float, default=1.5, help="seconds of each span")
    parser.add_argument("--steady", type=float, default=40.0, help="seconds of the watch that nobody stops")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--builtin", default="tpcb-like", help="pgbench's script, e.g. select-only")
    parser.add_argument("--idle", type=int, default=50, help="idle connections")
    parser.add_argument("--tables", type=int, default=300, help="tables beside pgbench's")
    parser.add_argument("--major", type=int, default=15, help="a version with pgbench beside the server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nothing", action="store_true", help="never go on: how large is the noise?")
    options = parser.parse_args()
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"fewer than {FEWEST_PAIRS} pairs have no interval")
    with tempfile.TemporaryDirectory(prefix="lockkeeper-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major, settings=SERVER) as server:
            url = server.url()
            fill(server, url, options.tables)
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
                measure(server, target, folder, options)


def fill(server: EmbeddedPostgres, url: URL, tables: int) -> None:
    """Make pgbench's tables and many others."""
    filling = [str(server.bin_dir / "pgbench"), "--initialize", "--scale", "20", "--quiet"]
    environment = {**os.environ, **libpq_environment(url)}
    subprocess.run(filling, env=environment, check=True, capture_output=True)
    with connect(url, "benchmark") as connection:
        execute(connection, MANY_TABLES.format(tables))
        execute(connection, "VACUUM ANALYZE")


if __name__ == "__main__":
    main()
