"""What replay keeps in the copy: how far it has come, in the changes' own transaction, and what is parked.

Schema ``lockkeeper_replay`` is dropped before the copy serves. Schema ``lockkeeper_parked`` is made with the
first write that could not be carried over, and stays, for people to read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lockkeeper.models import Fact
from lockkeeper.postgres.connection import Connection, execute, fetch_all, fetch_one, named_query
from lockkeeper.recovery.pgoutput import format_lsn, parse_lsn
from lockkeeper.recovery.replay.catalogue import PACKAGE
from lockkeeper.recovery.replay.changes import Transaction

SCHEMA, PARKED_SCHEMA = "lockkeeper_replay", "lockkeeper_parked"
PARKED_TABLE = f"{PARKED_SCHEMA}.writes"
_EXISTS = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL"


class Progress(NamedTuple):
    """How far a copy has come. Everything that was committed before ``end_lsn`` is in it."""

    end_lsn: int
    transactions: int
    changes: int


class ParkedWrite(Fact):
    """A write, or values of one, that is not in the copy as it was made; ``carried`` says that the row is."""

    commit_lsn: str
    committed_at: datetime
    xid: int
    table: str
    operation: str
    row_key: dict[str, str | None]
    row_values: dict[str, str | None]
    reason: str
    carried: bool = False


def prepare(connection: Connection) -> Progress:
    """Make the bookkeeping where it is missing, and return how far the copy has come. Can run twice."""
    execute(connection, named_query("make_bookkeeping", PACKAGE))
    return read_progress(connection)


def read_progress(connection: Connection) -> Progress:
    """Return how far the copy has come."""
    query = "SELECT end_lsn::text, transactions, changes FROM lockkeeper_replay.progress"
    lsn, transactions, changes = fetch_one(connection, query)
    return Progress(parse_lsn(lsn), int(transactions), int(changes))


def write_progress(connection: Connection, progress: Progress) -> None:
    """Write it down; commits with the changes themselves."""
    execute(
        connection,
        "UPDATE lockkeeper_replay.progress SET end_lsn = %s, transactions = %s, changes = %s",
        (format_lsn(progress.end_lsn), progress.transactions, progress.changes),
    )


def park(connection: Connection, writes: Sequence[ParkedWrite]) -> None:
    """Keep writes in the copy's table of parked writes, which is made when it is missing."""
    if not writes:
        return
    if not fetch_one(connection, _EXISTS, (PARKED_TABLE,))[0]:
        execute(connection, named_query("make_parked", PACKAGE))
    rows = [write.model_dump(mode="json") for write in writes]
    execute(connection, named_query("park", PACKAGE), (json.dumps(rows),))


def read_parked(connection: Connection) -> list[ParkedWrite]:
    """Return everything that is parked, in order."""
    if not fetch_one(connection, _EXISTS, (PARKED_TABLE,))[0]:
        return []
    return [
        ParkedWrite(**dict(zip(ParkedWrite.model_fields, row, strict=True)))
        for row in fetch_all(connection, named_query("read_parked", PACKAGE))
    ]


def drop_bookkeeping(connection: Connection, *, keep_parked: bool) -> None:
    """Remove our schema; the parked writes stay when there are any and ``keep_parked``."""
    execute(connection, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    if not keep_parked:
        execute(connection, f"DROP SCHEMA IF EXISTS {PARKED_SCHEMA} CASCADE")


def parked_write(
    transaction: Transaction,
    table: str,
    operation: str,
    key: dict[str, str | None],
    values: dict[str, str | None],
    reason: str,
    carried: bool = False,
) -> ParkedWrite:
    """Return a write for the table of parked ones."""
    return ParkedWrite(
        commit_lsn=format_lsn(transaction.commit_lsn),
        committed_at=transaction.committed_at,
        xid=transaction.xid,
        table=table,
        operation=operation,
        row_key=key,
        row_values=values,
        reason=reason,
        carried=carried,
    )
