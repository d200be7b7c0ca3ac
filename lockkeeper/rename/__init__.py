"""A column under a new name, of a new type, or both, while old and new versions of the application write it.

expand -> backfill -> validate -> flip -> observe -> scream test -> contract -> drop, and `abort` until the
contract, `undo` after it. It guarantees that no write is lost or overwritten, that no lock which stops the
application is waited for longer than milliseconds, and that a killed worker's successor goes on. It refuses,
by name, what it cannot carry over, to flip without a proof, and to be two workers at once. The engine over
connections of its own is ``lockkeeper.rename.engine``; migration scripts work with the stages.
"""

from __future__ import annotations

from lockkeeper.backfill.engine import BackfillProgress
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.parity import Parity
from lockkeeper.rename.plan import RenamePlan
from lockkeeper.rename.status import RenameStatus
from lockkeeper.rename.transitions import TRANSITIONS, Stage, may_follow

__all__ = [
    "TRANSITIONS",
    "BackfillProgress",
    "ColumnChange",
    "Parity",
    "RenamePlan",
    "RenameStatus",
    "Stage",
    "Throttle",
    "may_follow",
]
