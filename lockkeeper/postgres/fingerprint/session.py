"""The settings under which a fingerprint is taken, so that equal databases give equal text everywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg2 import extensions

from lockkeeper.postgres.connection import Connection, execute, fetch_all

# Everything that changes how a value or a definition is written, and what must not end or filter a scan.
# With an empty search_path every definition is qualified; row_security off makes a filtered read an error.
PINNED_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "search_path": "",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
}

_PIN = """
SELECT pg_catalog.set_config(s.name, s.value, true)
FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) AS s (name, value)
WHERE EXISTS (SELECT FROM pg_catalog.pg_settings AS k WHERE k.name = s.name)
"""
_CURRENT = "SELECT s.name, s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = ANY (%s)"


def pin_settings(connection: Connection) -> None:
    """Pin the settings until the present transaction ends."""
    _set_locally(connection, PINNED_SETTINGS)


def _set_locally(connection: Connection, settings: dict[str, str]) -> None:
    fetch_all(connection, _PIN, (list(settings), list(settings.values())))


@contextlib.contextmanager
def pinned_settings(connection: Connection) -> Iterator[None]:
    """Pin the settings for the block, in the caller's transaction or in one of our own.

    An autocommit connection gets a read-only REPEATABLE READ transaction; a connection that is inside a
    transaction sees that transaction's own changes, and its settings are given back.
    """
    idle = connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
    if connection.autocommit and idle:
        execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            pin_settings(connection)
            yield
        finally:
            if not connection.closed:
                execute(connection, "ROLLBACK")
        return
    before = {str(name): str(value) for name, value in fetch_all(connection, _CURRENT, ([*PINNED_SETTINGS],))}
    pin_settings(connection)
    yield
    # After an error the transaction is aborted, and its end gives the settings back by itself.
    _set_locally(connection, before)
