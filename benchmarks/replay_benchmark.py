"""How fast is replay beside writers at full speed, and what does being ready cost them?

    python -m benchmarks.replay_benchmark rate --seconds 20
    python -m benchmarks.replay_benchmark cost --seconds 15 --rounds 3

``rate``: four writers at full speed for the whole time; the replay starts late, so that it has a backlog and
works without pause; both are counted over the same seconds. ``cost``: four writers at 300 transactions/s
together, with and without capture and replay, in turns; throughput and 99th percentile of each turn.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.recovery.capture import Capture, starting_capture
from lockkeeper.recovery.replay import Replay, start_replay
from lockkeeper.recovery.replay.bookkeeping import read_progress

WRITERS, ROWS_PER_TRANSACTION = 4, 3
PACE_PER_S = 300
ACCOUNTS = 20_000
SCHEMA = f"""
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer int, state text, note text, amount numeric(12, 2), placed_at timestamptz
);
CREATE INDEX ON orders (customer);
CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance bigint, visits int, changed_at timestamptz);
INSERT INTO accounts SELECT g, 'owner ' || g, 0, 0, now() FROM generate_series(1, {ACCOUNTS}) AS g;
"""


class Counted(NamedTuple):
    """What the writers did in a span: transactions, and the time that each took."""

    transactions: int
    seconds: float
    latencies_s: list[float]

    @property
    def per_second(self) -> float:
        """Transactions per second."""
        return self.transactions / self.seconds

    @property
    def p99_ms(self) -> float:
        """99th percentile of the transactions' time."""
        return 1000 * statistics.quantiles(self.latencies_s, n=100)[98]


def write(
    number: int, dsn: str, pace_per_s: float, go_on: object, counters: object, latencies: object
) -> None:
    """One writer: an insert, an update of a random account, and a delete in each transaction."""
    chance = random.Random(number)
    last = number * 100_000_000 + int(time.time()) % 10_000_000
    mine: list[int] = []
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        due = time.monotonic()
        while go_on.value:  # type: ignore[attr-defined]
            if pace_per_s:
                due += chance.expovariate(pace_per_s)
                time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            last += 1
            mine.append(last)
            cursor.execute(
                "INSERT INTO orders VALUES (%s, %s, 'new', 'a note of some length', %s, now())",
                (last, chance.randrange(ACCOUNTS), chance.randrange(10_000) / 100),
            )
            cursor.execute(
                "UPDATE accounts SET balance = balance + 1, changed_at = now() WHERE id = %s",
                (chance.randrange(ACCOUNTS) + 1,),
            )
            gone = mine.pop(0) if len(mine) > 200 else -1
            cursor.execute("DELETE FROM orders WHERE id = %s", (gone,))
            connection.commit()
            counters[number] += 1  # type: ignore[index]
            if pace_per_s:
                latencies.put(time.monotonic() - began)  # type: ignore[attr-defined]


class Writers:
    """Four processes that write until they are stopped."""

    def __init__(self, url: URL, pace_per_s: float = 0.0) -> None:
        self._go_on = mp.Value("b", True)
        self._counters = mp.Array("q", WRITERS, lock=False)
        self._latencies: mp.Queue[float] = mp.Queue()
        dsn = url.render_as_string(hide_password=False)
        pace = pace_per_s / WRITERS
        self._processes = [
            mp.Process(target=write, args=(n, dsn, pace, self._go_on, self._counters, self._latencies))
            for n in range(WRITERS)
        ]
        for process in self._processes:
            process.start()

    @property
    def transactions(self) -> int:
        """Transactions that were acknowledged so far."""
        return sum(self._counters)

    def count(self, seconds: float) -> Counted:
        """Let them write for a while, and count."""
        self._drain()
        before, began = self.transactions, time.monotonic()
        time.sleep(seconds)
        done, took = self.transactions - before, time.monotonic() - began
        return Counted(done, took, self._drain())

    def _drain(self) -> list[float]:
        taken = []
        while not self._latencies.empty():
            taken.append(self._latencies.get())
        return taken

    def stop(self) -> None:
        """End them."""
        self._go_on.value = False
        self._drain()
        for process in self._processes:
            process.join(10)


@contextmanager
def shop(major: int) -> Iterator[tuple[Target, URL]]:
    """Yield a target on a server of its own that syncs to disk, and a copy of it made before any write."""
    folder = Path(tempfile.mkdtemp(prefix="lockkeeper-bench-"))
    folder.chmod(0o755)
    os.environ[HOME_VARIABLE] = str(folder / "home")
    durable = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "512MB"}
    try:
        with temporary_postgres(folder, major=major, settings=durable) as server:
            with connect(server.url(), "bench") as connection:
                execute(connection, "CREATE DATABASE shop")
            with connect(server.url("shop"), "bench") as connection:
                execute(connection, SCHEMA)
            with connect(server.url(), "bench") as connection:
                execute(connection, sql.SQL("CREATE DATABASE shop_copy TEMPLATE shop"))
            url = server.url("shop").render_as_string(hide_password=False)
            storage = LocalStorageSettings(path=folder / "storage")
            yield Target(name="shop", database_url=SecretStr(url), storage=storage), server.url("shop_copy")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ready(target: Target, copy: URL, run_id: str) -> Iterator[tuple[Capture, Replay]]:
    """Capture and replay for the length of the block."""
    with starting_capture(target, run_id) as started:
        capture = started.capture
    replay = start_replay(target, capture, copy)
    try:
        yield capture, replay
    finally:
        replay.stop()
        capture.end(target, "measured")


def measure_rate(target: Target, copy: URL, seconds: float) -> None:
    """Print row changes per second of the writers and of the replay, over the same span."""
    with ExitStack() as stack:
        with starting_capture(target, "rate") as started:
            capture = started.capture
        stack.callback(capture.end, target, "measured")
        writers = Writers(target.url)
        stack.callback(writers.stop)
        time.sleep(seconds)  # the backlog
        replay = start_replay(target, capture, copy)
        stack.callback(replay.stop)
        with connect(copy, "bench") as connection:
            while read_progress(connection).changes == 0:
                time.sleep(0.01)
            before = read_progress(connection).changes
            counted = writers.count(seconds)
            replayed = (read_progress(connection).changes - before) / counted.seconds
        behind = writers.transactions * ROWS_PER_TRANSACTION - before - replayed * counted.seconds
        written = counted.per_second * ROWS_PER_TRANSACTION
        print(f"writers {written:.0f} rows/s ({counted.per_second:.0f} transactions/s)")
        print(f"replay  {replayed:.0f} rows/s, {replayed / written:.2f} times the writers'", end="")
        print(f"; backlog left {behind:.0f} rows" + ("" if behind > 0 else " (it was idle: a lower bound)"))


def measure_cost(target: Target, copy: URL, seconds: float, rounds: int) -> None:
    """Print throughput and 99th percentile without and with capture and replay, in turns."""
    results: dict[bool, list[Counted]] = {False: [], True: []}
    writers = Writers(target.url, PACE_PER_S)
    try:
        writers.count(3)
        for number in range(rounds):
            results[False].append(writers.count(seconds))
            with ready(target, copy, f"cost-{number}"):
                time.sleep(2)
                results[True].append(writers.count(seconds))
            time.sleep(2)
    finally:
        writers.stop()
    for on, counted in results.items():
        rates = " ".join(f"{each.per_second:.1f}" for each in counted)
        tails = " ".join(f"{each.p99_ms:.1f}" for each in counted)
        medians = " ".join(f"{1000 * statistics.median(each.latencies_s):.1f}" for each in counted)
        print(f"{'ready' if on else 'bare '} transactions/s {rates} | p50 ms {medians} | p99 ms {tails}")
    bare, with_ready = (statistics.mean(each.per_second for each in results[on]) for on in (False, True))
    print(f"throughput when ready: {100 * (with_ready / bare - 1):+.1f} %")


def main() -> None:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["rate", "cost"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--major", type=int, default=16)
    arguments = parser.parse_args()
    with shop(arguments.major) as (target, copy):
        if arguments.what == "rate":
            measure_rate(target, copy, arguments.seconds)
        else:
            measure_cost(target, copy, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
