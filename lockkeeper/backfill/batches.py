"""The loop of every backfill: range after range, each one short transaction, its cursor in the same one.

A walk by pages hands a range over in shares: the first share moves to other pages, and what it leaves is room
for the next one's new row versions, on the same page and without an entry in any index (HOT).

A batch waits for a row that somebody holds no longer than for any lock, then lets all its rows go and comes
back with half of them, down to the single row, which is named and handed over. So does a batch that a row's
values make fail. Whatever is no fault of a row (no space left, a lost connection) ends the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from sqlalchemy.exc import DBAPIError

from lockkeeper.backfill.steering import Steering
from lockkeeper.backfill.walks import Place, Row, Walk
from lockkeeper.online.errors import LOCK_NOT_AVAILABLE, sqlstate_of
from lockkeeper.online.session import Session

BATCH_LIMIT_MS = 60_000
_AGAIN = frozenset({LOCK_NOT_AVAILABLE, "40P01", "40001"})
# Data exception, integrity constraint violation, raised by a trigger, with check option violation.
_ROWS_FAULT = ("22", "23", "P0", "44")


class Fault(NamedTuple):
    """Why a row could not be filled."""

    sqlstate: str
    message: str

    @property
    def may_pass(self) -> bool:
        """Whether only somebody's lock was in the way."""
        return self.sqlstate in _AGAIN


class Keeper(Protocol):
    """What a backfill remembers, and what it does with rows that cannot be filled."""

    def keep(self, place: Place | None, written: int) -> None:
        """Remember the cursor, in the batch's own transaction; it moves with a range's last share."""

    def park(self, row: Row, fault: Fault) -> None:
        """Remember a row that could not be filled, or raise."""

    def between(self, written: int) -> None:
        """Called between batches, outside of any transaction: wait, look at limits, vacuum, or raise."""


@dataclass(frozen=True)
class Work:
    """What is done to the rows of a range: ``where`` must be false for a row that is done."""

    assignment: str
    where: str
    bound_by_where: bool = False


def fill(
    session: Session, walk: Walk, work: Work, steering: Steering, keeper: Keeper, after: Place | None
) -> int:
    """Run ``UPDATE ... SET assignment WHERE where`` from the cursor to the walk's end; return rows written.

    ROW EXCLUSIVE on the table and locks on the rows of one batch, for about ``steering.target_ms``.
    """
    total = 0
    where = work.where if work.bound_by_where else None
    while upto := walk.bound(after, (size := steering.rows) * len(walk.shares), where):
        written, fault = _by_shares(session, walk, work, steering, keeper, (after, upto))
        total += written
        if fault and steering.failed(size):
            continue
        if fault:
            outcome = _one_by_one(session, walk, work, keeper, (after, upto))
            total += outcome
            keeper.between(outcome)
        after = upto
    return total


def _by_shares(
    session: Session,
    walk: Walk,
    work: Work,
    steering: Steering,
    keeper: Keeper,
    span: tuple[Place | None, Place],
) -> tuple[int, Fault | None]:
    """Fill a range share by share, each in its own transaction; end at the first fault."""
    after, upto = span
    total = 0
    for number, share in enumerate(walk.shares, 1):
        place = upto if number == len(walk.shares) else after
        condition = " AND ".join([walk.condition(after, upto), *([share] if share else [])])
        started = time.monotonic()
        outcome = _try(session, walk.table, condition, work, partial(keeper.keep, place))
        if isinstance(outcome, Fault):
            return total, outcome
        steering.took(outcome, (time.monotonic() - started) * 1000)
        total += outcome
        keeper.between(outcome)
    return total, None


def fill_row(session: Session, walk: Walk, work: Work, row: Row) -> Fault | None:
    """Fill one row; None when that succeeded or there was nothing to do."""
    outcome = _try(session, walk.table, row.condition, work, lambda _: None)
    return outcome if isinstance(outcome, Fault) else None


def _one_by_one(
    session: Session, walk: Walk, work: Work, keeper: Keeper, span: tuple[Place | None, Place]
) -> int:
    written = 0
    for row in walk.rows(*span, work.where):
        outcome = _try(session, walk.table, row.condition, work, lambda _: None)
        if isinstance(outcome, Fault):
            keeper.park(row, outcome)
        else:
            written += outcome
    with session.transaction():
        keeper.keep(span[1], written)
    return written


def _try(
    session: Session, table: str, condition: str, work: Work, and_then: Callable[[int], None]
) -> int | Fault:
    try:
        with session.transaction():
            session.run(session.limits(session.lock_timeout_ms, BATCH_LIMIT_MS))
            session.run(
                "SELECT pg_catalog.set_config('synchronous_commit', 'off', true), "
                "pg_catalog.set_config('enable_seqscan', 'off', true)"
            )
            count = session.run(f"UPDATE {table} SET {work.assignment} WHERE {condition} AND ({work.where})")
            and_then(count)
            return count
    except DBAPIError as error:
        sqlstate = sqlstate_of(error) or ""
        if sqlstate not in _AGAIN and not sqlstate.startswith(_ROWS_FAULT):
            raise
        return Fault(sqlstate, str(error.orig).strip().splitlines()[0])
