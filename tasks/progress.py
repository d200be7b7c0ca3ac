"""Progress in Prefect's UI that can never hold up a migration.

An update costs a request (74 ms on a quiet server, up to a minute of the client's own retries when the API
is away), so a thread of its own sends only the newest state, at most every few seconds. What cannot be
sent is dropped: progress is a courtesy, the journal is the truth.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from abc import ABC, abstractmethod
from typing import Generic, TypeVar
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

INTERVAL_S = 3.0
END_TIMEOUT_S = 2.0
logger = logging.getLogger(__name__)
Shown = TypeVar("Shown")


class Board(ABC, Generic[Shown]):
    """One artifact of the current flow run; made in the flow's or a task's thread, shown from any."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._latest: Shown | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._artifact: UUID | None = None
        # The thread needs the flow run's context: without it the artifact would belong to no run.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._publish,), name="lockkeeper-progress", daemon=True
        )
        self._thread.start()

    @abstractmethod
    def _create(self, shown: Shown) -> UUID:
        """Make the artifact."""

    @abstractmethod
    def _update(self, artifact: UUID, shown: Shown) -> None:
        """Replace what it shows."""

    def put(self, shown: Shown) -> None:
        """Replace what is shown; returns at once."""
        with self._changed:
            self._latest = shown
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
                self._send(latest)
            if closed:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=INTERVAL_S)

    def _send(self, shown: Shown) -> None:
        try:
            if self._artifact is None:
                self._artifact = self._create(shown)
            else:
                self._update(self._artifact, shown)
        except Exception as error:  # whatever the API's client raises, the migration goes on
            logger.debug("Progress could not be shown: %s", error)


class ProgressBoard(Board[tuple[float, str]]):
    """A progress bar with a text."""

    def show(self, percent: float, text: str) -> None:
        """Replace what is shown; returns at once."""
        self.put((percent, text))

    def _create(self, shown: tuple[float, str]) -> UUID:
        return create_progress_artifact(shown[0], key=self._key, description=shown[1])

    def _update(self, artifact: UUID, shown: tuple[float, str]) -> None:
        update_progress_artifact(artifact, shown[0], description=shown[1])


class RunBoard(ProgressBoard):
    """A run's progress bar: the steps that have ended, and how far the one is that runs."""

    def __init__(self, key: str) -> None:
        self._ended, self._expected, self._fraction = 0, 1, 0.0
        super().__init__(key)

    def reach(self, ended: int, expected: int, text: str) -> None:
        """Stand where ``ended`` of about ``expected`` steps are over."""
        self._ended, self._expected, self._fraction = ended, expected, 0.0
        self.say(text)

    def advance(self, fraction: float) -> None:
        """Say how much of a part of the step is done, from 0 to 1; a next part does not set the bar back."""
        self._fraction = max(self._fraction, fraction)

    def say(self, text: str) -> None:
        """Say what the step is doing now."""
        self.show(min(100.0, 100.0 * (self._ended + self._fraction) / self._expected), text)


class TableBoard(Board[list[dict[str, str]]]):
    """A table whose rows all have the same columns."""

    def __init__(self, key: str, description: str) -> None:
        self._description = description
        super().__init__(key)

    def _create(self, shown: list[dict[str, str]]) -> UUID:
        return create_table_artifact(shown, key=self._key, description=self._description)

    def _update(self, artifact: UUID, shown: list[dict[str, str]]) -> None:
        with get_client(sync_client=True) as client:  # a new artifact each time would fill the history
            client.update_artifact(artifact, ArtifactUpdate(data=json.dumps(shown)))
