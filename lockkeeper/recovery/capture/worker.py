"""The capture's process: streams from the slot into the spool until it is told to end, or must.

It outlives the run that started it. Killed at any point it loses nothing: the server keeps what was not
confirmed, and ``Capture.ensure_running`` starts another one. SIGTERM: what has come is flushed, confirmed,
and the slot stays. A limit, or the end of its time: everything is removed from the server and the record
says why. It never stays for nothing: when its folder is gone it removes everything from the server and ends,
and when the server cannot be reached for ``unreachable_s`` it ends as a dead one, to be taken up again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lockkeeper.config import Target
from lockkeeper.errors import CaptureError, DatabaseError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, converting_errors, fetch_all, named_query
from lockkeeper.record import explain
from lockkeeper.recovery import pgoutput
from lockkeeper.recovery.capture.ending import remove_from_server
from lockkeeper.recovery.capture.files import CLAIM_WAIT_S, claimed, load, save
from lockkeeper.recovery.capture.limits import Measured, reason_to_end
from lockkeeper.recovery.capture.models import (
    CaptureRecord,
    CaptureState,
    CaptureStatus,
    record_path,
    spool_folder,
    status_path,
)
from lockkeeper.recovery.capture.receive import Receiver, stream
from lockkeeper.recovery.capture.sentinel import sentinel_name, start_sentinel
from lockkeeper.recovery.capture.slot import replication_connection
from lockkeeper.recovery.capture.tables import PACKAGE
from lockkeeper.recovery.capture.upload import SegmentUpload
from lockkeeper.recovery.hand_over import received_job
from lockkeeper.recovery.spool import SpoolWriter, spool_bytes

CLAIM = "capture.lock"
RETRY_BASE_S, RETRY_MAX_S = 0.2, 5.0
FORGOTTEN = "its folder is gone"
GONE = "the server has dropped its slot, or the WAL that it needs"
logger = logging.getLogger(__name__)


class CaptureWorker:
    """One process's work on one capture."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target = target
        self._folder = folder
        record = load(record_path(folder), CaptureRecord)
        if record is None:
            raise CaptureError(f"There is no capture in {folder}.")
        self._record = record
        self._spool = SpoolWriter(spool_folder(folder))
        self._receiver = Receiver(record, self._spool, self._describe)
        self._upload = SegmentUpload(target, record, folder)
        self._changed_at = 0
        self._stop = threading.Event()
        self._sentinel: Connection | None = None
        self._server: Connection | None = None
        self._sessions = contextlib.ExitStack()
        self._retained: int | None = None
        self._reason: str | None = None
        self._reached_at = time.monotonic()

    def run(self) -> None:
        """Work until the end; reconnects by itself when the connection is lost."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        delay_s = RETRY_BASE_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._session()
                break
            except DatabaseError as error:
                logger.warning("capture of %s interrupted: %s", self._record.database, error)
                self._receiver.reconnected()
                if not self._every_second() or self._is_unreachable():
                    break
                delay_s = (
                    RETRY_BASE_S if time.monotonic() - began > RETRY_MAX_S else min(delay_s * 2, RETRY_MAX_S)
                )
                self._stop.wait(delay_s)
        if self._reason != FORGOTTEN:
            self._upload.finish(self._spool)
        self._sessions.close()
        if self._reason is not None:
            self._end(self._reason)
        elif self._is_unreachable():
            self._tell(CaptureState.DEAD, f"no server for {self._record.limits.unreachable_s:.0f} s")
        else:
            self._tell(CaptureState.DEAD, "stopped")

    def _is_unreachable(self) -> bool:
        return time.monotonic() - self._reached_at > self._record.limits.unreachable_s

    def _session(self) -> None:
        connection = replication_connection(self._target.url, "capture", self._record.run_id)
        try:
            with connection.cursor() as cursor:
                with converting_errors():
                    cursor.start_replication(
                        slot_name=self._record.slot, decode=False, status_interval=10,
                        options=self._options(),
                    )  # fmt: skip
                stream(cursor, self._receiver, self._every_second)
        finally:
            connection.close()

    def _options(self) -> dict[str, str]:
        options = {
            "proto_version": "1",
            "publication_names": f'"{self._record.publication}"',
            "messages": "true",
        }
        if self._record.skips_origins:
            options["origin"] = "none"
        return options

    def _every_second(self) -> bool:
        """Look after everything beside the stream; says whether to go on."""
        if not record_path(self._folder).exists():
            self._reason = FORGOTTEN
            return False
        self._look_at_server()
        self._reload()
        self._upload.advance(self._spool)
        if self._reason is None:
            self._reason = self._record.ended or reason_to_end(
                self._record.limits, self._record.until, self._measure()
            )
        self._tell(CaptureState.RUNNING, "")
        return self._reason is None and not self._stop.is_set()

    def _reload(self) -> None:
        """The record may be changed from outside: a new bake time, or its end."""
        changed_at = record_path(self._folder).stat().st_mtime_ns
        if changed_at != self._changed_at:
            self._changed_at = changed_at
            self._record = load(record_path(self._folder), CaptureRecord) or self._record

    def _look_at_server(self) -> None:
        """Through a session in the maintenance database, which a fence does not touch."""
        record = self._record
        try:
            if self._server is None:
                self._server = self._sessions.enter_context(
                    connect(
                        self._target.maintenance_url, "capture-watch", run_id=record.run_id,
                        statement_timeout_ms=5000, connect_timeout_s=3,
                    )
                )  # fmt: skip
            values = {
                "slot": record.slot, "sentinel": sentinel_name(record.slot), "database": record.database
            }  # fmt: skip
            row = fetch_all(self._server, named_query("watch_slot", PACKAGE), values)[0]
        except DatabaseError as error:
            logger.warning("the slot cannot be watched: %s", error)
            self._server = None
            self._sessions.close()
            return
        self._reached_at = time.monotonic()
        is_there, retained, has_sentinel = row
        self._retained = None if retained is None else int(retained)
        if not is_there:
            self._reason = self._reason or GONE
        elif not has_sentinel:
            self._start_sentinel()

    def _start_sentinel(self) -> None:
        """A server that is too busy to take it now is asked again a second later."""
        try:
            self._sentinel = start_sentinel(
                self._target.maintenance_url, self._record.slot, self._record.limits
            )
        except DatabaseError as error:
            logger.warning("the sentinel could not be started: %s", error)

    def _measure(self) -> Measured:
        folder = spool_folder(self._folder)
        return Measured(utc_now(), spool_bytes(folder), shutil.disk_usage(folder).free, self._retained)

    def _describe(self, relation: int) -> dict[str, Any] | None:
        """Ask the catalogue which column is which; None when it cannot be told (under a fence, say)."""
        with contextlib.suppress(DatabaseError), connect(
            self._target.url, "capture-describe", run_id=self._record.run_id, statement_timeout_ms=2000,
            connect_timeout_s=3,
        ) as connection:  # fmt: skip
            rows = fetch_all(connection, named_query("describe_relation", PACKAGE), {"relation": relation})
            return rows[0][0] if rows else None
        return None

    def _tell(self, state: CaptureState, reason: str) -> None:
        receiver = self._receiver
        status = CaptureStatus(
            state=state,
            reason=reason,
            durable_lsn=pgoutput.format_lsn(self._spool.end_lsn),
            spool_bytes=spool_bytes(spool_folder(self._folder)),
            retained_wal_bytes=self._retained,
            transactions=receiver.transactions,
            changes=receiver.changes,
            own_transactions=receiver.own_transactions,
            uploaded_segments=self._upload.uploaded,
            updated_at=utc_now(),
        )
        save(status_path(self._folder), status, durable=False)

    def tell_death(self, error: BaseException) -> None:
        """Write down why the process dies, for whoever finds it dead."""
        self._tell(CaptureState.DEAD, explain(error))

    def _end(self, reason: str) -> None:
        """Leave nothing on the server. What fails here is found by its name, and by the sentinel."""
        try:
            left = remove_from_server(self._target, self._record)
        except DatabaseError as error:
            left = [f"slot {self._record.slot} could not be dropped: {error}"]
        for line in left:
            logger.error("%s", line)
        if reason == FORGOTTEN:
            return
        self._record = self._record.model_copy(update={"ended": self._record.ended or reason})
        save(record_path(self._folder), self._record)
        self._tell(CaptureState.ENDED, "; ".join([self._record.ended or reason, *left]))


def main() -> None:
    """Run as a process of its own; what to do comes in the environment."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    target, folder, _ = received_job()
    with claimed(folder / CLAIM, CLAIM_WAIT_S) as ours:
        if ours:
            logger.info("capture process %d", os.getpid())
            worker = CaptureWorker(target, folder)
            try:
                worker.run()
            except BaseException as error:
                worker.tell_death(error)
                raise
