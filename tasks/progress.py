"""Progress in Prefect's UI that can never hold up a migration.

An update costs a request (74 ms on a quiet server, up to a minute of the client's own retries when the API
is away), so a thread of its own sends only the newest state, at most every few seconds. What cannot be
sent is dropped: progress is a courtesy, the journal is the truth.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

INTERVAL_S = 3.0
END_TIMEOUT_S = 2.0
logger = logging.getLogger(__name__)


class ProgressBoard:
    """One progress artifact of the current flow run; made in the flow's thread, shown from any."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._latest: tuple[float, str] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._artifact: UUID | None = None
        # The thread needs the flow run's context: without it the artifact would belong to no run.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._publish,), name="lockkeeper-progress", daemon=True
        )
        self._thread.start()

    def show(self, percent: float, text: str) -> None:
        """Replace what is shown; returns at once."""
        with self._changed:
            self._latest = (percent, text)
            self._changed.notify()

    def close(self) -> None:
        """Send the last state and end; waits for it no longer than ``END_TIMEOUT_S`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(END_TIMEOUT_S)

    def _publish(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._latest is not None or self._closed)
                latest, self._latest = self._latest, None
                closed = self._closed
            if latest is not None:
                self._send(*latest)
            if closed:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=INTERVAL_S)

    def _send(self, percent: float, text: str) -> None:
        try:
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, key=self._key, description=text)
            else:
                update_progress_artifact(self._artifact, percent, description=text)
        except Exception as error:  # whatever the API's client raises, the migration goes on
            logger.debug("Progress could not be shown: %s", error)
