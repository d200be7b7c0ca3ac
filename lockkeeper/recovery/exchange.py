"""A copy takes a database's place: fence, what must be done while nobody can write, sequences, swap.

Until the swap, which is one transaction, the original serves as it is; whatever fails, the fence is lifted.
The former database is kept as quarantine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import ConnectionLostError, DatabaseError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all
from lockkeeper.postgres.databases import drop_database, exists, quarantine_name
from lockkeeper.postgres.fence import fence, swap, take_name
from lockkeeper.recovery.fence_guard import guarded_fence, lift
from lockkeeper.recovery.sequences import carry_sequences
from lockkeeper.recovery.write_proof import FencedScene

LOCK_TIMEOUT_MS = 15_000
LIFT_TIMEOUT_S = 120.0

BeforeSwap = Callable[[FencedScene], None]
BeforeFence = Callable[[FencedScene], Collection[int]]


class Swapped(NamedTuple):
    """What became of the former database, and for how long nobody could write."""

    quarantine: str | None
    fence_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    """Which copy takes the place of which database, and what is done on the way.

    Attributes:
        target: whose database.
        copy_url: the copy, on the same server, ready to serve.
        run_id: the run that does it.
        reason: why, written on the quarantined database.
        comment: the comment that the database had.
        before_fence: called while everybody still writes; returns the process ids of our own sessions that
            stay through the fence.
        before_swap: called under the fence; raising leaves everything as it was.
        tells_sequences: whether a sequence that had advanced is worth a warning.
    """

    target: Target
    copy_url: URL
    run_id: str
    reason: str
    comment: str | None = None
    before_fence: BeforeFence | None = None
    before_swap: BeforeSwap | None = None
    tells_sequences: bool = True

    @property
    def copy_name(self) -> str:
        """The copy's name until it takes the other's."""
        return str(self.copy_url.database)


def put_in_place(exchange: Exchange) -> Swapped:
    """Let the copy take the database's place; the caller holds the migration lock.

    Raises:
        DatabaseError: PostgreSQL refused a step; the original serves on.
        LockkeeperError: what a callback raised; the original serves on.
    """
    target, run_id = exchange.target, exchange.run_id
    url = target.maintenance_url
    with connect(url, "restore", run_id=run_id, lock_timeout_ms=LOCK_TIMEOUT_MS) as server:
        if not exists(server, target.database):
            take_name(server, database=target.database, copy=exchange.copy_name, comment=exchange.comment)
            return Swapped(None, 0.0, ())
        warnings = _slot_warnings(server, target.database)
        quarantine = quarantine_name(target.database, utc_now())
        with guarded_fence(url, target.database, run_id), _fenced(exchange, server) as fenced:
            if exchange.before_swap:
                exchange.before_swap(fenced.scene)
            with connect(exchange.copy_url, "sequences", run_id=run_id) as there:
                moved = carry_sequences(fenced.scene.connection, there)
            warnings += moved if exchange.tells_sequences else []
            fenced.scene.connection.close()
            _swap(exchange, server, quarantine)
            fence_s = time.monotonic() - fenced.began
    return Swapped(quarantine, fence_s, tuple(warnings))


def _swap(exchange: Exchange, server: Connection, quarantine: str) -> None:
    target = exchange.target
    try:
        swap(
            server,
            database=target.database,
            copy=exchange.copy_name,
            quarantine=quarantine,
            run_id=exchange.run_id,
            reason=exchange.reason,
            comment=exchange.comment,
        )
    except ConnectionLostError:
        # The answer to the commit may have been lost; the quarantine's name is this swap's alone.
        with connect(target.maintenance_url, "restore", run_id=exchange.run_id) as connection:
            if not exists(connection, quarantine):
                raise


class _Fenced(NamedTuple):
    scene: FencedScene
    began: float


@contextlib.contextmanager
def _fenced(exchange: Exchange, server: Connection) -> Iterator[_Fenced]:
    """Close the database for the block; after an error it is open again."""
    target, run_id = exchange.target, exchange.run_id
    with connect(target.url, "proof", run_id=run_id) as helper:
        # It must outlive whatever the server ends idle sessions for.
        execute(helper, "SELECT pg_catalog.set_config('statement_timeout', '0', false)")
        scene = FencedScene(helper)
        ours = exchange.before_fence(scene) if exchange.before_fence else ()
        keep = [helper.info.backend_pid, *ours]
        began = fence(server, target.database, run_id=run_id, reason=exchange.reason, keep=keep)
        try:
            yield _Fenced(scene, began)
        except BaseException:
            lift(target.maintenance_url, target.database, run_id, timeout_s=LIFT_TIMEOUT_S)
            raise


def _slot_warnings(server: Connection, database: str) -> list[str]:
    query = (
        "SELECT slot_name FROM pg_catalog.pg_replication_slots "
        "WHERE database = %s AND NOT starts_with(slot_name, 'lockkeeper_') ORDER BY 1"
    )
    return [
        f"logical replication slot {name} stays with the quarantined database and keeps WAL: make a new one "
        "for its consumer and drop this one"
        for (name,) in fetch_all(server, query, (database,))
    ]


def drop_quarantine(target: Target, quarantine: str, run_id: str, warnings: list[str]) -> str | None:
    """Drop a quarantine; returns its name, with a warning, when that was not possible, else None."""
    try:
        with connect(target.maintenance_url, "restore", run_id=run_id) as connection:
            drop_database(connection, quarantine)
    except DatabaseError as error:
        warnings.append(f"database {quarantine} could not be dropped: {error}")
        return quarantine
    return None
