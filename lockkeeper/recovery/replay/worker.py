"""The replay's process: reads the spool as it grows and applies it to the copy, until told to stop.

Killed at any point it loses nothing: how far the copy has come is in the copy, committed with the changes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError, LockkeeperError, ReplayError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, execute
from lockkeeper.postgres.databases import drop_database, exists
from lockkeeper.recovery.capture.files import CLAIM_WAIT_S, claimed, load, save
from lockkeeper.recovery.capture.limits import EXPIRED
from lockkeeper.recovery.capture.models import CaptureRecord, record_path, spool_folder
from lockkeeper.recovery.hand_over import received_job
from lockkeeper.recovery.pgoutput import format_lsn
from lockkeeper.recovery.replay.bookkeeping import Progress, prepare
from lockkeeper.recovery.replay.catalogue import read_catalogue
from lockkeeper.recovery.replay.feed import Feed
from lockkeeper.recovery.replay.models import RECORD, STATUS, ReplayRecord, ReplayState, ReplayStatus
from lockkeeper.recovery.replay.session import copy_session, silence_triggers
from lockkeeper.recovery.spool import SpoolReader, segment_to_resume_at
from lockkeeper.redaction import redact

CLAIM = "replay.lock"
IDLE_PAUSE_S = 0.01
TELL_INTERVAL_S = 0.5
LOOK_INTERVAL_S = 1.0
RETRY_S = 1.0
logger = logging.getLogger(__name__)


class ReplayWorker:
    """One process's work on one copy."""

    def __init__(self, target: Target, folder: Path, copy_url: URL) -> None:
        self._target = target
        self._folder = folder
        self._copy_url = copy_url
        record = load(record_path(folder), CaptureRecord)
        if record is None:
            raise ReplayError(f"There is no capture in {folder}.")
        self._record = record
        self._stop = threading.Event()
        self._told_at = self._looked_at = 0.0
        self._reached_at = time.monotonic()
        self._busy_s = 0.0
        self._progress = Progress(0, 0, 0)

    def run(self) -> None:
        """Work until told to stop, or until the capture has ended and all of it is in the copy."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        self._tell(ReplayState.RUNNING, "")
        while not self._stop.is_set():
            try:
                with copy_session(self._copy_url, self._record.run_id) as connection:
                    self._follow(connection)
                return
            except DatabaseError as error:
                logger.warning("replay into %s interrupted: %s", self._copy_url.database, error)
                if self._is_forgotten():
                    return
                if self._is_unreachable() or self._copy_is_gone():
                    self._tell(ReplayState.STOPPED, f"there is no copy any more: {error}")
                    return
                self._tell(ReplayState.RUNNING, f"interrupted: {error}")
                self._stop.wait(RETRY_S)
            except LockkeeperError as error:
                self._tell(ReplayState.FAILED, str(error))
                raise
        if not self._is_forgotten():
            self._tell(ReplayState.STOPPED, "stopped")

    def _is_unreachable(self) -> bool:
        return time.monotonic() - self._reached_at > self._record.limits.unreachable_s

    def _copy_is_gone(self) -> bool:
        """Ask the server, since a refused connection does not say why; a server that is away says nothing."""
        with contextlib.suppress(DatabaseError), connect(
            self._target.maintenance_url, "replay-look", connect_timeout_s=3
        ) as server:  # fmt: skip
            return not exists(server, str(self._copy_url.database))
        return False

    def _is_forgotten(self) -> bool:
        """Whether somebody has removed its folder: there is nothing to replay, and nobody to tell."""
        return not record_path(self._folder).exists()

    def _follow(self, connection: Connection) -> None:
        self._progress = prepare(connection)
        silence_triggers(connection)
        feed = Feed(connection, self._record, read_catalogue(connection), self._progress)
        spool = spool_folder(self._folder)
        reader = SpoolReader(spool, segment_to_resume_at(spool, self._progress.end_lsn))
        while not self._stop.is_set():
            ended = self._look_around(connection)
            began = time.monotonic()
            seen = False
            for block in reader.available():
                seen = True
                feed.take_all(block.messages())
                self._tell_now_and_then(feed)
                if self._stop.is_set():
                    break
            feed.commit()
            if seen:
                self._busy_s += time.monotonic() - began
            self._tell_now_and_then(feed)
            if not seen and ended is not None:
                self._finish(feed, ended)
                return
            if not seen:
                self._stop.wait(IDLE_PAUSE_S)
        self._progress = feed.progress
        if not self._is_forgotten():
            self._tell(ReplayState.STOPPED, "stopped")

    def _look_around(self, connection: Connection) -> str | None:
        """Once a second: is the copy still there, is anybody, and has the capture ended, which is returned.

        Raises:
            DatabaseError: the copy is gone, which a replay with nothing to do would not notice.
        """
        if time.monotonic() - self._looked_at >= LOOK_INTERVAL_S:
            self._looked_at = time.monotonic()
            execute(connection, "SELECT 1")
            self._reached_at = time.monotonic()
            if self._is_forgotten():
                self._stop.set()
            self._record = load(record_path(self._folder), CaptureRecord) or self._record
        return self._record.ended

    def _finish(self, feed: Feed, reason: str) -> None:
        self._progress = feed.progress
        self._tell(ReplayState.STOPPED, f"the capture has ended: {reason}")
        replay = load(self._folder / RECORD, ReplayRecord)
        if replay is not None and replay.drop_copy_when_expired and reason == EXPIRED:
            with contextlib.suppress(DatabaseError), connect(self._target.maintenance_url, "drop") as server:
                drop_database(server, replay.copy_database)

    def _tell_now_and_then(self, feed: Feed) -> None:
        self._progress = feed.progress
        if time.monotonic() - self._told_at >= TELL_INTERVAL_S:
            self._tell(ReplayState.RUNNING, "")

    def _tell(self, state: ReplayState, reason: str) -> None:
        self._told_at = time.monotonic()
        status = ReplayStatus(
            state=state,
            reason=redact(reason),
            end_lsn=format_lsn(self._progress.end_lsn),
            transactions=self._progress.transactions,
            changes=self._progress.changes,
            busy_s=round(self._busy_s, 3),
            updated_at=utc_now(),
        )
        save(self._folder / STATUS, status, durable=False)


def main() -> None:
    """Run as a process of its own; what to do comes in the environment."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    target, folder, more = received_job()
    copy_url = target.maintenance_url.set(database=more["copy_database"])
    with claimed(folder / CLAIM, CLAIM_WAIT_S) as ours:
        if ours:
            logger.info("replay process %d", os.getpid())
            ReplayWorker(target, folder, copy_url).run()
