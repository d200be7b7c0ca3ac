"""Asks every backfill of a database to pause, from wherever it runs, and forgets it when the asker dies.

The request is a shared advisory lock of the asking session, in the target's own database: it needs no table
and no privilege, any number of sessions can ask at once, and a killed monitor throttles nobody for ever.
"""

from __future__ import annotations

from lockkeeper.backfill.throttle import PAUSE_LOCK
from lockkeeper.postgres.connection import Connection, execute


class ThrottleRequest:
    """Asks through one session, for as long as it is open; asking twice asks once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.asked = False

    def ask(self) -> None:
        """Ask backfills to pause; nobody holds this lock exclusively, so it never waits."""
        if not self.asked:
            self._call("pg_try_advisory_lock_shared")
            self.asked = True

    def release(self) -> None:
        """Let backfills go on."""
        if self.asked:
            self._call("pg_advisory_unlock_shared")
            self.asked = False

    def _call(self, function: str) -> None:
        execute(self._connection, f"SELECT pg_catalog.{function}(%s, %s)", PAUSE_LOCK)
