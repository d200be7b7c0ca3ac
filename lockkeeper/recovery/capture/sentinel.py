"""The sentinel: a session in the server that drops the slot when nobody else can.

A slot that nobody reads from keeps WAL without end, and whoever would drop it may be on a machine that has
lost power. So a loop runs *in the server*, in the maintenance database: it looks once a second and drops
the slot when it keeps back more WAL than it may, or when nobody has read from it for too long. A backend
that is busy does not notice that its client is gone, which is what is wanted here. It holds no snapshot and
no lock for longer than its pause of a second, and ends by itself when the slot is gone.

Only a restart of the server ends it before that; the capture, if it lives, starts it again. Where it does not
live, ``max_slot_wal_keep_size`` is what bounds the slot; preflight says when that is not set.
"""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2
import psycopg2.extensions
from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    converting_errors,
    fetch_all,
    libpq_parameters,
    named_query,
)
from lockkeeper.recovery.capture.models import CaptureLimits
from lockkeeper.recovery.capture.tables import PACKAGE

ROLE = "sentinel"
START_TIMEOUT_S = 10.0
_FIND = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = %s"


def sentinel_name(slot: str) -> str:
    """Return the application_name of a slot's sentinel."""
    return application_name(ROLE, slot)


def find_sentinel(connection: Connection, slot: str) -> int | None:
    """Return the process id of a slot's sentinel, or None."""
    rows = fetch_all(connection, _FIND, (sentinel_name(slot),))
    return int(rows[0][0]) if rows else None


def start_sentinel(maintenance_url: URL, slot: str, limits: CaptureLimits) -> Connection:
    """Start the loop in a session of its own; returns its connection, whose end does not end the loop.

    Raises:
        ConnectionLostError: the session could not be made.
    """
    settings = {
        "lockkeeper.slot": slot,
        "lockkeeper.retained_wal_bytes": limits.retained_wal_bytes,
        "lockkeeper.abandoned_s": limits.abandoned_s,
        "statement_timeout": 0,
        "lock_timeout": 0,
        "idle_in_transaction_session_timeout": 0,
        "client_connection_check_interval": 0,
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    parameters: dict[str, Any] = {
        **libpq_parameters(maintenance_url),
        "application_name": sentinel_name(slot),
        "options": options,
        "connect_timeout": 10,
    }
    deadline = time.monotonic() + START_TIMEOUT_S
    with converting_errors():
        connection: Connection = psycopg2.connect(**parameters, async_=True)
        _settle(connection, deadline)
        connection.cursor().execute(named_query("sentinel", PACKAGE))
        _send(connection, deadline)
    return connection


def _settle(connection: Connection, deadline: float) -> None:
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        _await(connection, state, deadline)


def _send(connection: Connection, deadline: float) -> None:
    """Wait until the statement has left; its answer comes when the slot is gone."""
    while (state := connection.poll()) == psycopg2.extensions.POLL_WRITE:
        _await(connection, state, deadline)


def _await(connection: Connection, state: int, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ConnectionLostError("The sentinel's session could not be made in time.")
    reading = [connection] if state == psycopg2.extensions.POLL_READ else []
    writing = [connection] if state == psycopg2.extensions.POLL_WRITE else []
    select.select(reading, writing, [], left)
