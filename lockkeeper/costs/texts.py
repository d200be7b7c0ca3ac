"""Which lock a statement takes on which table, by its text.

Only for statements that run outside of any transaction and were over before anybody could look: what is not
recognised was sampled, or lasted no longer than the time between two samples. See "Explicit Locking" in
PostgreSQL's manual.
"""

from __future__ import annotations

import re

_NAME = r"((?:\"(?:[^\"]|\"\")+\"|[\w$]+)(?:\s*\.\s*(?:\"(?:[^\"]|\"\")+\"|[\w$]+))?)"
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LIGHT = re.compile(
    r"\b(?:VALIDATE\s+CONSTRAINT|SET\s+STATISTICS|CLUSTER\s+ON|SET\s+WITHOUT\s+CLUSTER)\b", re.IGNORECASE
)
_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"^\s*{pattern}", re.IGNORECASE | re.DOTALL), mode)
    for pattern, mode in (
        (rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}", "AccessExclusiveLock"),
        (
            rf"DROP\s+(?:TABLE|INDEX|VIEW|MATERIALIZED\s+VIEW)\s+(?:IF\s+EXISTS\s+)?{_NAME}",
            "AccessExclusiveLock",
        ),
        (rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}", "AccessExclusiveLock"),
        (rf"REFRESH\s+MATERIALIZED\s+VIEW\s+{_NAME}", "AccessExclusiveLock"),
        (rf"CLUSTER\s+(?:VERBOSE\s+)?{_NAME}", "AccessExclusiveLock"),
        (rf"VACUUM\s+(?:\(\s*FULL[^)]*\)|FULL)\s*(?:VERBOSE\s+)?{_NAME}", "AccessExclusiveLock"),
        (rf"CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+(?:ONLY\s+)?{_NAME}", "ShareLock"),
        (rf"REINDEX\s+(?:\([^)]*\)\s*)?(?:TABLE|INDEX)\s+{_NAME}", "ShareLock"),
        (
            rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\b.*?\bON\s+{_NAME}",
            "ShareRowExclusiveLock",
        ),
    )
)
_PARTS = re.compile(r'"((?:[^"]|"")+)"|([\w$]+)')
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)


def name_parts(written: str) -> tuple[str, ...]:
    """Return schema and name, or the name alone, as the catalogue has them."""
    return tuple(
        quoted.replace('""', '"') if quoted else plain.lower() for quoted, plain in _PARTS.findall(written)
    )


def waits_for_others(statement: str) -> bool:
    """Whether the statement works in several transactions of its own, and holds its locks only in part."""
    return bool(_CONCURRENTLY.search(_COMMENTS.sub(" ", statement)))


def lock_by_text(statement: str) -> tuple[str, str] | None:
    """Return the name of a table or index as written, and the mode of ``pg_locks``; None when not known."""
    bare = _COMMENTS.sub(" ", statement)
    if waits_for_others(bare):
        return None
    for pattern, mode in _KINDS:
        if found := pattern.match(bare):
            light = mode == "AccessExclusiveLock" and _LIGHT.search(bare)
            return found.group(1), "ShareUpdateExclusiveLock" if light else mode
    return None
