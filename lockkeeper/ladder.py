"""The recovery ladder: which step to try next, as a pure function of facts.

Rungs are tried in order of what they cost and never skipped for a more drastic one while a gentler one
can still help: PostgreSQL's own rollback, a downgrade, a restore. Each must be *proven* by verification;
a rung that could not be verified has not succeeded.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Rung(str, Enum):
    """One step of the ladder; the value is its name in reports."""

    ROLLED_BACK = "transaction rollback"
    DOWNGRADE = "downgrade"
    RESTORE = "restore"


@dataclass(frozen=True)
class LadderFacts:
    """What the decision rests on.

    Attributes:
        revision_moved: the version table differs from that of before, so something was committed.
        policy: the target's recovery policy.
    """

    revision_moved: bool
    policy: Literal["lossless", "accept-loss", "manual"]


def next_rung(facts: LadderFacts, tried: Collection[Rung]) -> Rung | None:
    """Return the rung to try next, or None when only a human can go on.

    A version table that has not moved needs no downgrade (and none would run); one that has moved cannot
    have been rolled back. Restore comes last, and under the policy 'manual' not at all. Whether a restore
    may run (no write since the backup, or 'accept-loss') is decided at its own fence, where it can be known.
    """
    first = Rung.DOWNGRADE if facts.revision_moved else Rung.ROLLED_BACK
    if first not in tried:
        return first
    if facts.policy != "manual" and Rung.RESTORE not in tried:
        return Rung.RESTORE
    return None
