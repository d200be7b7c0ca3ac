"""What an online operation refuses or could not do, with the facts as attributes and the next step in words.

The tree is its own, not that of ``lockkeeper.errors``: migrations run in the user's interpreter, and these
modules import nothing but the standard library, Alembic and SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Sequence

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"


class OnlineOperationError(RuntimeError):
    """Root of the tree. ``table`` as written in SQL; ``sqlstate`` of PostgreSQL's refusal, or None."""

    def __init__(self, message: str, *, table: str | None = None, sqlstate: str | None = None) -> None:
        self.table = table
        self.sqlstate = sqlstate
        super().__init__(message)


class UncommittedWorkError(OnlineOperationError):
    """The operation has to commit, and would commit something unfinished with it. Nothing was done."""


class NotOnlineError(OnlineOperationError):
    """What was asked for would read or rewrite the table under ACCESS EXCLUSIVE. Nothing was done."""


class LockWaitError(OnlineOperationError):
    """The lock was not to be had in time; ``blockers`` has a line for each session that stood in the way."""

    def __init__(self, doing: str, *, table: str, attempts: int, blockers: Sequence[str]) -> None:
        self.attempts = attempts
        self.blockers = tuple(blockers)
        who = "; ".join(self.blockers) or "whoever held it is gone"
        super().__init__(
            f"{doing}: no lock on {table} after {attempts} attempts ({who}). Nothing waits any more and "
            "the application goes on. Run the migration again when those sessions have ended: it continues "
            "where it stopped.",
            table=table,
            sqlstate=LOCK_NOT_AVAILABLE,
        )


class DefinitionConflictError(OnlineOperationError):
    """Something else already has the name; ``existing`` and ``wanted`` are the two definitions."""

    def __init__(self, what: str, *, table: str, existing: str, wanted: str) -> None:
        self.existing = existing
        self.wanted = wanted
        super().__init__(
            f"{what} is already there, and different. There: {existing}. Wanted: {wanted}. "
            "Drop or rename it in a revision of its own, or choose another name.",
            table=table,
        )


class InvalidDataError(OnlineOperationError):
    """Rows contradict what was asked for; ``query`` finds them. The constraint or index was taken back."""

    def __init__(self, message: str, *, table: str, query: str, sqlstate: str | None = None) -> None:
        self.query = query
        super().__init__(f"{message} Find the rows with: {query}", table=table, sqlstate=sqlstate)


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a SQLAlchemy error, whatever the driver (psycopg 2 and 3, asyncpg)."""
    original = getattr(error, "orig", None)
    for candidate in (original, getattr(original, "__cause__", None)):
        for name in ("sqlstate", "pgcode"):
            state = getattr(candidate, name, None)
            if isinstance(state, str):
                return state
    return None
