"""The stages of a column's change, and the only ways from one to another."""

from __future__ import annotations

from enum import Enum

from lockkeeper.errors import StageRefusedError


class Stage(str, Enum):
    """Where a change stands; the value is what the ledger holds."""

    PLANNED = "planned"
    EXPANDED = "expanded"
    BACKFILLING = "backfilling"
    BACKFILLED = "backfilled"
    VALIDATED = "validated"
    FLIPPED = "flipped"
    OBSERVING = "observing"
    SCREAMING = "screaming"
    SCREAMED = "screamed"
    CONTRACTED = "contracted"
    DROPPED = "dropped"
    ABORTED = "aborted"

    def __str__(self) -> str:
        return self.value


OVER = frozenset({Stage.DROPPED, Stage.ABORTED})

_S = Stage
TRANSITIONS: dict[tuple[Stage, Stage], str] = {
    (_S.PLANNED, _S.EXPANDED): "column, function and trigger came in one transaction",
    (_S.EXPANDED, _S.BACKFILLING): "the chunks and their bounds were written down",
    (_S.BACKFILLING, _S.BACKFILLED): "every chunk is done and no row is parked, or parked rows may stay",
    (_S.BACKFILLED, _S.VALIDATED): "all that was on the old column is on the new one; parity is proven",
    (_S.BACKFILLED, _S.BACKFILLING): "a proof found rows that are not filled: the chunks begin again",
    (_S.VALIDATED, _S.BACKFILLING): "a proof found rows that are not filled: the chunks begin again",
    (_S.VALIDATED, _S.FLIPPED): "the application reads the new column, on somebody's approval",
    (_S.FLIPPED, _S.VALIDATED): "reads went back to the old column; nothing in the database changed",
    (_S.FLIPPED, _S.OBSERVING): "parity was proven again after the flip",
    (_S.OBSERVING, _S.VALIDATED): "reads went back to the old column; nothing in the database changed",
    (_S.OBSERVING, _S.SCREAMING): "the old column was renamed away",
    (_S.SCREAMING, _S.SCREAMED): "the time passed without an error; the old column is back",
    (_S.SCREAMING, _S.OBSERVING): "the application failed, or asked for it; the old column is back",
    (_S.SCREAMED, _S.VALIDATED): "reads went back to the old column; nothing in the database changed",
    (_S.SCREAMED, _S.SCREAMING): "another scream test",
    (_S.SCREAMED, _S.CONTRACTED): "the old column went into quarantine, still written, on approval",
    (_S.OBSERVING, _S.CONTRACTED): "the same without a scream test: no name vanishes, or it was waived",
    (_S.CONTRACTED, _S.BACKFILLED): "undone: the old column is back under its name, with the writes since",
    (_S.CONTRACTED, _S.DROPPED): "the retention time is over; the old column is gone",
    (_S.PLANNED, _S.ABORTED): "nothing had been touched",
    (_S.EXPANDED, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.BACKFILLING, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.BACKFILLED, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.VALIDATED, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.FLIPPED, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.OBSERVING, _S.ABORTED): "trigger, function and new column were dropped",
    (_S.SCREAMING, _S.ABORTED): "the old column came back; trigger, function and new column were dropped",
    (_S.SCREAMED, _S.ABORTED): "trigger, function and new column were dropped",
}
"""From -> to, and what has happened when the ledger says so. Every other pair is refused."""


def may_follow(stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that may follow."""
    return tuple(after for before, after in TRANSITIONS if before is stage)


def require(before: Stage, after: Stage, why: str = "") -> None:
    """Raise StageRefusedError unless the table has this transition."""
    if (before, after) not in TRANSITIONS:
        raise StageRefusedError(after.value, before.value, [each.value for each in may_follow(before)], why)
