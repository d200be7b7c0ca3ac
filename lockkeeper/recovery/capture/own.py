"""SQL for the migration's own sessions, by which the capture knows their writes and leaves them out.

Plain statements, since they are run by the user's interpreter, in a session that Alembic's project has
opened.
"""

from __future__ import annotations

import json

from lockkeeper.postgres.connection import named_query
from lockkeeper.recovery.capture.models import CaptureRecord
from lockkeeper.recovery.capture.names import MESSAGE_PREFIX, origin_name, own_content
from lockkeeper.recovery.capture.tables import PACKAGE


def own_session_statements(record: CaptureRecord, number: int = 0) -> list[str]:
    """Return what to run once in a session of the migration, before it writes.

    An origin can be set up in one session at a time, so sessions that are open at the same time have
    numbers of their own. It covers every statement of the session, in transactions and outside. Empty where
    the role may not set an origin (``own_transaction_statements`` is then what tells its writes apart).
    """
    if record.marks != "origin":
        return []
    name = _literal(origin_name(record.slot, number))
    return [
        f"SELECT pg_catalog.pg_replication_origin_create({name}) WHERE NOT EXISTS ("  # noqa: S608
        f"SELECT FROM pg_catalog.pg_replication_origin WHERE roname = {name})",
        f"SELECT pg_catalog.pg_replication_origin_session_setup({name})",
    ]


def own_transaction_statements(record: CaptureRecord) -> list[str]:
    """Return what to run first in each transaction of the migration; empty where the session is marked."""
    if record.marks == "origin":
        return []
    content = _literal(own_content(record.run_id).decode())
    return [f"SELECT pg_catalog.pg_logical_emit_message(true, {_literal(MESSAGE_PREFIX)}, {content})"]


def adopt_tables_statements(record: CaptureRecord) -> list[str]:
    """Return what to run before each commit of the migration, so that its new tables are captured too.

    In the transaction that makes a table it is published, with REPLICA IDENTITY FULL, so that there is no
    moment in which the application could write to it unseen. Takes locks only on tables that are not
    published yet, which the migration has locked itself; waits at most 50 ms for anybody else's. On
    PostgreSQL 18 a table that was given a virtual generated column goes back to its key as identity, since
    its UPDATEs would fail. Can run any number of times; never fails the transaction, but warns. There is no
    percent sign in it, which a driver could take for a parameter.
    """
    told = {"publication": record.publication, "outside": [each.table for each in record.outside]}
    setting = _literal(json.dumps(told).replace("%", r"\u0025"))
    return [
        f"SELECT pg_catalog.set_config('lockkeeper.capture', {setting}, false)",
        named_query("adopt_tables", PACKAGE),
    ]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
