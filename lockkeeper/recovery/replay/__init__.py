"""Replays captured changes into a restored copy: it becomes the source without the migration."""

from __future__ import annotations

from lockkeeper.recovery.replay.bookkeeping import ParkedWrite
from lockkeeper.recovery.replay.constraints import Constraint, check_constraints
from lockkeeper.recovery.replay.handle import Replay, open_replay, start_replay
from lockkeeper.recovery.replay.models import ReplayOutcome, ReplayState, ReplayStatus

__all__ = [
    "Constraint",
    "ParkedWrite",
    "Replay",
    "ReplayOutcome",
    "ReplayState",
    "ReplayStatus",
    "check_constraints",
    "open_replay",
    "start_replay",
]
