"""Row counters of PostgreSQL's cumulative statistics, for proving that nobody wrote.

PostgreSQL 15 and later keep them in shared memory. A session hands its counts in after its transactions,
a second late at most while it works, and when it ends at the latest. So counters read *before* a snapshot
never include a write that the snapshot lacks; they may lack writes that it has, which errs on the safe side.
14 sends them by UDP and may lose some: there they prove nothing and are not taken.
"""

from __future__ import annotations

from typing import NamedTuple

from lockkeeper.postgres.connection import Connection, execute, fetch_all, fetch_value, named_query

TRUSTED_SINCE = 150000
LARGE_OBJECTS = "pg_catalog.pg_largeobject"
Counters = tuple[int, int, int]


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
