"""A moment that somebody wants a server back at: a position in the log, a time, or the end of the archive."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

from lockkeeper.errors import ConfigurationError

LATEST = "latest"
_LSN = re.compile(r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$")


class RecoveryPoint(NamedTuple):
    """One moment; with neither ``lsn`` nor ``time`` it is the end of what there is."""

    lsn: str | None = None
    time: datetime | None = None

    def settings(self) -> dict[str, str]:
        """Return the server's settings: before what begins at ``lsn``, after the last commit by ``time``."""
        if self.lsn is not None:
            return {"recovery_target_lsn": self.lsn, "recovery_target_inclusive": "off"}
        if self.time is not None:
            return {"recovery_target_time": self.time.isoformat(" ")}
        return {}

    def __str__(self) -> str:
        """Say it as it may be given."""
        return self.lsn or (self.time.isoformat() if self.time else LATEST)


def parse_point(text: str) -> RecoveryPoint:
    """Read ``latest``, a position such as 0/3000060, or a time in ISO 8601 (without an offset: UTC).

    Raises:
        ConfigurationError: it is none of these.
    """
    if text == LATEST:
        return RecoveryPoint()
    if _LSN.match(text):
        return RecoveryPoint(lsn=text.upper())
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no moment: give {LATEST}, a position such as 0/3000060, or a time such as "
            "2026-11-23T10:45:00+00:00."
        ) from error
    return RecoveryPoint(time=time if time.tzinfo else time.replace(tzinfo=timezone.utc))
