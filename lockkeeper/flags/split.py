"""Which keys a percentage covers: the same in every process, and those of 1 % are among those of 10 %."""

from __future__ import annotations

import hashlib

BUCKETS = 10_000


def bucket(flag: str, targeting_key: str) -> int:
    """Return the key's place in 0..9999, the same for ever; another flag shuffles anew."""
    digest = hashlib.sha256(f"{flag}\x00{targeting_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def covers(flag: str, percent: int, targeting_key: str | None) -> bool:
    """Say whether ``percent`` of the keys, of which this is one, are to see the new behaviour.

    Without a key only 0 and 100 % can be told apart: anything between is then no.
    """
    if percent <= 0 or percent >= 100:
        return percent >= 100
    return bool(targeting_key) and bucket(flag, str(targeting_key)) * 100 < percent * BUCKETS
