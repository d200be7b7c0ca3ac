"""Captures what an application writes, from a backup's snapshot on: a slot, its process, and the spool."""

from __future__ import annotations

from lockkeeper.recovery.capture.handle import (
    Capture,
    StartedCapture,
    find_captures,
    open_capture,
    starting_capture,
)
from lockkeeper.recovery.capture.models import (
    CaptureLimits,
    CaptureRecord,
    CaptureState,
    CaptureStatus,
    OutsideTable,
    Readiness,
)
from lockkeeper.recovery.capture.own import (
    adopt_tables_statements,
    own_session_statements,
    own_transaction_statements,
)
from lockkeeper.recovery.capture.readiness import capture_readiness
from lockkeeper.recovery.capture.tables import tables_not_captured

__all__ = [
    "Capture",
    "CaptureLimits",
    "CaptureRecord",
    "CaptureState",
    "CaptureStatus",
    "OutsideTable",
    "Readiness",
    "StartedCapture",
    "adopt_tables_statements",
    "capture_readiness",
    "find_captures",
    "open_capture",
    "own_session_statements",
    "own_transaction_statements",
    "starting_capture",
    "tables_not_captured",
]
