"""A backfill with a memory: its chunks, cursors and limits are in the ledger, beside what it fills.

Killed at any moment, the next worker goes on at the stored cursors and repeats nothing that was committed. A
worker that was taken for dead finds its token gone with its next batch and rolls that batch back. It ends
although the application goes on inserting: the bounds are fixed at the start, and the trigger does the rest.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lockkeeper.backfill import chunks as stored
from lockkeeper.backfill.batches import Fault, Work, fill, fill_row
from lockkeeper.backfill.chunks import Chunk
from lockkeeper.backfill.steering import Steering
from lockkeeper.backfill.throttle import Observation, Throttle, others_at_work
from lockkeeper.backfill.vacuuming import Vacuuming
from lockkeeper.backfill.walks import Place, Row
from lockkeeper.errors import BackfillError, BackfillStoppedError, FencedError
from lockkeeper.online.ddl import literal
from lockkeeper.online.session import Session

FIRST_ROWS = 1_000
LOOK_S = 1.0
WAIT_S = 0.5
REPORT_S = 1.0
SHOWN_ROWS = 5
_ROUNDS_FOR_LOCKED_ROWS = 20

Connect = Callable[[], contextlib.AbstractContextManager[Session]]


@dataclass(frozen=True)
class BackfillProgress:
    """How far it is.

    ``throttled_by`` has the reasons why it waits just now; ``share_percent`` is how much of its time it works
    since others use the server, None at full speed.
    """

    rows_copied: int
    rows_total: int
    rows_per_s: float
    eta_s: float | None
    batch_rows: int
    parked: int
    throttled_by: tuple[str, ...]
    probe_ms: float | None
    vacuums: int
    share_percent: float | None

    @property
    def percent(self) -> float:
        """Of the estimated rows; below 100 until it is over."""
        return min(99.9, 100.0 * self.rows_copied / max(self.rows_total, 1))


@dataclass
class _Shared:
    """What the workers of one run know together."""

    rows_total: int
    rows_before: int
    stop: threading.Event
    on_progress: Callable[[BackfillProgress], None] | None
    guard: threading.Lock = field(default_factory=threading.Lock)
    started: float = field(default_factory=time.monotonic)
    written: int = 0
    parked: int = 0
    batch_rows: int = FIRST_ROWS
    limits: Throttle = field(default_factory=Throttle)
    reasons: tuple[str, ...] = ()
    probe_ms: float | None = None
    vacuums: int = 0
    pids: set[int] = field(default_factory=set)
    failure: BaseException | None = None
    reported: float = 0.0
    watched: bool = True
    beside: bool = True
    workers: int = 1
    looked: float = 0.0

    def progress(self) -> BackfillProgress:
        rate = self.written / max(time.monotonic() - self.started, 0.001)
        copied = self.rows_before + self.written
        left = max(self.rows_total - copied, 0)
        return BackfillProgress(
            rows_copied=copied, rows_total=max(self.rows_total, copied), rows_per_s=rate,
            eta_s=left / rate if rate else None, batch_rows=self.batch_rows, parked=self.parked,
            throttled_by=self.reasons, probe_ms=self.probe_ms, vacuums=self.vacuums,
            share_percent=self.limits.resting_share(beside=self.beside),
        )  # fmt: skip

    def report(self, *, now: bool = False) -> None:
        with self.guard:
            due = now or time.monotonic() - self.reported >= REPORT_S
            if due:
                self.reported = time.monotonic()
        if due and self.on_progress:
            self.on_progress(self.progress())


class _Keeper:
    """One worker's memory of one chunk."""

    def __init__(
        self, session: Session, chunk: Chunk, token: int, shared: _Shared, steering: Steering
    ) -> None:
        self._session, self._chunk, self._token = session, chunk, token
        self._shared, self._steering = shared, steering
        self._vacuuming = Vacuuming(session, chunk.relation_sql, chunk.rows)
        self._working_since = time.monotonic()

    def keep(self, place: Place | None, written: int) -> None:
        """Move the cursor, if the chunk is still ours."""
        stored.keep(self._session, self._chunk, self._token, place, written)

    def park(self, row: Row, fault: Fault) -> None:
        """Write the row down; by policy stop there (a row that is only locked never stops anything)."""
        stored.park(self._session, self._chunk, row, fault)
        self._shared.parked += 1
        if self._shared.limits.on_failing_row == "stop" and not fault.may_pass:
            raise BackfillError(
                "The backfill stopped at a row, as its policy says:", [_named(row.shown, fault)]
            )

    def between(self, written: int) -> None:
        """Count, tell, vacuum, rest; raise when it is time to stop."""
        shared = self._shared
        with shared.guard:
            shared.written += written
        shared.batch_rows = self._steering.rows
        limits, beside = shared.limits, shared.beside and shared.limits.share_percent < 100
        budget_ms, least_rows = limits.batch_budget_ms(beside=beside), limits.least_rows(beside=beside)
        self._steering.limit(limits.batch_rows, budget_ms, limits.batch_ms, least_rows)
        shared.report()
        worked_s = time.monotonic() - self._working_since
        if self._vacuuming.after(
            written, limits.vacuum_percent, gently=beside and limits.share_percent < 100
        ):
            shared.vacuums += 1
        shared.stop.wait(limits.rest_s(worked_s, shared.workers, beside=beside))
        self.rest()
        self._working_since = time.monotonic()

    def rest(self) -> None:
        """Wait as long as there is a reason to."""
        shared = self._shared
        while True:
            if shared.failure is not None:
                raise BackfillStoppedError("Another worker of this backfill has failed.")
            if shared.stop.is_set() or shared.limits.stop:
                raise BackfillStoppedError(
                    "The backfill was asked to stop. Run again, it goes on from there."
                )
            self._look()
            if not shared.reasons:
                return
            shared.report()
            shared.stop.wait(WAIT_S)

    def _look(self) -> None:
        """Without anybody who watches, look at the limits ourselves."""
        shared = self._shared
        if shared.watched or time.monotonic() - shared.looked < LOOK_S:
            return
        shared.looked = time.monotonic()
        shared.limits = stored.limits(self._session, self._chunk.change_id)
        shared.reasons = ("paused by request",) if shared.limits.paused else ()


def run(
    connect: Connect,
    change_id: int,
    token: int,
    work: Work,
    *,
    rows_total: int,
    workers: int = 1,
    on_progress: Callable[[BackfillProgress], None] | None = None,
    stop: threading.Event | None = None,
    watched: bool = True,
) -> BackfillProgress:
    """Fill all chunks that are not done; ``connect`` opens sessions, one for each worker and one to look.

    Not ``watched`` (there is one session only, a migration's) it minds pause, stop and sizes, no load.

    Raises:
        BackfillStoppedError: it was asked to stop, by ``stop`` or in the ledger.
        BackfillError: rows are parked; the message names them.
        FencedError: another worker has taken over.
    """
    with connect() as session:
        before = stored.rows_written(session, change_id)
        shared = _Shared(rows_total, before, stop or threading.Event(), on_progress, workers=workers)
        shared.limits = stored.limits(session, change_id)
        todo = [chunk for chunk in stored.chunks(session, change_id) if not chunk.done]
    shared.report(now=True)
    # Until the first look others count as there; a migration's own session never looks, and never rests.
    shared.watched = shared.beside = watched
    with _watching(connect, change_id, token, shared, todo) if watched else contextlib.nullcontext():
        _work_through(connect, todo, token, work, shared, workers)
        with connect() as session:
            _again(session, change_id, work, shared)
    shared.report(now=True)
    return shared.progress()


def _work_through(
    connect: Connect, todo: list[Chunk], token: int, work: Work, shared: _Shared, workers: int
) -> None:
    """Give each worker chunks until none is left; the first failure ends all."""
    guard, left = threading.Lock(), list(todo)

    def next_chunk() -> Chunk | None:
        with guard:
            return left.pop(0) if left else None

    def worker() -> None:
        try:
            with connect() as session, _known(session, shared):
                while (chunk := next_chunk()) is not None:
                    _fill_chunk(session, chunk, token, work, shared)
        except BaseException as error:
            with guard:
                shared.failure = shared.failure or error
            raise

    if workers <= 1 or len(todo) <= 1:
        worker()
        return
    with ThreadPoolExecutor(min(workers, len(todo)), thread_name_prefix="lockkeeper-backfill") as pool:
        futures = [pool.submit(worker) for _ in range(min(workers, len(todo)))]
    if shared.failure is not None:
        raise shared.failure
    for future in futures:
        future.result()


@contextlib.contextmanager
def _known(session: Session, shared: _Shared) -> Iterator[None]:
    """Let the observation know whose locks are ours."""
    pid = int(session.rows("SELECT pg_catalog.pg_backend_pid()")[0][0])
    shared.pids.add(pid)
    try:
        yield
    finally:
        shared.pids.discard(pid)


def _fill_chunk(session: Session, chunk: Chunk, token: int, work: Work, shared: _Shared) -> None:
    chunk = stored.of_present_file(session, chunk, token)
    limits = shared.limits
    steering = Steering(
        min(FIRST_ROWS, limits.batch_rows),
        limits.batch_rows,
        limits.batch_budget_ms(beside=shared.beside),
        limits.batch_ms,
        limits.least_rows(beside=shared.beside),
    )
    keeper = _Keeper(session, chunk, token, shared, steering)
    keeper.rest()
    fill(session, stored.walk(session, chunk), work, steering, keeper, chunk.after)
    with session.transaction():
        stored.finish(session, chunk, token)


def _again(session: Session, change_id: int, work: Work, shared: _Shared) -> None:
    """Try the parked rows again: patiently those that were locked, once those whose values are at fault."""
    for attempt in range(1, _ROUNDS_FOR_LOCKED_ROWS + 1):
        may_pass = False
        for parked in stored.parked(session, change_id):
            chunk_walk = stored.walk(session, parked.chunk)
            fault = fill_row(session, chunk_walk, work, chunk_walk.row(parked.place))
            if fault is None:
                stored.unpark(session, change_id, parked)
            may_pass = may_pass or (fault is not None and fault.may_pass)
        if not may_pass:
            break
        session.pause(attempt)
    left = stored.parked(session, change_id)
    shared.parked = len(left)
    if left:
        table = left[0].chunk.relation_sql
        raise BackfillError(
            f"{len(left)} rows could not be filled; everything else is. Mend them, or end the sessions that "
            f"hold them ({'; '.join(session.blockers(table)) or 'none now'}), and run it again:",
            [f"{table}: {each.shown} ({each.sqlstate}: {each.message})" for each in left[:SHOWN_ROWS]],
        )


def _named(shown: str, fault: Fault) -> str:
    return f"{shown} ({fault.sqlstate}: {fault.message})"


@contextlib.contextmanager
def _watching(
    connect: Connect, change_id: int, token: int, shared: _Shared, todo: list[Chunk]
) -> Iterator[None]:
    """Look at limits and load from a session of its own, once a second."""
    over = threading.Event()
    oids = tuple({chunk.oid for chunk in todo})

    def look() -> None:
        try:
            with connect() as session:
                observation = Observation(session, lambda: tuple(shared.pids), oids or (0,))
                while not over.is_set():
                    _look(session, observation, change_id, token, shared)
                    over.wait(LOOK_S)
        except Exception as error:  # whatever it is: a backfill that nobody watches must not go on
            shared.failure = shared.failure or error

    thread = threading.Thread(target=look, name="lockkeeper-backfill-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if isinstance(shared.failure, Exception):
        raise shared.failure


def _look(session: Session, observation: Observation, change_id: int, token: int, shared: _Shared) -> None:
    limits = stored.limits(session, change_id)
    reasons = observation.reasons(limits)
    shared.beside = others_at_work(session)
    if limits.paused:
        reasons = ("paused by request", *reasons)
    shared.limits, shared.probe_ms = limits, observation.probe_ms
    if reasons != shared.reasons:
        listed = f"ARRAY[{', '.join(literal(reason) for reason in reasons)}]::text[]"
        changed = session.run(
            f"UPDATE lockkeeper.column_change SET throttled_by = {listed} "
            f"WHERE id = {change_id} AND token = {token}"
        )
        if not changed:
            raise FencedError("The change was taken over by another worker; this backfill has stopped.")
    shared.reasons = reasons


def tune(session: Session, change_id: int, values: dict[str, object]) -> Throttle:
    """Change limits, for the next batch on; returns all of them.

    Raises:
        ConfigurationError: there is no limit of that name.
    """
    limits = Throttle.from_values({**stored.limits(session, change_id).values(), **values})
    text = literal(json.dumps(limits.values(), sort_keys=True))
    session.run(f"UPDATE lockkeeper.column_change SET throttle = {text} WHERE id = {change_id}")
    return limits
