"""Where a change stands, in the numbers that somebody who approves the next step wants to see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from lockkeeper.backfill import chunks
from lockkeeper.backfill.throttle import Throttle, others_at_work
from lockkeeper.online.session import Session
from lockkeeper.rename.ledger import Entry, by_id, events
from lockkeeper.rename.parity import Parity
from lockkeeper.rename.transitions import Stage

_NO_LOCK = "No lock that stops anybody."
_MOMENT = (
    "ACCESS EXCLUSIVE on {table} for a few milliseconds, waited for at most 20 ms at a time, reading no row"
)
NEXT: dict[Stage, tuple[str, str]] = {
    Stage.PLANNED: ("expand", _MOMENT + "; adds the column and the trigger."),
    Stage.EXPANDED: ("backfill", "Row locks on one batch at a time, for about 50 ms; no lock on the table."),
    Stage.BACKFILLING: (
        "backfill",
        "Row locks on one batch at a time, for about 50 ms; no lock on the table.",
    ),
    Stage.BACKFILLED: (
        "validate",
        "SHARE UPDATE EXCLUSIVE on {table} while indexes are built and constraints checked (readers and "
        "writers go on), and for each constraint " + _MOMENT + ".",
    ),
    Stage.VALIDATED: ("flip", _NO_LOCK + " The application reads {new} from then on."),
    Stage.FLIPPED: ("observe", "ACCESS SHARE on {table}, as any SELECT; compares every row once more."),
    Stage.OBSERVING: (
        "scream",
        _MOMENT + "; {old} is renamed away, and back at the end or at the first error.",
    ),
    Stage.SCREAMING: ("scream", _MOMENT + "; {old} gets its name back."),
    Stage.SCREAMED: ("contract", _MOMENT + "; {old} is renamed into quarantine and still written."),
    Stage.CONTRACTED: ("drop", _MOMENT + "; {old} and its trigger are dropped, its data are gone."),
    Stage.DROPPED: ("", "Nothing is left to do."),
    Stage.ABORTED: ("", "Nothing is left to do; the schema is as it was before."),
}


@dataclass(frozen=True)
class RenameStatus:
    """A change and its measured facts; times are aware, in UTC.

    ``share_percent`` is how much of its time a backfill works while others use the server, as they do now.
    """

    change_id: int
    table: str
    old: str
    new: str
    stage: Stage
    since: datetime
    rows_total: int
    rows_copied: int
    rows_parked: int
    percent: float
    rows_per_s: float
    eta_s: float | None
    throttled_by: tuple[str, ...]
    share_percent: float | None
    parity: Parity | None
    blockers: tuple[str, ...]
    next_step: str
    next_lock: str
    scream_until: datetime | None
    quarantine_until: datetime | None
    parked: tuple[str, ...]
    history: tuple[tuple[datetime, str, str, str], ...]

    @property
    def round(self) -> str:
        """What tells this attempt apart from those before it that were aborted or undone, e.g. ``7-0``."""
        stages = [stage for _, stage, _, _ in self.history]
        undone = list(pairwise(stages)).count((Stage.CONTRACTED.value, Stage.BACKFILLED.value))
        return f"{self.change_id}-{undone}"

    def as_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        values = {name: _plain(value) for name, value in vars(self).items()}
        return {**values, "stage": self.stage.value, "parity": self.parity.as_dict() if self.parity else None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value


def read_status(session: Session, number: int) -> RenameStatus:
    """Read a change's status; changes nothing, locks nothing."""
    entry = by_id(session, number)
    copied = chunks.rows_written(session, number)
    parked = chunks.parked(session, number)
    step, lock = NEXT[entry.stage]
    rate = _rate(entry, copied)
    names = {"table": entry.relation, "old": entry.change.old, "new": entry.change.new}
    return RenameStatus(
        change_id=entry.id, table=entry.relation, old=entry.change.old, new=entry.change.new,
        stage=entry.stage, since=entry.since, rows_total=max(entry.rows_total, copied), rows_copied=copied,
        rows_parked=len(parked), percent=_percent(entry, copied), rows_per_s=rate,
        eta_s=max(entry.rows_total - copied, 0) / rate if rate else None, throttled_by=entry.throttled_by,
        share_percent=_share(session, entry), parity=Parity.from_dict(entry.parity) if entry.parity else None,
        blockers=tuple(session.blockers(entry.relation)), next_step=step, next_lock=lock.format(**names),
        scream_until=entry.scream_until, quarantine_until=entry.quarantine_until,
        parked=tuple(f"{each.shown} ({each.sqlstate}: {each.message})" for each in parked),
        history=tuple(events(session, number)),
    )  # fmt: skip


def _share(session: Session, entry: Entry) -> float | None:
    if entry.stage is not Stage.BACKFILLING:
        return None
    return Throttle.from_values(entry.throttle).resting_share(beside=others_at_work(session))


def _percent(entry: Entry, copied: int) -> float:
    if entry.stage in (Stage.PLANNED, Stage.EXPANDED):
        return 0.0
    if entry.stage is Stage.BACKFILLING:
        return min(99.9, 100.0 * copied / max(entry.rows_total, 1))
    return 100.0


def _rate(entry: Entry, copied: int) -> float:
    if entry.stage is not Stage.BACKFILLING or entry.filling_since is None:
        return 0.0
    elapsed_s = (datetime.now(timezone.utc) - entry.filling_since).total_seconds()
    return copied / elapsed_s if elapsed_s > 0 else 0.0
