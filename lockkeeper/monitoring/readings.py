"""What the sampler reads, as it was at one moment. Statements are kept without the values in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

OUTLINE_LENGTH = 160
_LITERALS = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)          # comments
    |\$(\w*)\$.*?(?:\$\1\$|$)            # dollar quoting
    |[eEbBxXuU]?&?'(?:[^']|'')*(?:'|$)   # texts; a cut one ends with the statement
    |(?<![\w$".])\d[\d.]*(?:[eE][+-]?\d+)?\b   # numbers
    """,
    re.VERBOSE | re.DOTALL,
)


def outline(statement: str) -> str:
    """Return a statement's shape on one line: values and comments, which may hold data, are left out."""
    shape = _LITERALS.sub(lambda found: " " if found[0].startswith(("--", "/*")) else "?", statement)
    line = " ".join(shape.split())
    return line if len(line) <= OUTLINE_LENGTH else line[: OUTLINE_LENGTH - 1] + "…"


@dataclass(frozen=True)
class Session:
    """One session that is in a transaction; times are seconds since it began, its query, its state."""

    pid: int
    application: str
    user: str
    state: str
    wait_event_type: str
    transaction_s: float
    query_s: float
    state_s: float
    snapshot_age: int
    statement: str

    @property
    def is_idle_in_transaction(self) -> bool:
        """Whether it holds its locks and does nothing."""
        return self.state.startswith("idle in transaction")

    def __str__(self) -> str:
        """Name it as people look for it."""
        name = f"session {self.pid} ({self.application or 'unnamed'}, user {self.user})"
        return f"{name}, {self.state}: {self.statement or 'no statement'}"


@dataclass(frozen=True)
class Wait:
    """One session that waits for a lock, and one of those that it waits for."""

    waiter_pid: int
    waiter_application: str
    waiter_type: str
    waiter_statement: str
    waiting_s: float
    wants: str | None
    blocker_pid: int
    blocker_application: str
    blocker_user: str
    blocker_state: str
    transaction_s: float
    blocker_statement: str

    @property
    def blocker(self) -> str:
        """Name the session that stands in the way."""
        who = (
            f"session {self.blocker_pid} ({self.blocker_application or 'unnamed'}, user {self.blocker_user})"
        )
        return f"{who}, {self.blocker_state}, in its transaction for {self.transaction_s:.1f} s"


@dataclass(frozen=True)
class Activity:
    """Who is connected, who is in a transaction, who waits for whom."""

    at: datetime
    connections: int
    active: int
    idle_in_transaction: int
    hidden: int
    max_connections: int
    sessions: tuple[Session, ...] = ()
    waits: tuple[Wait, ...] = ()

    def blocked_by(self, pids: Iterable[int]) -> dict[int, Wait]:
        """Return waiter -> its wait, of all that wait for ``pids``, also through one another."""
        blocked: dict[int, Wait] = {}
        causes = set(pids)
        while True:
            more = {
                wait.waiter_pid: wait
                for wait in self.waits
                if wait.blocker_pid in causes and wait.waiter_pid not in causes
            }
            if not more:
                return blocked
            blocked.update(more)
            causes.update(more)

    def roots(self) -> dict[int, Wait]:
        """Return the sessions that block others and wait for nobody themselves; one of their waits each."""
        waiting = {wait.waiter_pid for wait in self.waits}
        return {wait.blocker_pid: wait for wait in reversed(self.waits) if wait.blocker_pid not in waiting}


@dataclass(frozen=True)
class DatabaseVitals:
    """Counters and ages of the database; counters grow from the last reset of the statistics."""

    size_bytes: int | None
    commits: int
    rollbacks: int
    blocks_read: int
    blocks_hit: int
    deadlocks: int
    temp_bytes: int
    xid_age: int
    mxid_age: int
    freeze_max_age: int
    mxid_freeze_max_age: int
    autovacuum: bool
    oldest_prepared_s: float
    invalid_indexes: tuple[str, ...]
    archive_failures: int
    in_recovery: bool
    sees_all: bool


@dataclass(frozen=True)
class TableVitals:
    """One table; sizes are None while somebody holds it exclusively."""

    name: str
    live_rows: int
    dead_rows: int
    changed_rows: int
    vacuum_at: int
    analyze_at: int
    autovacuum: bool
    table_bytes: int | None
    index_bytes: int | None

    @property
    def total_bytes(self) -> int | None:
        """The table with its indexes, or None."""
        if self.table_bytes is None or self.index_bytes is None:
            return None
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True)
class Replica:
    """One receiver of WAL; ``lag_bytes`` is None when this role may not see it."""

    name: str
    state: str
    lag_bytes: int | None
    lag_s: float


@dataclass(frozen=True)
class Slot:
    """One replication slot and the WAL that it keeps."""

    name: str
    active: bool
    retained_bytes: int
    wal_status: str
    safe_bytes: int | None


@dataclass(frozen=True)
class Command:
    """A long command as PostgreSQL reports it; ``eta_s`` is known from the second sample on."""

    pid: int
    kind: str
    table: str
    phase: str
    done: int
    total: int
    eta_s: float | None = None

    @property
    def percent(self) -> float | None:
        """How much is done, where the total is known."""
        return min(100.0, 100.0 * self.done / self.total) if self.total > 0 else None


@dataclass(frozen=True)
class Vitals:
    """How the database and its server are; a group that could not be read is named in ``unseen``."""

    at: datetime
    database: DatabaseVitals | None = None
    tables: tuple[TableVitals, ...] = ()
    replicas: tuple[Replica, ...] = ()
    slots: tuple[Slot, ...] = ()
    sequences: tuple[tuple[str, float], ...] = ()
    commands: tuple[Command, ...] = ()
    wal_bytes: int | None = None
    checkpoints_timed: int = 0
    checkpoints_requested: int = 0
    locks: int = 0
    lock_slots: int = 0
    disk_free_share: float | None = None
    unseen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """All that rules judge: now, and the vitals of the look before, for rates."""

    activity: Activity
    vitals: Vitals | None = None
    before: Vitals | None = None
    own_pids: frozenset[int] = frozenset()
    probe_ms: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds between the two vitals; 0 when there is only one."""
        if self.vitals is None or self.before is None:
            return 0.0
        return (self.vitals.at - self.before.at).total_seconds()
