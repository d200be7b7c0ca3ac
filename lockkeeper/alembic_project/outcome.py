"""What became of a revision that did not end well: asked of the server, not guessed.

The child reports each COMMIT before it is sent, with the transaction's id, and each statement that commits
by itself before it is executed. So when the process, the connection or the patience ends, the server can
still be asked about exactly these transactions. What cannot be known counts as committed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value, named_query

PACKAGE = "lockkeeper.alembic_project"
END_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05


def end_sessions(url: URL, name: str, backends: Sequence[str], *, timeout_s: float = END_TIMEOUT_S) -> None:
    """End every session of this run and wait until none is left: afterwards nothing of it goes on.

    Args:
        url: the database.
        name: the sessions' ``application_name``.
        backends: sessions known as ``pid@start``, should one have changed its name.
        timeout_s: how long to wait.

    Raises:
        DatabaseError: one is still there, or the server cannot be asked.
    """
    values = {"name": name, "backends": list(backends)}
    deadline = time.monotonic() + timeout_s
    with connect(url, "end-sessions") as connection:
        while left := fetch_all(connection, named_query("end_sessions", PACKAGE), values):
            if time.monotonic() >= deadline:
                pids = ", ".join(str(pid) for pid, _ in left)
                raise DatabaseError(f"sessions {pids} do not end; end them by hand")
            time.sleep(POLL_INTERVAL_S)


class Commits:
    """What one attempt at a revision sent to be committed; a listener of ``ProjectProcess.request``."""

    def __init__(self) -> None:
        self.transactions: list[tuple[int, bool]] = []
        self._autocommitted: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        """Note one event of the child."""
        if event["event"] == "committing":
            self.transactions.append((event["xid"], event["final"]))
        elif event["event"] == "autocommit":
            self._autocommitted.append(event["statement"])
        elif event["event"] == "autocommit_undone" and self._autocommitted[-1:] == [event["statement"]]:
            self._autocommitted.pop()

    @property
    def outside_transaction(self) -> bool:
        """Whether a statement ran that commits by itself (and did not undo itself by failing)."""
        return bool(self._autocommitted)

    def may_remain(self, url: URL) -> bool:
        """Whether anything of the attempt may be in the database; what cannot be known counts as yes.

        Ask only after the attempt's sessions have ended.
        """
        if self.outside_transaction:
            return True
        try:
            return any(self._status(url, xid) != "aborted" for xid, _ in self.transactions)
        except DatabaseError:
            return True

    def is_applied(self, url: URL) -> bool:
        """Whether the transaction that wrote the version table was committed, although an error came."""
        try:
            return any(final and self._status(url, xid) == "committed" for xid, final in self.transactions)
        except DatabaseError:
            return False

    def _status(self, url: URL, xid: int) -> str | None:
        with connect(url, "outcome") as connection:
            return str(fetch_value(connection, "SELECT pg_catalog.txid_status(%s)", (xid,)))


def drop_empty_version_table(url: URL, quoted_name: str, *, lock_timeout_ms: int = 1000) -> None:
    """Drop a version table that Alembic made and that holds no row; takes ACCESS EXCLUSIVE on it, briefly.

    Raises:
        DatabaseError: the lock was not available, or the role may not drop it.
    """
    name = sql.SQL(quoted_name)
    with connect(url, "version-table", autocommit=False, lock_timeout_ms=lock_timeout_ms) as connection:
        execute(connection, "SET TRANSACTION READ WRITE")  # a write fence may stand
        if fetch_value(connection, "SELECT pg_catalog.to_regclass(%s)", (quoted_name,)) is None:
            return
        execute(connection, sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        if fetch_all(connection, sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name)):
            return
        execute(connection, sql.SQL("DROP TABLE {}").format(name))
        connection.commit()
