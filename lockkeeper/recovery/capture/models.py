"""What a capture knows of itself: written to its folder and to storage, so that another process can go on."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from lockkeeper.models import Check, Fact

RECORD, STATUS, SPOOL = "capture.json", "capture-status.json", "spool"


class CaptureLimits(Fact):
    """When a capture ends itself, before the server or this machine is in danger."""

    retained_wal_bytes: int = Field(default=8 * 2**30, ge=1, description="WAL that the slot may keep back.")
    spool_bytes: int = Field(default=16 * 2**30, ge=1, description="Size of the spool on this machine.")
    free_disk_bytes: int = Field(default=2**30, ge=0, description="What must stay free on the spool's disk.")
    abandoned_s: float = Field(
        default=3600,
        gt=0,
        description="How long a slot that nobody reads from is kept for a capture to resume.",
    )
    unreachable_s: float = Field(
        default=1800,
        gt=0,
        description="How long the processes go on asking for a server that cannot be reached.",
    )


class CapturedColumn(Fact):
    """A column when the capture began. ``number`` stays the same when the column is renamed."""

    name: str
    number: int
    type_oid: int
    typmod: int


class CapturedTable(Fact):
    """A table of the publication, when the capture began.

    ``former_identity`` is what REPLICA IDENTITY goes back to: ``DEFAULT``, ``NOTHING``, ``FULL`` or
    ``USING INDEX ...``. ``full`` says whether whole before-images are captured.
    """

    oid: int
    schema_name: str
    name: str
    identity: str = Field(description='Qualified and quoted, e.g. public.users or "My Schema"."T".')
    former_identity: str
    full: bool
    columns: tuple[CapturedColumn, ...]


class OutsideTable(Fact):
    """A table whose changes are not captured, and why."""

    table: str
    reason: str


Marks = Literal["origin", "message"]


class CaptureRecord(Fact):
    """Everything that is needed to go on with a capture, or to end it."""

    run_id: str
    target: str
    database: str
    slot: str
    publication: str
    server_version_num: int
    marks: Marks
    created_at: datetime
    limits: CaptureLimits
    start_lsn: str | None = None
    until: datetime | None = Field(default=None, description="When the capture ends by itself.")
    tables: tuple[CapturedTable, ...] = ()
    published: tuple[str, ...] = Field(
        default=(), description="What the publication names: roots, not leaves."
    )
    outside: tuple[OutsideTable, ...] = ()
    skips_origins: bool = Field(
        default=False,
        description="Whether the server leaves out everything that has an origin: only ours has.",
    )
    ended: str | None = Field(
        default=None, description="Why it has ended; nothing of it is on the server then."
    )


class CaptureState(str, Enum):
    """Whether a capture goes on. A dead one can be taken up again, an ended one cannot."""

    RUNNING = "running"
    DEAD = "dead"
    ENDED = "ended"


class CaptureStatus(Fact):
    """How far a capture has come; written once a second by its process."""

    state: CaptureState
    reason: str = ""
    durable_lsn: str = "0/0"
    spool_bytes: int = 0
    retained_wal_bytes: int | None = None
    transactions: int = 0
    changes: int = 0
    own_transactions: int = 0
    uploaded_segments: int = 0
    updated_at: datetime


class Readiness(NamedTuple):
    """Whether changes can be captured here; ``checks`` say why (not), ``outside`` what would be left out."""

    possible: bool
    checks: tuple[Check, ...]
    outside: tuple[OutsideTable, ...]
    marks: Marks


def record_path(folder: Path) -> Path:
    """Return the file of the record."""
    return folder / RECORD


def status_path(folder: Path) -> Path:
    """Return the file of the status."""
    return folder / STATUS


def spool_folder(folder: Path) -> Path:
    """Return the folder of the spool."""
    return folder / SPOOL
