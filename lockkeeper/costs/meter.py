"""Puts together what one revision cost: the runner's own readings, and what can be seen from outside."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.costs.texts import lock_by_text, name_parts, waits_for_others
from lockkeeper.errors import DatabaseError
from lockkeeper.measured import LockHold, RevisionCost, RowHold
from lockkeeper.postgres.connection import Connection, connect, fetch_all, fetch_one, named_query

PACKAGE = "lockkeeper.costs"
SAMPLE_INTERVAL_S = 0.01
_MODES = {
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
_INDEXES, _STORED, _MATERIALIZED = ("i", "I"), ("r", "m"), "m"
Key = tuple[str, str]
"""A relation's OID and a mode of pg_locks."""


class Relation(NamedTuple):
    """A table or an index as it is at one moment; ``kind`` is pg_class.relkind."""

    name: str
    kind: str
    filenode: int
    table: str
    rows: int | None


class Position(NamedTuple):
    """How much the server had written at one moment; None where that is not told."""

    wal_bytes: int | None
    size_bytes: int | None
    temp_bytes: int | None


@dataclass
class Measurement:
    """One attempt at a revision, while it is measured; also a listener of ``ProjectProcess.request``."""

    relations: Mapping[str, Relation]
    position: Position
    sampler: _Sampler
    sampled: list[Mapping[Key, float]] = field(default_factory=list)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Look closely while a statement runs outside of any transaction."""
        if event["event"] == "autocommit":
            self.sampler.begin()
        elif event["event"] == "autocommit_ended":
            self.sampled.append(self.sampler.end())


class CostMeter:
    """Measures the revisions that are run in one database, one after the other.

    The relations that there are before the first are those that an application can know; with
    ``each_by_itself`` those before each. No connection is open between two measurements.
    """

    def __init__(
        self,
        url: URL,
        run_id: str | None,
        *,
        sample_interval_s: float = SAMPLE_INTERVAL_S,
        each_by_itself: bool = False,
    ) -> None:
        self._url = url
        self._run_id = run_id
        self._interval_s = sample_interval_s
        self._each_by_itself = each_by_itself
        self._original: Mapping[str, Relation] | None = None

    @contextlib.contextmanager
    def measuring(self, backends: Sequence[str]) -> Iterator[Measurement | None]:
        """Yield a measurement of what the sessions do in the block; None when it cannot be made.

        Never fails the block: what cannot be measured must not stop a migration.
        """
        try:
            with self._connected() as connection:
                relations, position = _relations(connection), _position(connection)
        except DatabaseError:
            yield None
            return
        if self._original is None or self._each_by_itself:
            self._original = relations
        sampler = _Sampler(self._url, self._run_id, backends, self._interval_s)
        try:
            yield Measurement(relations, position, sampler)
        finally:
            sampler.end()

    def cost(self, before: Measurement | None, facts: Mapping[str, Any]) -> RevisionCost | None:
        """Return what it cost, once it is over; ``facts`` is what the runner has seen. None: not known."""
        if before is None or "locks" not in facts:
            return None
        try:
            with self._connected() as connection:
                after, position = _relations(connection), _position(connection)
                rewritten = _rewritten(before.relations, after)
                sizes = {after[oid].name: _size(connection, oid) for oid in rewritten}
        except DatabaseError:
            return None
        return RevisionCost(
            locks=tuple(self._holds(before, facts)),
            rewritten=sizes,
            scanned=dict(facts["scans"]),
            written=tuple(self._rows_held(facts["written"])),
            indexes_built=tuple(sorted(_indexes_built(before.relations, after))),
            wal_bytes=_difference(before.position.wal_bytes, position.wal_bytes),
            growth_bytes=_difference(before.position.size_bytes, position.size_bytes),
            temp_bytes=_difference(before.position.temp_bytes, position.temp_bytes),
        )

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        with connect(self._url, "measure", run_id=self._run_id, statement_timeout_ms=10_000) as connection:
            yield connection

    def _holds(self, before: Measurement, facts: Mapping[str, Any]) -> list[LockHold]:
        held: dict[Key, tuple[float, str, str]] = {}

        def add(oid: str, mode: str, seconds: float, seen: str, name: str | None = None) -> None:
            known = before.relations.get(oid)
            table = name or (known.name if known and known.kind not in _INDEXES else None)
            if table is not None:  # else an index, or a table that came and went
                longest = max(seconds, held.get((oid, mode), (0.0, "", ""))[0])
                held[oid, mode] = longest, seen, table

        for one in facts["locks"]:
            add(one["oid"], one["mode"], one["held_s"], "exactly", one["table"])
        for number, statement in enumerate(facts["outside"]):
            spans = before.sampled[number] if number < len(before.sampled) else {}
            whole_s = None if waits_for_others(statement["text"]) else statement["duration_s"]
            for (oid, mode), span_s in spans.items():
                add(oid, mode, whole_s or span_s + self._interval_s, "by sampling")
            told = lock_by_text(statement["text"])
            found = _by_name(before.relations, told[0]) if told else None
            if told and found and not any(oid == found for oid, _ in spans):
                add(found, told[1], statement["duration_s"], "not: its text says so")
        return [self._hold(before, key, *found) for key, found in held.items()]

    def _rows_held(self, written: Sequence[Mapping[str, Any]]) -> Iterator[RowHold]:
        """Yield the transaction with the most rows of each table that there was before the first revision."""
        known = {relation.name for relation in (self._original or {}).values()}
        most: dict[str, Mapping[str, Any]] = {}
        for one in sorted(written, key=lambda each: int(each["rows"])):
            most[one["table"]] = one
        for table, one in most.items():
            if table in known:
                yield RowHold(table=table, rows=one["rows"], held_s=round(one["held_s"], 4))

    def _hold(self, before: Measurement, key: Key, held_s: float, seen: str, table: str) -> LockHold:
        oid, mode = key
        known = before.relations.get(oid)
        return LockHold(
            table=table,
            mode=_MODES[mode],
            held_s=round(held_s, 4),
            rows=known.rows if known else None,
            made_by_plan=oid not in (self._original or {}),
            materialized=known is not None and known.kind == _MATERIALIZED,
            seen=seen,
        )


class _Sampler:
    """Looks at the locks of some sessions again and again, in a thread of its own, between begin and end."""

    def __init__(self, url: URL, run_id: str | None, backends: Sequence[str], interval_s: float) -> None:
        self._url = url
        self._run_id = run_id
        self._backends = backends
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._spans: dict[Key, tuple[float, float]] = {}

    def begin(self) -> None:
        """Begin to look; harmless when it has begun."""
        if self._thread is None:
            self._stop.clear()
            self._spans = {}
            self._thread = threading.Thread(target=self._look, name="lockkeeper-locks", daemon=True)
            self._thread.start()

    def end(self) -> Mapping[Key, float]:
        """Stop, and return for how long each lock was seen; harmless when it has not begun."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        return {key: last - first for key, (first, last) in self._spans.items()}

    def _look(self) -> None:
        # A server that goes away ends the migration, which tells of it; here it ends the looking.
        with (
            contextlib.suppress(DatabaseError),
            connect(self._url, "measure", run_id=self._run_id) as connection,
        ):
            query = named_query("held_locks", PACKAGE)
            while not self._stop.is_set():
                pids = [int(backend.partition("@")[0]) for backend in self._backends]
                now = time.monotonic()
                for oid, mode in fetch_all(connection, query, {"pids": pids}):
                    first, _ = self._spans.get((oid, mode), (now, now))
                    self._spans[oid, mode] = first, now
                self._stop.wait(self._interval_s)


def _relations(connection: Connection) -> dict[str, Relation]:
    return {row[0]: Relation(*row[1:]) for row in fetch_all(connection, named_query("relations", PACKAGE))}


def _position(connection: Connection) -> Position:
    """Return where the server stands; a role that may not ask for the size still gets the rest."""
    try:
        return Position(*fetch_one(connection, named_query("server_position", PACKAGE)))
    except DatabaseError:
        return Position(None, None, None)


def _size(connection: Connection, oid: str) -> int:
    size = fetch_one(connection, "SELECT COALESCE(pg_catalog.pg_total_relation_size(%s::oid), 0)", (oid,))
    return int(size[0])


def _rewritten(before: Mapping[str, Relation], after: Mapping[str, Relation]) -> list[str]:
    """Return tables with another file than before: rewritten, or emptied by TRUNCATE."""
    return [
        oid
        for oid, now in after.items()
        if oid in before and now.kind in _STORED and now.filenode != before[oid].filenode
    ]


def _indexes_built(before: Mapping[str, Relation], after: Mapping[str, Relation]) -> Iterator[str]:
    for oid, now in after.items():
        if now.kind not in _INDEXES or now.table not in before:
            continue
        if oid not in before or before[oid].filenode != now.filenode:
            yield now.name


def _by_name(relations: Mapping[str, Relation], written: str) -> str | None:
    """Find the table that a name as written means, or the index's table; without a schema any will do."""
    wanted = name_parts(written)
    for oid, one in relations.items():
        if name_parts(one.name)[-len(wanted) :] == wanted:
            return one.table if one.kind in _INDEXES else oid
    return None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
