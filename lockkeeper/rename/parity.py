"""The proof that both columns say the same: each row compared, and each chunk's content hashed on both sides.

Chunk by chunk, each statement with a snapshot of its own: a row holds both values, so no long snapshot is
needed, and none keeps VACUUM from its work. What is written meanwhile the trigger keeps in step; that it is
there and enabled is part of the proof.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

from lockkeeper.backfill.walks import KeyWalk, PageWalk, Place, Walk, find_key, goes_by_pages, page_count
from lockkeeper.errors import ParityError, RenameError
from lockkeeper.online.catalog import Relation
from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.rename.dual_write import DualWrite
from lockkeeper.rename.expanding import dual_write_of, leaves_of
from lockkeeper.rename.ledger import Entry, named_query

CHUNK_ROWS = 50_000
SHOWN_KEYS = 20


@dataclass(frozen=True)
class Parity:
    """What one proof found. ``old_hash`` and ``new_hash`` are sums over all rows, of the new type."""

    rows: int
    chunks: int
    differing: int
    old_hash: str
    new_hash: str
    keys: tuple[str, ...]
    proven_at: datetime

    @property
    def holds(self) -> bool:
        """Whether no row differs."""
        return self.differing == 0

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return {**asdict(self), "keys": list(self.keys), "proven_at": self.proven_at.isoformat()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Parity:
        """Return what the ledger holds."""
        at = datetime.fromisoformat(values["proven_at"])
        return cls(**{**values, "keys": tuple(values["keys"]), "proven_at": at})


def prove(session: Session, entry: Entry) -> Parity:
    """Compare every row, in chunks. ACCESS SHARE, for one chunk at a time.

    Raises:
        RenameError: the trigger is missing or disabled: then nothing that is found now would stay true.
    """
    require_trigger(session, entry)
    dual = dual_write_of(entry)
    found = Parity(0, 0, 0, "0", "0", (), datetime.now(timezone.utc))
    old_sum = new_sum = 0
    for table in leaves_of(session, entry):
        walk, after = _walk(session, table), None
        while upto := walk.bound(after, CHUNK_ROWS, None):
            rows, differing, olds, news = _compare(session, walk, dual, (after, upto))
            old_sum, new_sum = old_sum + olds, new_sum + news
            keys = found.keys
            if differing and len(keys) < SHOWN_KEYS:
                named = [row.shown for row in walk.rows(after, upto, dual.out_of_step)]
                keys = (*keys, *named)[:SHOWN_KEYS]
            found = replace(
                found, rows=found.rows + rows, chunks=found.chunks + 1, keys=keys,
                differing=found.differing + differing,
            )  # fmt: skip
            after = upto
    return replace(found, old_hash=f"{old_sum % 2**64:016x}", new_hash=f"{new_sum % 2**64:016x}")


def _walk(session: Session, table: Relation) -> Walk:
    key = find_key(session, table.oid)
    only = f"ONLY {table.sql}"
    if key is None or goes_by_pages(session, table.oid, key):
        pages = page_count(session, table.sql)
        estimate = session.rows(
            f"SELECT greatest(reltuples, 0) FROM pg_catalog.pg_class WHERE oid = {table.oid}"
        )
        return PageWalk(session, only, pages, float(estimate[0][0]) / max(pages, 1) or 50.0, key)
    return KeyWalk(session, only, key)


def _compare(
    session: Session, walk: Walk, dual: DualWrite, span: tuple[Place | None, Place]
) -> tuple[int, int, int, int]:
    old, new = dual.raised(quote(dual.old)), quote(dual.new)
    rows = session.rows(
        named_query(
            "parity",
            table=walk.table, condition=walk.condition(*span), out_of_step=dual.out_of_step, old=old, new=new,
        )
    )[0]  # fmt: skip
    count, differing, olds, news = (int(value) for value in rows)
    return count, differing, olds, news


def require_trigger(session: Session, entry: Entry) -> None:
    """Raise RenameError unless the trigger is on every table of the tree and fires always."""
    dual = dual_write_of(entry)
    rows = session.rows(
        named_query("trigger_missing", relation=literal(entry.relation), trigger=literal(dual.trigger))
    )
    if rows:
        raise RenameError(
            f"Trigger {dual.trigger}, which keeps {entry.change.subject} in step, is missing or disabled on "
            f"{', '.join(str(row[0]) for row in rows)}. Somebody has changed it: enable it again (ALTER "
            f"TABLE ... ENABLE ALWAYS TRIGGER {dual.trigger}), or abort the change."
        )


def refuse_difference(entry: Entry, parity: Parity) -> None:
    """Raise ParityError when rows differ."""
    if not parity.holds:
        raise ParityError(entry.change.subject, parity.differing, parity.keys)
