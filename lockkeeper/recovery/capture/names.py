"""Names of what a capture makes on a server: each leads back to its run, so that orphans can be found."""

from __future__ import annotations

import re

PREFIX = "lockkeeper_"
MESSAGE_PREFIX = "lockkeeper"
"""Prefix of the messages that we write into the log (``pg_logical_emit_message``)."""
OWN_TRANSACTION, MARKER = "own", "marker"
_FORBIDDEN = re.compile(r"[^a-z0-9_]")
_LENGTH = 59  # of PostgreSQL's 63, four are left for the number of an origin


def slot_name(run_id: str) -> str:
    """Return the name of the slot, the publication and the origins of a run, e.g. ``lockkeeper_2026...``."""
    return (PREFIX + _FORBIDDEN.sub("_", run_id.lower()))[:_LENGTH]


def origin_name(slot: str, number: int) -> str:
    """Return the name of the replication origin of the run's connection ``number``."""
    return f"{slot}_{number}"


def own_content(run_id: str) -> bytes:
    """Return the content of the message that marks a transaction as the migration's own."""
    return f"{OWN_TRANSACTION}:{run_id}".encode()


def marker_content(run_id: str) -> str:
    """Return the content of a message that is waited for: when it is in a copy, so is all before it."""
    return f"{MARKER}:{run_id}"
