"""What is known of the target's server before and beside a physical backup."""

from __future__ import annotations

from typing import NamedTuple

from lockkeeper.postgres.connection import Connection, fetch_all, fetch_one, fetch_value, named_query

RECOVERY_SETTINGS = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction",
)  # fmt: skip
"""A server in recovery refuses less of these than the primary had (manual, "Hot Standby")."""
_SETTINGS = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY (%s)"


class Cluster(NamedTuple):
    """The target's server as a whole; ``size_bytes`` of the databases that the role may connect to."""

    server_version_num: int
    size_bytes: int
    tablespaces: int
    wal_level: str
    may_replicate: bool
    max_wal_senders: int
    wal_senders: int
    max_slots: int
    slots: int


def read_cluster(connection: Connection) -> Cluster:
    """Read it; takes no lock."""
    return Cluster(*fetch_one(connection, named_query("cluster", "lockkeeper.physical")))


def read_system(connection: Connection) -> str:
    """Return what tells this server's files from every other's."""
    return str(fetch_value(connection, "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"))


def read_recovery_settings(connection: Connection) -> dict[str, str]:
    """Return the settings that a server needs to recover with."""
    return dict(fetch_all(connection, _SETTINGS, (list(RECOVERY_SETTINGS),)))


def read_not_logged(connection: Connection) -> tuple[str, ...]:
    """Return the unlogged tables and sequences of the connection's database, qualified and quoted."""
    return tuple(name for (name,) in fetch_all(connection, named_query("not_logged", "lockkeeper.physical")))
