"""What a replay tells of itself."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from pydantic import Field

from lockkeeper.models import Fact
from lockkeeper.recovery.replay.bookkeeping import ParkedWrite

RECORD, STATUS, PARKED = "replay.json", "replay-status.json", "parked.jsonl"


class ReplayRecord(Fact):
    """Which copy a capture is replayed into."""

    run_id: str
    copy_database: str
    drop_copy_when_expired: bool = False


class ReplayState(str, Enum):
    """Whether a replay goes on; a dead or stopped one can be taken up again."""

    RUNNING = "running"
    DEAD = "dead"
    STOPPED = "stopped"
    FAILED = "failed"


class ReplayStatus(Fact):
    """How far a replay has come; written twice a second by its process."""

    state: ReplayState
    reason: str = ""
    end_lsn: str = "0/0"
    transactions: int = 0
    changes: int = 0
    busy_s: float = Field(default=0.0, description="Seconds spent applying since the process started.")
    updated_at: datetime


class ReplayOutcome(Fact):
    """What was carried over, all in all."""

    transactions: int
    changes: int
    end_lsn: str
    parked: tuple[ParkedWrite, ...] = ()
    parked_table: str | None = None
    warnings: tuple[str, ...] = ()
