"""The ledger: where each change stands, in schema ``lockkeeper`` of the target's own database.

What a stage changes and the ledger's entry for it are one transaction wherever PostgreSQL allows it, so the
ledger is never ahead of the schema. A worker *claims* a change: an advisory lock of its session keeps a
living second worker out, and a token that grows with each claim shuts out a first one that was taken for
dead: each
of its writes carries its token, and finds no row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lockkeeper.errors import FencedError, LockHeldError, RefusedError
from lockkeeper.online import sql_files
from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.transitions import OVER, Stage, require

SCHEMA = "lockkeeper"
PACKAGE = "lockkeeper.rename"
CLAIM_WAIT_S = 15.0
_CLAIM_POLL_S = 0.25
_LOCK_CLASS = 0x4C4E  # "LN"; the second key is the change's id
_OVER = ", ".join(sorted(literal(stage.value) for stage in OVER))


@dataclass(frozen=True)
class Entry:
    """One row of the ledger. Times are aware, in UTC."""

    id: int
    schema: str
    table: str
    change: ColumnChange
    found: dict[str, Any]
    stage: Stage
    since: datetime
    token: int
    parity: dict[str, Any] | None
    scream_until: datetime | None
    quarantine_until: datetime | None
    throttle: dict[str, Any]
    throttled_by: tuple[str, ...]
    filling_since: datetime | None
    rows_total: int

    @property
    def relation(self) -> str:
        """The table as SQL, with its schema."""
        return f"{quote(self.schema)}.{quote(self.table)}"


def named_query(name: str, /, **values: str) -> str:
    """Return a query of this room."""
    return sql_files.named_query(name, PACKAGE, **values)


def moment(epoch_s: float | None) -> datetime | None:
    """Return seconds since 1970 as a moment."""
    return None if epoch_s is None else datetime.fromtimestamp(float(epoch_s), timezone.utc)


def exists(session: Session) -> bool:
    """Whether this database has a ledger."""
    return bool(session.rows("SELECT to_regclass('lockkeeper.column_change') IS NOT NULL")[0][0])


def make(session: Session) -> None:
    """Make the ledger's schema and tables, or find them. Everybody may use the schema, not read tables."""
    if exists(session):
        return
    with session.transaction():
        session.run(f"SELECT pg_catalog.pg_advisory_xact_lock({_LOCK_CLASS}, 0)")
        session.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        session.run(f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC")
        for statement in named_query("ledger_schema").split(";\n"):
            session.run(statement)


def entries(session: Session, where: str = "true") -> list[Entry]:
    """Return the changes, the newest first."""
    if not exists(session):
        return []
    return [_entry(row) for row in session.rows(named_query("ledger_entries", condition=where))]


def _entry(row: Any) -> Entry:
    (number, schema, table, terms, found, stage, since, token, parity, scream_until, quarantine_until,
     throttle, throttled_by, filling_since, rows_total) = row  # fmt: skip
    return Entry(
        id=int(number), schema=schema, table=table, change=ColumnChange(**json.loads(terms)),
        found=json.loads(found), stage=Stage(stage), since=moment(since) or datetime.now(timezone.utc),
        token=int(token), parity=json.loads(parity) if parity else None, scream_until=moment(scream_until),
        quarantine_until=moment(quarantine_until), throttle=json.loads(throttle),
        throttled_by=tuple(throttled_by), filling_since=moment(filling_since), rows_total=int(rows_total),
    )  # fmt: skip


def find(session: Session, change: ColumnChange) -> Entry | None:
    """Return the change's entry: the open one, else the newest that is over."""
    return find_named(session, change.schema_name, change.table_name, change.old, change.new)


def find_named(
    session: Session, schema: str | None, table: str, old: str, new: str, *, new_type: str | None = None
) -> Entry | None:
    """Return a change by its names, and by its type if one is given.

    Without a schema the search_path decides between tables of one name.
    """
    where = f"table_name = {literal(table)} AND old_name = {literal(old)} AND new_name = {literal(new)}"
    if schema:
        where += f" AND schema_name = {literal(schema)}"
    else:
        where += (
            " AND schema_name = (SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class"
            f" WHERE oid = to_regclass({literal(quote(table))}))"
        )
    found = entries(session, where)
    if new_type is not None:
        asked = ColumnChange(table, old, new, new_type=new_type).type_as_asked
        found = [each for each in found if each.change.type_as_asked == asked]
    return next((each for each in found if each.stage not in OVER), found[0] if found else None)


def by_id(session: Session, number: int) -> Entry:
    """Return one entry.

    Raises:
        RefusedError: there is none.
    """
    found = entries(session, f"id = {int(number)}")
    if not found:
        raise RefusedError(f"The ledger of this database has no column change {number}.")
    return found[0]


def events(session: Session, number: int) -> list[tuple[datetime, str, str, str]]:
    """Return the story of a change: when, which stage, by whom, why."""
    rows = session.rows(
        "SELECT extract(EPOCH FROM at)::float8, stage, done_by, reason FROM lockkeeper.column_change_event "
        f"WHERE change_id = {int(number)} ORDER BY at"
    )
    return [(moment(at) or datetime.now(timezone.utc), stage, by, reason) for at, stage, by, reason in rows]


def add(session: Session, change: ColumnChange, schema: str, rows_total: int, by: str) -> Entry:
    """Write a new change down as planned.

    Raises:
        RefusedError: another change of that column is open.
    """
    terms = literal(json.dumps(change.terms(), sort_keys=True))
    with session.transaction():
        session.run(
            "INSERT INTO lockkeeper.column_change (schema_name, table_name, old_name, new_name, terms, "
            f"stage, rows_total) VALUES ({literal(schema)}, {literal(change.table_name)}, "
            f"{literal(change.old)}, {literal(change.new)}, {terms}, 'planned', {int(rows_total)}) "
            f"ON CONFLICT (schema_name, table_name, old_name) WHERE stage NOT IN ({_OVER}) DO NOTHING"
        )
        found = entries(
            session,
            f"schema_name = {literal(schema)} AND table_name = {literal(change.table_name)} "
            f"AND old_name = {literal(change.old)} AND stage NOT IN ({_OVER})",
        )[0]
        if found.change.new != change.new:
            raise RefusedError(
                f"Another change of {found.relation}.{change.old} is {found.stage}: {found.change.subject} "
                f"(number {found.id}). Finish it, or abort it."
            )
        _tell(session, found.id, Stage.PLANNED, by, "")
    return found


def replan(session: Session, entry: Entry, change: ColumnChange) -> None:
    """Write down other terms of a change that has touched nothing yet."""
    terms = literal(json.dumps(change.terms(), sort_keys=True))
    session.run(
        f"UPDATE lockkeeper.column_change SET terms = {terms} WHERE id = {entry.id} AND stage = 'planned'"
    )


def _tell(session: Session, number: int, stage: Stage, by: str, reason: str) -> None:
    session.run(
        "INSERT INTO lockkeeper.column_change_event (change_id, stage, done_by, reason) VALUES "
        f"({number}, {literal(stage.value)}, {literal(by)}, {literal(reason)})"
    )


class Claim:
    """A change that this worker holds; ``entry`` is what it last knew of it."""

    def __init__(self, session: Session, entry: Entry, token: int, by: str) -> None:
        self.session = session
        self.entry = entry
        self.token = token
        self.by = by

    def refresh(self) -> Entry:
        """Read the entry again."""
        self.entry = by_id(self.session, self.entry.id)
        return self.entry

    def check(self) -> None:
        """Lock the entry for this transaction, and make sure that it is still ours.

        Raises:
            FencedError: another worker has claimed the change.
        """
        rows = self.session.rows(
            f"SELECT token FROM lockkeeper.column_change WHERE id = {self.entry.id} FOR UPDATE"
        )
        if not rows or int(rows[0][0]) != self.token:
            raise FencedError(
                f"{self.entry.change.subject} was taken over by another worker; this one has stopped and "
                "what it was doing was rolled back."
            )

    def require(self, stage: Stage, why: str = "") -> None:
        """Raise StageRefusedError unless ``stage`` may follow the present one."""
        require(self.entry.stage, stage, why)

    def advance(self, stage: Stage, reason: str = "", by: str = "", **columns: str) -> None:
        """Write the next stage down in the open transaction; ``columns`` are further columns, as SQL."""
        self.require(stage)
        self.note(stage=literal(stage.value), since="pg_catalog.clock_timestamp()", **columns)
        _tell(self.session, self.entry.id, stage, by or self.by, reason)

    def note(self, **columns: str) -> None:
        """Write columns of the entry, given as SQL, if it is still ours."""
        self.check()
        pairs = ", ".join(f"{name} = {value}" for name, value in columns.items())
        self.session.run(f"UPDATE lockkeeper.column_change SET {pairs} WHERE id = {self.entry.id}")

    def release(self) -> None:
        """Let others claim it."""
        self.session.run(f"SELECT pg_catalog.pg_advisory_unlock({_LOCK_CLASS}, {self.entry.id})")


def claim(session: Session, entry: Entry, by: str, wait_s: float = CLAIM_WAIT_S) -> Claim:
    """Take a change over; chunks get the new token too, after whoever was writing them has ended.

    A worker that was killed leaves a server process that may end its statement first: so we wait a little.

    Raises:
        LockHeldError: a living worker holds it.
    """
    deadline = time.monotonic() + wait_s
    query = f"SELECT pg_catalog.pg_try_advisory_lock({_LOCK_CLASS}, {entry.id})"
    while not session.rows(query)[0][0]:
        if time.monotonic() > deadline:
            raise LockHeldError(entry.relation, f"{entry.change.subject}: {_holder(session, entry.id)}")
        time.sleep(_CLAIM_POLL_S)
    with session.transaction():
        token = session.rows(
            f"UPDATE lockkeeper.column_change SET token = token + 1, worker = {literal(by)} "
            f"WHERE id = {entry.id} RETURNING token"
        )[0][0]
        session.run(f"UPDATE lockkeeper.backfill_chunk SET token = {token} WHERE change_id = {entry.id}")
    held = Claim(session, entry, int(token), by)
    held.refresh()
    return held


def _holder(session: Session, number: int) -> str:
    rows: Iterable[Any] = session.rows(
        named_query("claim_holder", lock_class=str(_LOCK_CLASS), id=str(number))
    )
    return "; ".join(str(row[0]) for row in rows) or "a session that is just ending"
