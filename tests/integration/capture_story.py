"""Writers that keep a journal of what was acknowledged, beside processes of capture and replay."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.local.daemons import ProcessIdentity
from lockkeeper.recovery.capture import Capture, starting_capture
from lockkeeper.recovery.capture.files import load
from lockkeeper.recovery.capture.orphans import find_orphans
from tests.integration.captured import clone, read

SHOP = """
CREATE TABLE orders (id bigint PRIMARY KEY, writer int, note text);
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0, status text DEFAULT 'ok');
INSERT INTO accounts (id) SELECT g FROM generate_series(0, 99) AS g;
"""
DEADLINE_S = 60.0
_SPAN = 10_000_000


class Writers:
    """Each transaction inserts an order, adds to an account, and often deletes an order of before.

    ``kept`` are the orders that were acknowledged and not deleted, ``added`` what was added to each account.
    """

    def __init__(self, url: URL, count: int = 4, pause_s: float = 0.0) -> None:
        self._dsn = url.render_as_string(hide_password=False)
        self._pause_s = pause_s
        self._stop = threading.Event()
        self.acknowledged = 0
        self.kept: list[set[int]] = [set() for _ in range(count)]
        self.added: list[dict[int, int]] = [{} for _ in range(count)]
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _guarded(self, number: int) -> None:
        try:
            self._work(number)
        except BaseException as error:
            self.errors.append(error)

    def _work(self, number: int) -> None:
        connection = psycopg2.connect(self._dsn)
        chance = random.Random(number)
        kept, added = self.kept[number], self.added[number]
        last = number * _SPAN
        try:
            with connection.cursor() as cursor:
                while not self._stop.wait(self._pause_s):
                    last += 1
                    account, amount = chance.randrange(100), chance.randrange(1, 9)
                    gone = chance.choice(sorted(kept)[:50]) if kept and chance.random() < 0.5 else None
                    cursor.execute("INSERT INTO orders VALUES (%s, %s, %s)", (last, number, f"n{last}"))
                    cursor.execute(
                        "UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, account)
                    )
                    cursor.execute("DELETE FROM orders WHERE id = %s", (gone,))
                    was_there = cursor.rowcount == 1
                    connection.commit()
                    kept.add(last)
                    if gone is not None and was_there:  # else the migration had deleted it before
                        kept.discard(gone)
                    added[account] = added.get(account, 0) + amount
                    self.acknowledged += 1
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def assert_all_there(self, url: URL) -> None:
        """Nothing that was acknowledged is missing, nothing else is there."""
        assert self.acknowledged > 0
        orders = {number for (number,) in read(url, "SELECT id FROM orders")}
        expected = set().union(*self.kept)
        assert orders - expected == set(), "invented"
        assert expected - orders == set(), "lost"
        balances = dict(read(url, "SELECT id, balance FROM accounts"))
        sums = {number: sum(added.get(number, 0) for added in self.added) for number in balances}
        assert balances == sums


def kill(folder: Path, which: str) -> None:
    """kill -9 the process of a capture or replay."""
    identity = load(folder / f"{which}-process.json", ProcessIdentity)
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def copied(target: Target) -> URL:
    return clone(target.maintenance_url, target.url, f"copy_{uuid.uuid4().hex[:8]}")


def begin(target: Target, run_id: str = "20261126T100000Z-abc123", **more: object) -> Capture:
    with starting_capture(target, run_id, **more) as started:  # type: ignore[arg-type]
        return started.capture


def left_on_server(target: Target) -> list[str]:
    return [orphan.description for orphan in find_orphans(target)]


def identities(target: Target) -> set[str]:
    query = "SELECT DISTINCT relreplident::text FROM pg_class WHERE relname IN ('orders', 'accounts')"
    return {kind for (kind,) in read(target.url, query)}
