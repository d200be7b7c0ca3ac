"""The write fence of a run: from before its backup until its end, applications may only read.

For databases whose changes cannot be captured, by policy. It costs that downtime and loses nothing: what the
backup holds is all that there is. A guard lifts it when the run's process is killed.
"""

from __future__ import annotations

import contextlib
import time

from lockkeeper.config import Target
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.read_only import keep_read_only, make_read_only, make_writable
from lockkeeper.recovery.fence_guard import guarded_fence

LOCK_TIMEOUT_MS = 10_000


class WriteFence:
    """Stands from its making until it is lifted, or kept for a human; locks no table."""

    def __init__(self, target: Target, run_id: str) -> None:
        """Put it up.

        Raises:
            DatabaseError: as ``make_read_only``; nothing has changed.
            ProgramError: its guard does not start; nothing has changed.
        """
        self._target, self._run_id = target, run_id
        with contextlib.ExitStack() as stack:
            stack.enter_context(guarded_fence(target.maintenance_url, target.database, run_id, "read-only"))
            with connect(
                target.maintenance_url, "fence", run_id=run_id, lock_timeout_ms=LOCK_TIMEOUT_MS
            ) as server:
                make_read_only(server, target.database, run_id=run_id, reason="it is being migrated")
            self._guard = stack.pop_all()
        self._began = time.monotonic()

    def lift(self) -> float:
        """Let applications write again; returns for how many seconds they could not.

        A restore that has taken the database's place has ended the fence already.

        Raises:
            DatabaseError: not possible now; the guard goes on trying when this process has ended.
        """
        with connect(
            self._target.maintenance_url, "unfence", run_id=self._run_id, lock_timeout_ms=LOCK_TIMEOUT_MS
        ) as server:
            make_writable(server, self._target.database)
        self._guard.close()
        return time.monotonic() - self._began

    def keep(self, reason: str) -> None:
        """Let it stand beyond this process, until a human decides; raises DatabaseError."""
        with connect(self._target.maintenance_url, "fence", run_id=self._run_id) as server:
            keep_read_only(server, self._target.database, reason)
        self._guard.close()
