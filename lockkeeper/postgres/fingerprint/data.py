"""The content of a database at one snapshot, as digests that are exact for every type.

Guarantees: one pass over each table, in constant memory, by parallel sessions that share one snapshot;
nothing above ACCESS SHARE is locked; a table that cannot be read, or only in part (row level security), is
an error that names it and never skipped. Refuses nothing and writes nothing.

Not MVCC, so as they are at the moment: sequences, and a table that somebody truncates after the snapshot was
taken and before it is locked here (pg_dump has the same gap). Foreign tables hold no data of this database.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError
from lockkeeper.models import DataFingerprint, TableFingerprint
from lockkeeper.postgres.connection import (
    Connection,
    connect,
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    named_query,
)
from lockkeeper.postgres.fingerprint.hashing import Column, digest, digest_query, digests_query
from lockkeeper.postgres.fingerprint.session import pin_settings, pinned_settings

_T = TypeVar("_T")

ROLE = "fingerprint"
# A bigger table is cut into ranges of blocks, so that one big table keeps every worker busy.
SLICE_BYTES = 16 * 1024 * 1024
# Below this much data a second session costs more than it brings.
WORKER_BYTES = 8 * 1024 * 1024
# Tables up to this size are read many at a time: what they cost is the round trip and the planning.
SMALL_BYTES = 256 * 1024
_SMALL_TABLES = 40
_BATCH = 200
SEEN_LARGE_OBJECTS = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata),
    pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')
"""
LARGE_OBJECTS = "large objects"
LARGE_OBJECT_COLUMNS = ("owner", "grants", "length", "content")


@dataclass(frozen=True)
class Table:
    """One relation with rows of its own; ``name`` is qualified and quoted by the catalogue."""

    name: str
    kind: str
    size_bytes: int
    blocks: int
    readable: bool
    columns: tuple[Column, ...]

    @property
    def source(self) -> sql.Composable:
        """The FROM item: without children, which are counted by themselves."""
        return sql.SQL(self.name if self.kind == "materialized view" else f"ONLY {self.name}")


@dataclass(frozen=True)
class _Slice:
    """A table, or its blocks from ``first`` up to before ``end`` (None: as far as it goes)."""

    table: Table
    first: int = 0
    end: int | None = None

    @property
    def source(self) -> sql.Composable:
        conditions = [f"ctid >= '({self.first},0)'::tid"] if self.first else []
        conditions += [f"ctid < '({self.end},0)'::tid"] if self.end is not None else []
        if not conditions:
            return self.table.source
        return sql.SQL("{} WHERE {}").format(self.table.source, sql.SQL(" AND ".join(conditions)))


@dataclass
class _Sums:
    """Sums over the slices of one table: rows, row hashes, and the hashes of each column."""

    rows: int = 0
    row_hashes: int = 0
    column_hashes: list[int] = field(default_factory=list)

    def add(self, values: Sequence[Any]) -> None:
        rows, row_hashes, *columns = (int(value or 0) for value in values)
        self.rows += rows
        self.row_hashes += row_hashes
        self.column_hashes = [
            a + b for a, b in zip(self.column_hashes or [0] * len(columns), columns, strict=True)
        ]


def data_fingerprint(
    url: URL,
    *,
    snapshot: str | None = None,
    jobs: int = 2,
    run_id: str | None = None,
    columns: bool = True,
    tables: Collection[str] | None = None,
    like: DataFingerprint | None = None,
    connection: Connection | None = None,
) -> DataFingerprint:
    """Read everything in the database once and return its digests.

    Holds ACCESS SHARE on every table until it ends, in at most ``jobs`` sessions.

    Args:
        url: the database; the role needs SELECT on every table, and BYPASSRLS where policies apply to it.
        snapshot: name of an exported snapshot to read at; None exports one of our own.
        jobs: sessions that read at the same time; small databases are read by one.
        run_id: becomes part of ``application_name``.
        columns: also a digest for each column (about a tenth dearer).
        tables: only these (qualified and quoted names); sequences and large objects are then left out.
        like: only the tables and columns of this earlier fingerprint, so that what a migration did not add
            can be compared row by row.
        connection: an idle autocommit connection to read in, instead of opening one; not with ``snapshot``.

    Raises:
        DatabaseError: a table cannot be read completely, or there is no such table; the message names it.
        ConnectionLostError: a session was lost.
    """
    with _session(url, snapshot, run_id, connection) as session:
        known = list_tables(session)
        if absent := set(tables or ()) - {table.name for table in known}:
            raise DatabaseError(f"There is no table {', '.join(sorted(absent))} with rows to read.", "42P01")
        wanted = [_narrowed(table, like) for table in known if _wanted(table, tables, like)]
        _lock_tables(session, wanted)
        # Before the tables, so that a dump that starts later never has an earlier value than this.
        sequences = read_sequences(session) if tables is None else {}
        slices = [part for table in wanted for part in _slices(table, jobs)]
        sums = {
            table.name: _Sums(column_hashes=[0] * len(table.columns) if columns else []) for table in wanted
        }
        workers = min(jobs, 1 + sum(table.size_bytes for table in wanted) // WORKER_BYTES)
        reader = _Reader(url, slices, sums, per_column=columns, run_id=run_id)
        reader.run(session, max(1, workers))
        return DataFingerprint(
            tables={table.name: _fingerprint(table, sums[table.name], columns) for table in wanted},
            sequences=sequences,
            large_objects=read_large_objects(session) if tables is None else None,
        )


@contextlib.contextmanager
def _session(
    url: URL, snapshot: str | None, run_id: str | None, connection: Connection | None
) -> Iterator[Connection]:
    if connection is None:
        with reading_session(url, snapshot=snapshot, run_id=run_id) as session:
            yield session
    else:
        with pinned_settings(connection):
            yield connection


@contextlib.contextmanager
def reading_session(
    url: URL, *, snapshot: str | None = None, run_id: str | None = None
) -> Iterator[Connection]:
    """Yield a session inside a read-only transaction at ``snapshot`` (or its own), with settings pinned."""
    with connect(url, ROLE, run_id=run_id, autocommit=False) as connection:
        execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            execute(connection, "SET TRANSACTION SNAPSHOT %s", (snapshot,))
        pin_settings(connection)
        yield connection


def list_tables(session: Connection) -> list[Table]:
    """List what holds rows, the biggest first."""
    return [
        Table(name, kind, int(size), int(blocks), readable, tuple(Column(**column) for column in columns))
        for name, kind, size, blocks, readable, columns in fetch_all(
            session, named_query("fingerprint/data_tables")
        )
    ]


def read_sequences(session: Connection) -> dict[str, str]:
    """Return sequence -> ``last_value,is_called``."""
    names = [str(name) for (name,) in fetch_all(session, named_query("fingerprint/data_sequences"))]
    values: dict[str, str] = {}
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        selects = [
            sql.SQL("SELECT {}, last_value, is_called FROM {}").format(sql.Literal(name), sql.SQL(name))
            for name in batch
        ]
        with _naming("sequences"):
            rows = fetch_all(session, sql.SQL(" UNION ALL ").join(selects))
        values |= {str(name): f"{last},{str(called).lower()}" for name, last, called in rows}
    return dict(sorted(values.items()))


def read_large_objects(session: Connection) -> TableFingerprint:
    """Digest large objects: number, owners, grants, lengths and contents."""
    any_here, may_read = fetch_one(session, SEEN_LARGE_OBJECTS)
    query = sql.SQL(named_query("fingerprint/large_object_sums"))
    with _naming(LARGE_OBJECTS):
        found = (
            fetch_one(session, query.format(objects=large_objects_query(may_read)))
            if any_here
            else (0,) * (1 + len(LARGE_OBJECT_COLUMNS))
        )
    count, *sums = (int(value) for value in found)
    return TableFingerprint(
        table=LARGE_OBJECTS,
        kind=LARGE_OBJECTS,
        rows=count,
        digest=digest(sum(sums)),
        columns={name: digest(value) for name, value in zip(LARGE_OBJECT_COLUMNS, sums, strict=True)},
    )


def large_objects_query(may_read: bool) -> sql.Composable:
    """Return the query for each large object's hashes; ``may_read``: pg_largeobject itself."""
    pages = sql.SQL(named_query(f"fingerprint/large_object_pages_{'direct' if may_read else 'by_function'}"))
    return sql.SQL(named_query("fingerprint/large_objects")).format(pages=pages)


class _Reader:
    """Reads slices in several sessions; the first error stops them all."""

    def __init__(
        self,
        url: URL,
        slices: Sequence[_Slice],
        sums: Mapping[str, _Sums],
        *,
        per_column: bool,
        run_id: str | None,
    ) -> None:
        self._url = url
        self._sums = sums
        self._per_column = per_column
        self._run_id = run_id
        self._todo: queue.SimpleQueue[Sequence[_Slice]] = queue.SimpleQueue()
        for batch in _batches(slices):
            self._todo.put(batch)
        self._guard = threading.Lock()
        self._sessions: list[Connection] = []
        self._stopped = threading.Event()
        self._error: BaseException | None = None

    def run(self, session: Connection, workers: int) -> None:
        """Read everything; this thread works in ``session``, the others beside it at the same snapshot."""
        if workers == 1:
            self._work(session)
            return
        snapshot = str(fetch_value(session, "SELECT pg_catalog.pg_export_snapshot()"))
        with ThreadPoolExecutor(workers - 1, thread_name_prefix=ROLE) as pool:
            for _ in range(workers - 1):
                pool.submit(self._guarded, self._work_beside, snapshot)
            self._guarded(self._work, session)
        if self._error:
            raise self._error

    def _guarded(self, work: Callable[[_T], None], argument: _T) -> None:
        """Work, and keep the first error of all workers: the others' are only the cancellation it led to."""
        try:
            work(argument)
        except BaseException as error:
            with self._guard:
                self._error = self._error or error
            self._stop()

    def _work_beside(self, snapshot: str) -> None:
        with reading_session(self._url, snapshot=snapshot, run_id=self._run_id) as session:
            self._work(session)

    def _work(self, session: Connection) -> None:
        with self._guard:
            self._sessions.append(session)
        try:
            while not self._stopped.is_set():
                try:
                    batch = self._todo.get_nowait()
                except queue.Empty:
                    return
                self._read_batch(session, batch)
        finally:
            with self._guard:
                self._sessions.remove(session)

    def _read_batch(self, session: Connection, batch: Sequence[_Slice]) -> None:
        """Read several at once; when that fails, one after the other, so that the error names the table."""
        if len(batch) == 1:
            self._read(session, batch[0])
            return
        sources = [(part.table.columns, part.source) for part in batch]
        try:
            rows = fetch_all(session, digests_query(sources, per_column=self._per_column))
        except ConnectionLostError:
            raise
        except DatabaseError:
            execute(session, "ROLLBACK TO SAVEPOINT batch")
            if self._stopped.is_set():
                return
            for part in batch:
                self._read(session, part)
            return
        with self._guard:
            for number, values in rows:
                self._sums[batch[number].table.name].add(values)

    def _read(self, session: Connection, part: _Slice) -> None:
        with _naming(f"{part.table.kind} {part.table.name}"):
            query = digest_query(part.table.columns, part.source, per_column=self._per_column)
            values = fetch_one(session, query)
        with self._guard:
            self._sums[part.table.name].add(values)

    def _stop(self) -> None:
        self._stopped.set()
        with self._guard:
            for session in self._sessions:
                with contextlib.suppress(psycopg2.Error):
                    session.cancel()


@contextlib.contextmanager
def _naming(subject: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise type(error)(f"{subject} cannot be read: {error}", error.sqlstate) from error


def _wanted(table: Table, tables: Collection[str] | None, like: DataFingerprint | None) -> bool:
    return (tables is None or table.name in tables) and (like is None or table.name in like.tables)


def _narrowed(table: Table, like: DataFingerprint | None) -> Table:
    if like is None or not (kept := like.tables[table.name].columns):
        return table
    columns = tuple(column for column in table.columns if column.name in kept)
    return replace(table, columns=columns)


def _lock_tables(session: Connection, tables: Sequence[Table]) -> None:
    """Take ACCESS SHARE on all: a rewrite between two slices would move rows past our ranges of blocks."""
    if closed := [table.name for table in tables if not table.readable]:
        raise DatabaseError(f"{', '.join(closed)} cannot be read: the role has no SELECT privilege", "42501")
    plain = [table for table in tables if table.kind == "table"]
    for start in range(0, len(plain), _BATCH):
        names = sql.SQL(", ").join(table.source for table in plain[start : start + _BATCH])
        execute(session, sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    for table in tables:
        if table.kind != "table":
            with _naming(f"{table.kind} {table.name}"):
                execute(session, sql.SQL("SELECT FROM {} LIMIT 0").format(table.source))


def _slices(table: Table, jobs: int) -> list[_Slice]:
    if not table.blocks:
        return []  # without a block there is no row; its sums stay zero, as those of any empty table
    count = min(table.blocks, table.size_bytes // SLICE_BYTES) if jobs > 1 else 1
    if count <= 1:
        return [_Slice(table)]
    bounds = [table.blocks * i // count for i in range(count)]
    return [_Slice(table, first, end) for first, end in zip(bounds, [*bounds[1:], None], strict=True)]


def _batches(slices: Sequence[_Slice]) -> Iterator[Sequence[_Slice]]:
    """Small tables many at a time, everything else by itself; the biggest first."""
    small = [part for part in slices if part.table.size_bytes <= SMALL_BYTES]
    yield from ([part] for part in slices if part.table.size_bytes > SMALL_BYTES)
    for start in range(0, len(small), _SMALL_TABLES):
        yield small[start : start + _SMALL_TABLES]


def _fingerprint(table: Table, sums: _Sums, per_column: bool) -> TableFingerprint:
    names = [column.name for column in table.columns] if per_column else []
    return TableFingerprint(
        table=table.name,
        kind=table.kind,
        rows=sums.rows,
        digest=digest(sums.row_hashes),
        columns={name: digest(total) for name, total in zip(names, sums.column_hashes, strict=True)},
    )
