"""Row counters of PostgreSQL's cumulative statistics, for proving that nobody wrote.

PostgreSQL 15 and later keep them in shared memory. A session hands its counts in after its transactions, at
most once a second; what is left then it holds back until its next transaction ends, until it has been idle
for ten seconds, or until it ends. So counters read *before* a snapshot never include a write that the
snapshot lacks; they may lack writes that it has, which errs on the safe side. That somebody has *not* written
they show only when nobody can hold counts back any more: under the fence, or as ``settled_counters`` waits.
14 sends them by UDP and may lose some: there they prove nothing and are not taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from lockkeeper.postgres.connection import Connection, execute, fetch_all, fetch_value, named_query

TRUSTED_SINCE = 150000
LARGE_OBJECTS = "pg_catalog.pg_largeobject"
Counters = tuple[int, int, int]
IDLE_FLUSH_S = 11.0
"""An idle session hands in what it has held back after 10 s; the second is for its timer."""
SETTLE_TIMEOUT_S = IDLE_FLUSH_S + 1
_POLL_S = 0.2


class WriteCounters(NamedTuple):
    """Counters of all tables at one moment. ``identities``: table -> ``oid/filenode``."""

    epoch: str | None
    counters: dict[str, Counters] | None
    identities: dict[str, str]


def read_counters(connection: Connection) -> WriteCounters:
    """Read the present counters of the connection's database, without any cache of the session."""
    trusted = int(fetch_value(connection, "SHOW server_version_num")) >= TRUSTED_SINCE
    execute(connection, "SELECT pg_catalog.pg_stat_clear_snapshot()")
    rows = fetch_all(connection, named_query("write_counters", "lockkeeper.backup"), ())
    identities = {table: f"{oid}/{filenode}" for table, oid, filenode, *_ in rows}
    if not trusted:
        return WriteCounters(None, None, identities)
    counters = {table: (ins, upd, dele) for table, _, _, ins, upd, dele in rows}
    epoch = fetch_value(connection, named_query("counters_epoch", "lockkeeper.backup"))
    return WriteCounters(str(epoch), counters, identities)


def settled_counters(
    connection: Connection,
    enough: Callable[[WriteCounters], bool],
    *,
    timeout_s: float = SETTLE_TIMEOUT_S,
) -> WriteCounters:
    """Read the counters until everything that was committed before the call is in them, or it is ``enough``.

    Takes no lock; waits ``SETTLE_TIMEOUT_S`` at most.

    Args:
        connection: an idle autocommit connection.
        enough: asked at each look; what says yes is returned, whatever sessions still hold back.
        timeout_s: how long to wait; ``SETTLE_TIMEOUT_S`` is enough for sessions in short transactions.

    Returns:
        The counters. Without any, as on a server whose counters prove nothing, where a session that has been
        in one transaction all the time may still hold some back.
    """
    since = fetch_value(connection, "SELECT pg_catalog.clock_timestamp()")
    deadline = time.monotonic() + timeout_s
    while True:
        # Asked first: what is handed in between the two looks is then in the counters.
        held_back = _held_back(connection, since)
        now = read_counters(connection)
        if not held_back or now.counters is None or enough(now):
            return now
        if time.monotonic() >= deadline:
            return WriteCounters(None, None, now.identities)
        time.sleep(_POLL_S)


def _held_back(connection: Connection, since: datetime) -> bool:
    execute(connection, "SELECT pg_catalog.pg_stat_clear_snapshot()")
    parameters = {"since": since, "idle_s": IDLE_FLUSH_S}
    return bool(fetch_value(connection, named_query("counts_held_back", "lockkeeper.backup"), parameters))
