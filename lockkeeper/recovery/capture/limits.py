"""Decides when a capture must end itself: a pure function of what was measured."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from lockkeeper.recovery.capture.models import CaptureLimits

EARLY = 0.9
"""The capture ends in order a little before the sentinel would cut it off."""
EXPIRED = "its time is over"


class Measured(NamedTuple):
    """What a capture takes at the moment. ``retained_wal_bytes`` is None when it cannot be told."""

    now: datetime
    spool_bytes: int
    free_disk_bytes: int
    retained_wal_bytes: int | None


def reason_to_end(limits: CaptureLimits, until: datetime | None, measured: Measured) -> str | None:
    """Return why a capture must end now, or None."""
    if until is not None and measured.now >= until:
        return EXPIRED
    if measured.spool_bytes > limits.spool_bytes:
        return f"its spool has {_mib(measured.spool_bytes)}, the limit is {_mib(limits.spool_bytes)}"
    if measured.free_disk_bytes < limits.free_disk_bytes:
        return (
            f"the disk of its spool has {_mib(measured.free_disk_bytes)} free, "
            f"{_mib(limits.free_disk_bytes)} must stay"
        )
    retained = measured.retained_wal_bytes
    if retained is not None and retained > EARLY * limits.retained_wal_bytes:
        return (
            f"the server keeps {_mib(retained)} of WAL for it, of at most {_mib(limits.retained_wal_bytes)}: "
            "a transaction that stays open, or a capture that is too slow"
        )
    return None


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
