"""A database, a copy of it, and the whole way between them in this process: slot, spool, decoding, replay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import (
    Connection,
    connect,
    converting_errors,
    execute,
    fetch_all,
    fetch_value,
    named_query,
)
from lockkeeper.recovery.capture.identities import set_full
from lockkeeper.recovery.capture.models import CaptureLimits, CaptureRecord
from lockkeeper.recovery.capture.names import slot_name
from lockkeeper.recovery.capture.own import (
    adopt_tables_statements,
    own_session_statements,
    own_transaction_statements,
)
from lockkeeper.recovery.capture.receive import Receiver, stream
from lockkeeper.recovery.capture.slot import (
    create_publication,
    created_slot,
    drop_publication,
    drop_slot,
    replication_connection,
)
from lockkeeper.recovery.capture.tables import PACKAGE, choose_tables, read_tables
from lockkeeper.recovery.replay.bookkeeping import ParkedWrite, prepare, read_parked
from lockkeeper.recovery.replay.catalogue import read_catalogue
from lockkeeper.recovery.replay.feed import Feed
from lockkeeper.recovery.replay.handle import emit_marker
from lockkeeper.recovery.replay.session import copy_session, silence_triggers
from lockkeeper.recovery.spool import SpoolReader, SpoolWriter, segment_to_resume_at

DEADLINE_S = 30.0


def clone(server_url: URL, source: URL, name: str) -> URL:
    with connect(server_url, "tests") as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        execute(connection, statement.format(sql.Identifier(name), sql.Identifier(str(source.database))))
    return source.set(database=name)


class Line:
    """Source and copy; ``carry`` brings everything that was committed at the source into the copy."""

    def __init__(self, source: URL, copy: URL, record: CaptureRecord, folder: Path) -> None:
        self.source_url, self.copy_url, self.record, self.folder = source, copy, record, folder
        self.spool = SpoolWriter(folder, segment_bytes=256 * 1024)
        self.receiver = Receiver(record, self.spool, self._describe)

    def _describe(self, relation: int) -> dict[str, Any] | None:
        with connect(self.source_url, "tests") as connection:
            rows = fetch_all(connection, named_query("describe_relation", PACKAGE), {"relation": relation})
        return rows[0][0] if rows else None

    def source(self, *statements: str) -> None:
        """The application writes: each statement is a transaction of its own."""
        run(self.source_url, *statements)

    def migrate(self, *statements: str) -> None:
        """The migration writes, marked as such, in one transaction."""
        with connect(self.source_url, "tests") as connection:
            for statement in own_session_statements(self.record):
                execute(connection, statement)
            execute(connection, "BEGIN")
            first, last = own_transaction_statements(self.record), adopt_tables_statements(self.record)
            for statement in (*first, *statements, *last):
                execute(connection, statement)
            execute(connection, "COMMIT")

    def receive(self) -> None:
        """Spool everything that is committed at the source."""
        with connect(self.source_url, "tests") as connection:
            wanted = emit_marker(connection, self.record.run_id)
        options = {
            "proto_version": "1", "publication_names": f'"{self.record.publication}"', "messages": "true"
        }  # fmt: skip
        deadline = time.monotonic() + DEADLINE_S
        connection = replication_connection(self.source_url, "capture", self.record.run_id)
        try:
            with connection.cursor() as cursor:
                with converting_errors():
                    cursor.start_replication(slot_name=self.record.slot, decode=False, options=options)
                self.receiver.reconnected()
                stream(cursor, self.receiver, lambda: self._goes_on(wanted, deadline), interval_s=0.02)
        finally:
            connection.close()

    def _goes_on(self, wanted: int, deadline: float) -> bool:
        assert time.monotonic() < deadline, "the changes did not arrive"
        return self.spool.end_lsn <= wanted

    def replay(self) -> None:
        """Apply what is spooled, in a session of its own, going on where the copy is."""
        with copy_session(self.copy_url, self.record.run_id) as connection:
            progress = prepare(connection)
            silence_triggers(connection)
            feed = Feed(connection, self.record, read_catalogue(connection), progress)
            reader = SpoolReader(self.folder, segment_to_resume_at(self.folder, progress.end_lsn))
            for block in reader.available():
                feed.take_all(block.messages())
            feed.commit()

    def carry(self) -> None:
        self.receive()
        self.replay()

    def parked(self) -> list[ParkedWrite]:
        with connect(self.copy_url, "tests") as connection:
            return read_parked(connection)

    def rows(self, query: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """What a query returns at the source and in the copy."""
        return read(self.source_url, query), read(self.copy_url, query)

    def assert_equal(self, *tables: str) -> None:
        for table in tables:
            here, there = self.rows(f"SELECT t::text FROM {table} AS t ORDER BY 1")
            assert here == there, table
            assert here or "empty" in table, f"{table} proves nothing: it is empty"


def run(url: URL, *statements: str) -> None:
    with connect(url, "tests") as connection:
        for statement in statements:
            execute(connection, statement)


def read(url: URL, query: str) -> list[tuple[Any, ...]]:
    with connect(url, "tests") as connection:
        return fetch_all(connection, query)


@contextlib.contextmanager
def captured_line(
    server_url: URL, source: URL, copy_name: str, folder: Path, *, marks: str = "origin"
) -> Iterator[Line]:
    """Clone the database, then capture it from here on."""
    copy = clone(server_url, source, copy_name)
    run_id = f"t-{copy_name}"
    with connect(source, "tests") as connection:
        choice = choose_tables(read_tables(connection))
        record = CaptureRecord(
            run_id=run_id, target="shop", database=str(source.database), slot=slot_name(run_id),
            publication=slot_name(run_id), marks=marks, created_at=utc_now(), limits=CaptureLimits(),
            server_version_num=int(fetch_value(connection, "SHOW server_version_num")),
            **choice._asdict(),
        )  # fmt: skip
        assert set_full(connection, record.tables) == []
        create_publication(connection, record)
    try:
        with created_slot(source, record):
            pass
        line = Line(source, copy, record, folder)
        yield line
        line.spool.close()
    finally:
        _remove(server_url, source, copy, record)


def _remove(server_url: URL, source: URL, copy: URL, record: CaptureRecord) -> None:
    with connect(source, "tests") as connection:
        drop_slot(connection, record.slot)
        drop_publication(connection, record.publication)
    with connect(server_url, "tests") as connection:
        drop_origins(connection, record)
        name = sql.Identifier(str(copy.database))
        execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def drop_origins(connection: Connection, record: CaptureRecord) -> None:
    query = (
        "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE starts_with(roname, %s)"
    )
    fetch_all(connection, query, (record.slot,))
