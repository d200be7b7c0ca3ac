"""A capture from outside: started, found again, asked how it stands, ended. The work is the process's."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from lockkeeper.backup.snapshot import ExportedSnapshot
from lockkeeper.config import Target
from lockkeeper.errors import CaptureEndedError, CaptureError, RefusedError
from lockkeeper.local.daemons import ProcessIdentity, end_process, log_tail
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, fetch_value
from lockkeeper.recovery.capture.ending import remove_from_server
from lockkeeper.recovery.capture.files import capture_folder, captures_home, is_claimed, load, save
from lockkeeper.recovery.capture.identities import set_full
from lockkeeper.recovery.capture.models import (
    CaptureLimits,
    CaptureRecord,
    CaptureState,
    CaptureStatus,
    record_path,
    status_path,
)
from lockkeeper.recovery.capture.names import slot_name
from lockkeeper.recovery.capture.readiness import marks_of, server_skips_origins
from lockkeeper.recovery.capture.sentinel import start_sentinel
from lockkeeper.recovery.capture.slot import create_publication, created_slot, walsender_pid
from lockkeeper.recovery.capture.tables import TableFacts, choose_tables, read_tables
from lockkeeper.recovery.capture.upload import save_record
from lockkeeper.recovery.capture.worker import CLAIM
from lockkeeper.recovery.hand_over import start_worker
from lockkeeper.storage import open_storage

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 45.0
_POLL_S = 0.02
_PROCESS = "capture-process.json"
_WORKER = "lockkeeper.recovery.capture.worker"


class Capture:
    """One capture, known by its folder. Holds no connection: any process may act on it, at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def record(self) -> CaptureRecord:
        """What is written down about it.

        Raises:
            RefusedError: there is no capture in the folder.
        """
        record = load(record_path(self.folder), CaptureRecord)
        if record is None:
            raise RefusedError(f"There is no capture in {self.folder}.")
        return record

    def status(self) -> CaptureStatus:
        """Return how far it has come; ``dead`` when its process is gone without having ended it."""
        record = self.record
        status = load(status_path(self.folder), CaptureStatus) or CaptureStatus(
            state=CaptureState.DEAD, updated_at=record.created_at
        )
        if record.ended is not None:
            return status.model_copy(update={"state": CaptureState.ENDED, "reason": record.ended})
        state = CaptureState.RUNNING if is_claimed(self.folder / CLAIM) else CaptureState.DEAD
        return status.model_copy(update={"state": state})

    def ensure_running(self, target: Target) -> None:
        """Start its process again when it is dead; it goes on where it was. Can run twice.

        Raises:
            CaptureEndedError: it has ended.
            CaptureError: its process does not start; the message has the end of its log.
        """
        record = self.record
        if record.ended is not None:
            raise CaptureEndedError(record.run_id, record.ended)
        if is_claimed(self.folder / CLAIM):
            return
        identity = start_worker(_WORKER, target, self.folder)
        save(self.folder / _PROCESS, identity)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_claimed(self.folder / CLAIM):
            if time.monotonic() > deadline:
                log = log_tail(self.folder / "capture.log")
                raise CaptureError(f"The capture's process did not start: {log}")
            time.sleep(_POLL_S)

    def require_alive(self) -> None:
        """Raise CaptureError when it does not run: what is committed now would not reach a copy."""
        status = self.status()
        if status.state is not CaptureState.RUNNING:
            raise CaptureError(f"The capture is {status.state.value}: {status.reason or 'no reason known'}.")

    def extend(self, until: datetime | None) -> None:
        """Set when it ends by itself; the process notices within a second."""
        save(record_path(self.folder), self.record.model_copy(update={"until": until}))

    def walsender_pid(self, connection: Connection) -> int | None:
        """Return the server's process that feeds it: a fence must keep it, since it could not come back."""
        return walsender_pid(connection, self.record.slot)

    def detach(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End its process and wait until no session of it is left; the slot stays, and it can be resumed."""
        end_process(load(self.folder / _PROCESS, ProcessIdentity), grace_s=timeout_s)

    def end(self, target: Target, reason: str, *, database: str | None = None) -> list[str]:
        """End it for good: process, slot, publication, origins, identities. Can run twice, from any state.

        Args:
            target: whose.
            reason: why, for the record.
            database: where the captured database is now, when it has been renamed.

        Returns:
            What could not be undone, as readable lines.

        Raises:
            DatabaseError: the slot could not be dropped; the sentinel will drop it when it is not read from.
        """
        self.detach()
        record = self.record
        left = remove_from_server(target, record, database)
        ended = record.model_copy(update={"ended": record.ended or reason})
        save(record_path(self.folder), ended)
        return left

    def forget(self) -> None:
        """Remove its folder, the spool with it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class StartedCapture(NamedTuple):
    """A capture that has begun, and the snapshot at which its backup must be made."""

    capture: Capture
    snapshot: ExportedSnapshot


@contextlib.contextmanager
def starting_capture(
    target: Target,
    run_id: str,
    *,
    limits: CaptureLimits | None = None,
    folder: Path | None = None,
    until: datetime | None = None,
) -> Iterator[StartedCapture]:
    """Begin to capture, and hold the snapshot of that moment for the length of the block.

    Replica identities are set (ACCESS EXCLUSIVE for a moment per table, with a short lock time-out), the
    publication made, the slot created (which waits for the transactions that write now, for at most a
    minute). After the block the capture goes on in a process of its own. When the block fails everything is
    undone.

    Args:
        target: whose database.
        run_id: part of every name that is made.
        limits: when it must end itself.
        folder: where its spool is; default below ``captures_home()``.
        until: when it ends by itself.

    Raises:
        CaptureError: a transaction does not end, or the process does not start.
        DatabaseError: not permitted, or no free slot.
    """
    capture = Capture(folder or capture_folder(target.name, run_id))
    record = _opening_record(target, run_id, limits or CaptureLimits(), until)
    try:
        with connect(target.url, "capture-start", run_id=run_id) as connection:
            record = _prepare(connection, capture, record)
        with created_slot(target.url, record) as snapshot:
            # At once: nobody else would bound the slot if the capture's process never came to it.
            start_sentinel(target.maintenance_url, record.slot, record.limits).close()
            record = record.model_copy(update={"start_lsn": snapshot.lsn})
            save(record_path(capture.folder), record)
            save_record(open_storage(target.storage), record)
            capture.ensure_running(target)
            yield StartedCapture(capture, snapshot)
    except BaseException as error:
        capture.end(target, f"it did not start: {error}")
        raise


def _opening_record(
    target: Target, run_id: str, limits: CaptureLimits, until: datetime | None
) -> CaptureRecord:
    with connect(target.url, "capture-start", run_id=run_id) as connection:
        version = int(fetch_value(connection, "SHOW server_version_num"))
        return CaptureRecord(
            run_id=run_id,
            target=target.name,
            database=target.database,
            slot=slot_name(run_id),
            publication=slot_name(run_id),
            server_version_num=version,
            marks=marks_of(connection),
            skips_origins=server_skips_origins(connection, version),
            created_at=utc_now(),
            limits=limits,
            until=until,
        )


def _prepare(connection: Connection, capture: Capture, record: CaptureRecord) -> CaptureRecord:
    """Set identities and publish. What was before is written down before it is changed."""
    facts = read_tables(connection)
    record = _with_choice(record, facts, ())
    save(record_path(capture.folder), record)
    refused = set_full(connection, record.tables)
    if refused:
        record = _with_choice(record, facts, refused)
        save(record_path(capture.folder), record)
    create_publication(connection, record)
    return record


def _with_choice(
    record: CaptureRecord, facts: Sequence[TableFacts], refused: Collection[int]
) -> CaptureRecord:
    choice = choose_tables(facts, refused)
    return record.model_copy(update=choice._asdict())


def find_captures(target: Target) -> list[Capture]:
    """Return the target's captures that have a folder on this machine, the newest first."""
    folders = sorted((captures_home() / target.name).glob("*"), reverse=True)
    return [Capture(folder) for folder in folders if record_path(folder).exists()]


def open_capture(target: Target, run_id: str) -> Capture:
    """Return the capture of a run; raises RefusedError when there is none on this machine."""
    capture = Capture(capture_folder(target.name, run_id))
    if not record_path(capture.folder).exists():
        raise RefusedError(f"There is no capture of run {run_id!r} in {capture.folder.parent}.")
    return capture
