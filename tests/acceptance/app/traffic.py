"""One process of the application under load, until SIGTERM: ``python -m tests.acceptance.app.traffic``.

It gets the database's URL in SHOP_URL, never shares a row's history with anything but the journal, and
notes every statement: when, how long, what came back. A statement that failed is noted as failed and never
tried again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from tests.acceptance.app.journal import Journal
from tests.acceptance.app.product import NewestProduct, OldProduct, Product, use_flags_of

MODELS: dict[str, Any] = {"old": OldProduct, "new": Product, "newest": NewestProduct}
RAW_COLUMNS = {"raw": "description", "raw-new": "description_new"}
OPERATIONS = {"read": 40, "update": 28, "touch": 18, "insert": 8, "bulk": 4, "delete": 2}  # in percent


def describe(worker: str, key: int | str, number: int) -> str:
    """A description that names its row and is written once in the world."""
    return f"{key}: by {worker} {number}"


class OrmClient:
    """The application proper, one session a transaction."""

    def __init__(self, version: str, url: str, threads: int) -> None:
        self.model = MODELS[version]
        database = make_url(url).set(drivername="postgresql+psycopg2")
        self.engine = create_engine(database, pool_size=threads + 1, pool_pre_ping=False)
        use_flags_of(self.engine)

    def read(self, key: int, _text: str) -> dict[str, Any]:
        with Session(self.engine) as session:
            product = session.get(self.model, key)
            text = product and product.active_description
        if product is not None and not (text and text.startswith(f"{key}: ")):
            return {"wrong": f"row {key} was read as {text!r}"}
        return {}

    def update(self, key: int, text: str) -> dict[str, Any]:
        return self._write(key, text)

    def touch(self, key: int, _text: str) -> dict[str, Any]:
        return self._write(key, None)

    def _write(self, key: int, text: str | None) -> dict[str, Any]:
        with Session(self.engine, expire_on_commit=False) as session:
            product = session.get(self.model, key)
            product.stock = self.model.stock + 1
            if text is not None:
                product.description = text
            session.flush()
            stock = product.stock
            session.commit()
        return {"stock": stock}

    def insert(self, key: int, text: str) -> dict[str, Any]:
        with Session(self.engine, expire_on_commit=False) as session:
            columns = {"id": key, "sku": f"sku-{key}", "name": "new", "price_cents": 1, "stock": 0}
            session.add(self.model(description=text, **columns))
            session.commit()
        return {"stock": 0}

    def delete(self, key: int, _text: str) -> dict[str, Any]:
        with Session(self.engine) as session:
            session.delete(session.get(self.model, key))
            session.commit()
        return {}


class RawClient:
    """psql's kind of writer: plain statements in one column, one connection a thread."""

    def __init__(self, version: str, url: str) -> None:
        self.column = sql.Identifier(RAW_COLUMNS[version])
        self.url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.local = threading.local()

    def _run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        connection = getattr(self.local, "connection", None)
        if connection is None or connection.closed:
            connection = self.local.connection = psycopg2.connect(self.url)
            connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(column=self.column), values)
            return cursor.fetchall() if cursor.description else []

    def read(self, key: int, _text: str) -> dict[str, Any]:
        rows = self._run("SELECT {column} FROM products WHERE id = %(key)s", key=key)
        if rows and not str(rows[0][0]).startswith(f"{key}: "):
            return {"wrong": f"row {key} was read as {rows[0][0]!r}"}
        return {}

    def update(self, key: int, text: str) -> dict[str, Any]:
        statement = (
            "UPDATE products SET {column} = %(text)s, stock = stock + 1 WHERE id = %(key)s RETURNING stock"
        )
        return {"stock": self._run(statement, key=key, text=text)[0][0]}

    def touch(self, key: int, _text: str) -> dict[str, Any]:
        statement = "UPDATE products SET stock = stock + 1 WHERE id = %(key)s RETURNING stock"
        return {"stock": self._run(statement, key=key)[0][0]}

    def insert(self, key: int, text: str) -> dict[str, Any]:
        statement = """
            INSERT INTO products (id, sku, name, price_cents, stock, {column})
            VALUES (%(key)s, 'sku-' || %(key)s, 'raw', 1, 0, %(text)s)
            ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}, stock = products.stock + 1
            RETURNING stock"""
        return {"stock": self._run(statement, key=key, text=text)[0][0]}

    def bulk(self, key: int, text: str) -> dict[str, Any]:
        statement = """
            UPDATE products SET {column} = id || ': in bulk ' || %(text)s, stock = stock + 1
            WHERE id BETWEEN %(key)s AND %(key)s + 4 AND id < 10000000 RETURNING id, stock, {column}"""
        return {"rows": self._run(statement, key=key, text=text)}

    def delete(self, key: int, _text: str) -> dict[str, Any]:
        self._run("DELETE FROM products WHERE id = %(key)s", key=key)
        return {}


class Worker(threading.Thread):
    """One thread's paced stream of operations."""

    def __init__(self, name: str, client: Any, journal: Journal, options: argparse.Namespace) -> None:
        super().__init__(name=name)
        self.client, self.journal, self.options = client, journal, options
        self.random = random.Random(name)
        self.mine: list[int] = []
        self.number = 0
        self.stop = threading.Event()
        self.next_key = options.first_key

    def run(self) -> None:
        pause_s = self.options.threads / self.options.rate
        due = time.monotonic()
        while not self.stop.is_set():
            self.step()
            due = max(due + pause_s, time.monotonic() - 1)  # after a stall, catch up for one second at most
            self.stop.wait(max(0.0, due - time.monotonic()))

    def step(self) -> None:
        op = self.random.choices(tuple(OPERATIONS), tuple(OPERATIONS.values()))[0]
        if op == "bulk" and not hasattr(self.client, "bulk"):
            op = "touch"
        if op == "delete" and not self.mine:
            op = "insert"
        key = self._key_for(op)
        self.number += 1
        text = describe(self.name, key, self.number)
        facts = {"id": key, **({"text": text} if op in ("update", "insert") else {})}
        started = time.time()
        try:
            facts |= getattr(self.client, op)(key, text)
        except Exception as error:  # whatever the driver says is what this proof is about
            facts["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            if op == "insert":
                self.mine.remove(key)
        self.journal.note(started, op, worker=self.name, **facts)

    def _key_for(self, op: str) -> int:
        if op == "insert":
            self.next_key += 1
            self.mine.append(self.next_key)
            return self.next_key
        if op == "delete":  # only rows that no other worker touches
            return self.mine.pop(self.random.randrange(len(self.mine)))
        return self.random.randint(1, self.options.rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", choices=[*MODELS, *RAW_COLUMNS], required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=30, help="operations a second")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, required=True, help="rows 1 to this are shared by all processes")
    parser.add_argument("--first-key", type=int, required=True, help="new rows get keys above this")
    options = parser.parse_args()
    url = os.environ["SHOP_URL"]
    raw = options.version in RAW_COLUMNS
    client = RawClient(options.version, url) if raw else OrmClient(options.version, url, options.threads)
    journal = Journal(options.journal)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    workers = []
    for number in range(options.threads):
        worker = Worker(f"{options.journal.stem}.{number}", client, journal, options)
        worker.next_key += number * 1_000_000
        workers.append(worker)
    for worker in workers:
        worker.start()
    while not ended.wait(1):
        pass
    for worker in workers:
        worker.stop.set()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
