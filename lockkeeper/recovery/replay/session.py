"""The session that writes into the copy: no trigger acts on it, and values are read as they were sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, named_query
from lockkeeper.recovery.replay.catalogue import PACKAGE

ROLE = "replay"
_SETTINGS = {
    "session_replication_role": "replica",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
    "timezone": "UTC", "lc_monetary": "C", "xmloption": "content",
    "row_security": "off", "statement_timeout": "0", "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0", "synchronous_commit": "off", "jit": "off",
    # A batch finds its rows by the key's index, whatever the statistics of a fresh copy say.
    "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
}  # fmt: skip
_SILENCE = {"D": "DISABLE", "O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


@contextlib.contextmanager
def copy_session(url: URL, run_id: str) -> Iterator[Connection]:
    """Yield an autocommit session in the copy; its commits are not waited for, since replay can be repeated.

    Raises:
        DatabaseError: the role may not set ``session_replication_role``.
    """
    with connect(url, ROLE, run_id=run_id) as connection:
        for name, value in _SETTINGS.items():
            execute(connection, "SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        yield connection


def silence_triggers(connection: Connection) -> None:
    """Disable the triggers that would act even in a replica; what they were is kept. Can run twice."""
    for table, trigger in fetch_all(connection, named_query("silence_triggers", PACKAGE)):
        _alter(connection, table, trigger, "D")


def restore_triggers(connection: Connection) -> None:
    """Enable them again as they were. Can run twice."""
    query = "SELECT table_name, trigger_name, enabled FROM lockkeeper_replay.silenced_trigger"
    for table, trigger, enabled in fetch_all(connection, query):
        _alter(connection, table, trigger, enabled)


def _alter(connection: Connection, table: str, trigger: str, enabled: str) -> None:
    statement = sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
        sql.SQL(table), sql.SQL(_SILENCE[enabled]), sql.Identifier(trigger)
    )
    execute(connection, statement)
