"""Asks every backfill of a database to pause, from wherever it runs, and forgets it when the asker dies.

The request is a shared advisory lock of the asking session, in the target's own database: it needs no table
and no privilege, any number of sessions can ask at once, and a killed monitor throttles nobody for ever.
"""

from __future__ import annotations

from lockkeeper.postgres.connection import Connection, execute, fetch_value, named_query

THROTTLE_CLASS, THROTTLE_OBJECT = 0x4C4D, 1  # "LM"; 0x4C4B is the migration lock's


def is_asked(connection: Connection) -> bool:
    """Whether a backfill of this database should pause now; for between two batches, takes no lock."""
    values = {"class": THROTTLE_CLASS, "object": THROTTLE_OBJECT}
    return bool(fetch_value(connection, named_query("throttle_asked", "lockkeeper.monitoring"), values))


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
        keys = (THROTTLE_CLASS, THROTTLE_OBJECT)
        execute(self._connection, f"SELECT pg_catalog.{function}(%s, %s)", keys)
