"""Writers that remember every commit that was acknowledged, and the check that all are there, and no others.

Every transaction has a unique id and leaves it in ``marks``. Afterwards the acknowledged ones must all be
there; one whose answer was lost with its connection may be; no other may. Then the content of the tables
must be what exactly these transactions make of it, in the order of each writer.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg2
from sqlalchemy.engine import URL

from lockkeeper.postgres.connection import connect, execute, fetch_all

WRITERS, ACCOUNTS_EACH, FIRST_ENTRIES_EACH = 4, 25, 200
SCHEMA = f"""
CREATE TABLE accounts (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL, writes int NOT NULL);
CREATE TABLE entries (
    id bigint PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, amount int NOT NULL, note text
);
CREATE TABLE marks (id bigint PRIMARY KEY);
INSERT INTO accounts SELECT n, 'owner ' || n, 0, 0 FROM generate_series(0, {WRITERS * ACCOUNTS_EACH - 1}) n;
INSERT INTO entries
SELECT w * 1000000000::bigint + n, w * {ACCOUNTS_EACH} + n % {ACCOUNTS_EACH}, 0, 'first'
FROM generate_series(0, {WRITERS - 1}) w, generate_series(1, {FIRST_ENTRIES_EACH}) n;
"""
BAD_MIGRATIONS = {
    "dropped column": "ALTER TABLE entries DROP COLUMN note",
    "corrupted values": "UPDATE accounts SET owner = 'nobody'; UPDATE entries SET note = 'corrupted'",
    "dropped table": "DROP TABLE entries",
    "wrong type change": "ALTER TABLE entries ALTER COLUMN note TYPE varchar(3) USING left(note, 1)",
    "truncated table": "TRUNCATE entries",
    "deleted rows": "DELETE FROM entries WHERE id % 2 = 0",
    "table made anew": (
        "LOCK TABLE accounts, entries; CREATE TABLE entries_new (LIKE entries INCLUDING ALL); "
        "INSERT INTO entries_new SELECT id, account_id, amount, upper(note) FROM entries; "
        "DROP TABLE entries; ALTER TABLE entries_new RENAME TO entries"
    ),
}


@dataclass(frozen=True)
class Deed:
    """What one transaction does: to an entry, and to the balance of the account that it belongs to."""

    id: int
    kind: str
    entry: int
    account: int
    amount: int
    note: str | None


@dataclass
class Writer:
    """One application session: connects again whenever it is thrown out, and never repeats a deed."""

    url: URL
    number: int
    seed: int
    pause_s: float = 0.002
    acknowledged: list[Deed] = field(default_factory=list)
    uncertain: list[Deed] = field(default_factory=list)
    order: list[Deed] = field(default_factory=list)
    commit_times: list[float] = field(default_factory=list)
    refused: int = 0

    def run(self, stop: threading.Event) -> None:
        chance = random.Random(self.seed * 100 + self.number)
        base = self.number * 1_000_000_000
        entries = [base + n for n in range(1, FIRST_ENTRIES_EACH + 1)]
        number = 0
        connection = None
        while not stop.wait(self.pause_s):
            number += 1
            deed = self._next(chance, base + FIRST_ENTRIES_EACH + number, entries)
            try:
                if connection is None:
                    connection = psycopg2.connect(
                        self.url.render_as_string(hide_password=False), connect_timeout=5
                    )
                self._do(connection, deed, entries)
            except psycopg2.Error:
                self.refused += 1
                if connection is not None and connection.closed:
                    connection = None
                elif connection is not None:
                    with contextlib.suppress(psycopg2.Error):
                        connection.rollback()
        if connection is not None:
            connection.close()

    def _next(self, chance: random.Random, number: int, entries: list[int]) -> Deed:
        kind = chance.choices(["insert", "update", "delete", "deposit"], [4, 3, 1, 2])[0]
        account = self.number * ACCOUNTS_EACH + chance.randrange(ACCOUNTS_EACH)
        if kind == "insert":
            return Deed(number, kind, number, account, chance.randrange(1, 100), None)
        entry = chance.choice(entries) if entries else number
        return Deed(number, kind, entry, account, chance.randrange(1, 100), f"n{number}")

    def _do(self, connection, deed: Deed, entries: list[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO marks VALUES (%s)", (deed.id,))
            cursor.execute(
                "UPDATE accounts SET balance = balance + %s, writes = writes + 1 WHERE id = %s",
                (deed.amount, deed.account),
            )
            touched = self._touch_entry(cursor, deed)
        if touched != 1:
            connection.rollback()  # the row that it knows is not there: an application would complain
            self.refused += 1
            return
        self.order.append(deed)
        try:
            connection.commit()
        except psycopg2.Error:
            self.uncertain.append(deed)
            raise
        self.commit_times.append(time.monotonic())
        self.acknowledged.append(deed)
        if deed.kind == "insert":
            entries.append(deed.entry)
        elif deed.kind == "delete":
            entries.remove(deed.entry)

    def _touch_entry(self, cursor, deed: Deed) -> int:
        if deed.kind == "insert":
            cursor.execute(
                "INSERT INTO entries (id, account_id, amount) VALUES (%s, %s, %s)",
                (deed.entry, deed.account, deed.amount),
            )
        elif deed.kind == "update":
            cursor.execute("UPDATE entries SET note = %s WHERE id = %s", (deed.note, deed.entry))
        elif deed.kind == "delete":
            cursor.execute("DELETE FROM entries WHERE id = %s", (deed.entry,))
        else:
            return 1
        return int(cursor.rowcount)


@dataclass(frozen=True)
class Judgement:
    """What became of the writes."""

    acknowledged: int
    lost: list[int]
    invented: list[int]
    wrong: list[str]
    longest_gap_s: float

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {len(self.lost)} lost, {len(self.invented)} invented, "
            f"{len(self.wrong)} wrong"
        )

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.invented or self.wrong)


@contextlib.contextmanager
def writing(url: URL, *, seed: int = 1, pause_s: float = 0.002) -> Iterator[list[Writer]]:
    """Have four writers at it for the length of the block."""
    stop = threading.Event()
    writers = [Writer(url, number, seed, pause_s) for number in range(WRITERS)]
    threads = [threading.Thread(target=writer.run, args=(stop,)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def wait_for_commits(writers: list[Writer], more: int, timeout_s: float = 30) -> None:
    """Wait until the writers have made so many more acknowledged commits."""
    wanted = sum(len(writer.acknowledged) for writer in writers) + more
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while sum(len(writer.acknowledged) for writer in writers) < wanted:
        assert time.monotonic() < deadline, "the writers do not get on"
        pause.wait(0.02)


def judge(url: URL, writers: list[Writer]) -> Judgement:
    """Compare the database with what the writers know; call it when they have ended."""
    with connect(url, "tests") as connection:
        marks = {int(one) for (one,) in fetch_all(connection, "SELECT id FROM marks")}
        accounts = {
            int(one): (owner, int(balance), int(writes))
            for one, owner, balance, writes in fetch_all(connection, "SELECT * FROM accounts")
        }
        entries = {
            int(one): (int(account), int(amount), note)
            for one, account, amount, note in fetch_all(
                connection, "SELECT id, account_id, amount, note FROM entries"
            )
        }
    acknowledged = {deed.id for writer in writers for deed in writer.acknowledged}
    uncertain = {deed.id for writer in writers for deed in writer.uncertain}
    expected_accounts, expected_entries = _model(writers, marks)
    wrong = [*_differences("account", expected_accounts, accounts)]
    wrong += _differences("entry", expected_entries, entries)
    times = sorted(moment for writer in writers for moment in writer.commit_times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return Judgement(
        len(acknowledged),
        sorted(acknowledged - marks),
        sorted(marks - acknowledged - uncertain),
        wrong,
        max(gaps, default=0.0),
    )


def _model(writers: list[Writer], present: set[int]) -> tuple[dict, dict]:
    accounts = {n: [f"owner {n}", 0, 0] for n in range(WRITERS * ACCOUNTS_EACH)}
    entries: dict[int, list] = {
        writer.number * 1_000_000_000 + n: [
            writer.number * ACCOUNTS_EACH + n % ACCOUNTS_EACH, 0, "first"
        ]
        for writer in writers
        for n in range(1, FIRST_ENTRIES_EACH + 1)
    }  # fmt: skip
    for writer in writers:
        for deed in writer.order:
            if deed.id not in present:
                continue
            accounts[deed.account][1] += deed.amount
            accounts[deed.account][2] += 1
            if deed.kind == "insert":
                entries[deed.entry] = [deed.account, deed.amount, None]
            elif deed.kind == "update":
                entries[deed.entry][2] = deed.note
            elif deed.kind == "delete":
                del entries[deed.entry]
    return {n: tuple(one) for n, one in accounts.items()}, {n: tuple(one) for n, one in entries.items()}


def _differences(kind: str, expected: dict, found: dict) -> list[str]:
    return [
        f"{kind} {one}: {found.get(one, 'missing')} instead of {expected.get(one, 'nothing')}"
        for one in sorted(expected.keys() | found.keys())
        if expected.get(one) != found.get(one)
    ]


def prepare(url: URL) -> None:
    """Make the writers' tables."""
    with connect(url, "tests") as connection:
        execute(connection, SCHEMA)
