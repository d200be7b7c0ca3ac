"""The recovery ladder: which steps can help, in which order, and what each would cost, as a pure function.

Rungs are climbed from the gentlest, and one that takes longer is put behind one that loses nothing either
and is predicted to be clearly faster. Each must be *proven* by verification; a rung that could not be
verified has not succeeded. What is not known is not predicted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from lockkeeper.models import Fact

NOTHING = "nothing"
NOTHING_OR_NOT_DONE = "nothing, or it is not done"
SINCE_THE_BACKUP = "writes since the backup"
GENTLER_S = 5.0
"""A downgrade ends nobody's connection; an exchange of databases, which does, must save more than this."""


class Rung(str, Enum):
    """One step of the ladder; the value is its name in reports."""

    ROLLED_BACK = "transaction rollback"
    DOWNGRADE = "downgrade"
    WARM_SWAP = "warm swap"
    REPLAY = "restore with replay"
    RESTORE = "restore"


class Prospect(Fact):
    """What one rung promises: how long until it is verified (None: not known), and what would be lost."""

    rung: Rung
    duration_s: float | None = None
    loses: str = NOTHING


@dataclass(frozen=True)
class LadderFacts:
    """What the decision rests on.

    Attributes:
        revision_moved: the version table differs from that of before, so something was committed.
        policy: the target's recovery policy.
        warm: a verified copy stands by, and every write since the backup's snapshot is replayed into it.
        captured: every write since the backup's snapshot is kept, to be replayed into a restored backup.
        fenced: applications may only read since the backup's snapshot.
        downgrade_failed: the rehearsal has shown that reverting what is applied does not lead back.
        estimates_s: how long a rung is predicted to take until it is verified, where that is known.
    """

    revision_moved: bool
    policy: Literal["lossless", "accept-loss", "manual"]
    warm: bool = False
    captured: bool = False
    fenced: bool = False
    downgrade_failed: bool = False
    estimates_s: Mapping[Rung, float] = field(default_factory=dict)


def prospects(facts: LadderFacts) -> tuple[Prospect, ...]:
    """Return the rungs that can help, in the order in which to climb them.

    - A version table that has not moved needs no downgrade (and none would run); one that has moved cannot
      have been rolled back.
    - The copy that is kept warm is faster than a restore, and loses nothing; so does a restore with replay.
      Either is put before a downgrade that is known to take clearly longer (``GENTLER_S``; its proof reads
      every table), and before one that was seen to fail in the rehearsal: that one is then the last resort
      before a plain restore.
    - A plain restore comes last. Whether it may run (no write since the backup, or the policy 'accept-loss')
      is decided under its own fence, where alone it can be known.
    - Under the policy 'manual' nothing that replaces the database is done without a human.
    """
    first = Rung.DOWNGRADE if facts.revision_moved else Rung.ROLLED_BACK
    climbed = [first]
    if facts.policy != "manual":
        climbed += [Rung.WARM_SWAP] if facts.warm else []
        climbed += [Rung.REPLAY] if facts.captured else []
        climbed += [Rung.RESTORE]
    if first is Rung.DOWNGRADE:
        before = [rung for rung in climbed[1:] if _goes_before(rung, first, facts)]
        climbed = [*before, *(rung for rung in climbed if rung not in before)]
    return tuple(
        Prospect(rung=rung, duration_s=facts.estimates_s.get(rung), loses=_loses(rung, facts))
        for rung in climbed
    )


def _goes_before(rung: Rung, downgrade: Rung, facts: LadderFacts) -> bool:
    if rung not in (Rung.WARM_SWAP, Rung.REPLAY):
        return False
    known = facts.estimates_s
    faster = rung in known and downgrade in known and known[rung] + GENTLER_S < known[downgrade]
    return faster or facts.downgrade_failed


def _loses(rung: Rung, facts: LadderFacts) -> str:
    if rung is not Rung.RESTORE or facts.fenced:
        return NOTHING
    return SINCE_THE_BACKUP if facts.policy == "accept-loss" else NOTHING_OR_NOT_DONE


def next_rung(facts: LadderFacts, tried: Collection[Rung]) -> Prospect | None:
    """Return the rung to try next, with what it promises, or None when only a human can go on."""
    return next((prospect for prospect in prospects(facts) if prospect.rung not in tried), None)
