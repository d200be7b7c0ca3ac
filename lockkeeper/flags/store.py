"""The table of flags and its audit, in schema ``lockkeeper`` of the target's own database.

A flip is one short transaction that locks one row; readers never wait for it. Who flipped what, when and
why is written by the table's trigger in the same transaction, whoever does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from lockkeeper.errors import ConfigurationError, RefusedError
from lockkeeper.flags.switch import FlagChange
from lockkeeper.postgres.connection import Connection, execute, fetch_all, fetch_value, named_query

_PACKAGE = "lockkeeper.flags"
_EXISTS = "SELECT pg_catalog.to_regclass('lockkeeper.feature_flag') IS NOT NULL"
_LONGEST_NAME = 200


@dataclass(frozen=True)
class PastChange:
    """One line of a flag's audit; None stands for a flag that did not exist."""

    percent_before: int | None
    percent_after: int | None
    changed_at: datetime
    changed_by: str
    reason: str


def ensure_flags(connection: Connection) -> None:
    """Make the tables where there are none; can run twice, locks nothing of the application's."""
    if not fetch_value(connection, _EXISTS):
        execute(connection, named_query("create", _PACKAGE))


def claim_flag(connection: Connection, flag: str, subject: str) -> None:
    """Let a flag, at 0 %, belong to one change for good; can run twice.

    Raises:
        RefusedError: the flag belongs to something else, or is up already.
    """
    values = {"name": flag, "subject": subject}
    if flag_of(connection, subject) is None:
        execute(connection, named_query("claim", _PACKAGE), cast(Any, values))
    if flag_of(connection, subject) != flag:
        raise RefusedError(
            f"The flag {flag!r} is in use for something else than {subject}, or {subject} has another flag. "
            "Choose another name with --flag."
        )


def flag_of(connection: Connection, subject: str) -> str | None:
    """Return the flag that belongs to a change, or None."""
    if not fetch_value(connection, _EXISTS):
        return None
    query = "SELECT name FROM lockkeeper.feature_flag WHERE subject = %s"
    rows = fetch_all(connection, query, (subject,))
    return str(rows[0][0]) if rows else None


def read_percent(connection: Connection, flag: str) -> int | None:
    """Return how many percent of the keys see the new behaviour; None when there is no such flag."""
    if not fetch_value(connection, _EXISTS):
        return None
    rows = fetch_all(connection, "SELECT percent FROM lockkeeper.feature_flag WHERE name = %s", (flag,))
    return int(rows[0][0]) if rows else None


def age_s(connection: Connection, flag: str) -> float:
    """Return for how many seconds the flag has been where it is."""
    query = "SELECT extract(EPOCH FROM now() - changed_at) FROM lockkeeper.feature_flag WHERE name = %s"
    return float(fetch_value(connection, query, (flag,)))


def set_percent(connection: Connection, change: FlagChange) -> None:
    """Flip in one transaction; the percentage that is there already changes and audits nothing.

    Raises:
        ConfigurationError: that cannot be a flag's name or a percentage.
    """
    if not 0 < len(change.flag) <= _LONGEST_NAME or not 0 <= change.percent <= 100:
        raise ConfigurationError(f"No flag {change.flag!r} can be at {change.percent} %.")
    values: Any = {
        "name": change.flag,
        "percent": change.percent,
        "changed_by": change.changed_by,
        "reason": change.reason,
    }
    execute(connection, named_query("set_percent", _PACKAGE), values)


def remove_flag(connection: Connection, flag: str) -> None:
    """Forget a flag; its audit stays. Harmless when there is none."""
    if fetch_value(connection, _EXISTS):
        execute(connection, "DELETE FROM lockkeeper.feature_flag WHERE name = %s", (flag,))


def history(connection: Connection, flag: str) -> list[PastChange]:
    """Return every change of a flag, oldest first."""
    if not fetch_value(connection, _EXISTS):
        return []
    return [
        PastChange(*row) for row in fetch_all(connection, named_query("history", _PACKAGE), {"name": flag})
    ]
