"""A replay from outside: started, found again, waited for, finished. The work is the process's."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import ReplayError, ReplayLagError
from lockkeeper.local.daemons import ProcessIdentity, end_process, log_tail
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_one
from lockkeeper.recovery.capture.ending import tidy
from lockkeeper.recovery.capture.files import is_claimed, load, save
from lockkeeper.recovery.capture.handle import Capture
from lockkeeper.recovery.capture.names import MESSAGE_PREFIX, marker_content
from lockkeeper.recovery.hand_over import start_worker
from lockkeeper.recovery.pgoutput import format_lsn, parse_lsn
from lockkeeper.recovery.replay.bookkeeping import (
    PARKED_TABLE,
    ParkedWrite,
    drop_bookkeeping,
    prepare,
    read_parked,
    read_progress,
)
from lockkeeper.recovery.replay.models import (
    PARKED,
    RECORD,
    STATUS,
    ReplayOutcome,
    ReplayRecord,
    ReplayState,
    ReplayStatus,
)
from lockkeeper.recovery.replay.session import restore_triggers
from lockkeeper.recovery.replay.worker import CLAIM

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
LOCK_TIMEOUT_MS = 10_000
_POLL_S = 0.005
_ALIVE_INTERVAL_S = 0.5
_PROCESS = "replay-process.json"
_WORKER = "lockkeeper.recovery.replay.worker"
_EMIT = "SELECT pg_catalog.pg_logical_emit_message(true, %s, %s)::text"


class Replay:
    """One replay, known by the folder of its capture. Holds no connection.

    Args:
        capture: what is replayed.
        copy_url: the copy, on the target's server.
    """

    def __init__(self, capture: Capture, copy_url: URL) -> None:
        self.capture = capture
        self.copy_url = copy_url

    @property
    def _folder(self) -> Path:
        return self.capture.folder

    def status(self) -> ReplayStatus:
        """Return how far it has come; ``dead`` when its process is gone without having stopped."""
        status = load(self._folder / STATUS, ReplayStatus)
        if status is None:
            return ReplayStatus(state=ReplayState.DEAD, updated_at=utc_now())
        if status.state is ReplayState.RUNNING and not is_claimed(self._folder / CLAIM):
            return status.model_copy(update={"state": ReplayState.DEAD})
        return status

    def ensure_running(self, target: Target) -> None:
        """Start its process again when it is not running; it goes on where the copy is. Can run twice.

        Raises:
            ReplayError: the process does not start; the message has the end of its log.
        """
        if is_claimed(self._folder / CLAIM):
            return
        identity = start_worker(_WORKER, target, self._folder, copy_database=str(self.copy_url.database))
        save(self._folder / _PROCESS, identity)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_claimed(self._folder / CLAIM):
            if time.monotonic() > deadline:
                raise ReplayError(
                    f"The replay's process did not start: {log_tail(self._folder / 'replay.log')}"
                )
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End its process after the batch that it is at; the copy can be replayed into again."""
        end_process(load(self._folder / _PROCESS, ProcessIdentity), grace_s=STOP_TIMEOUT_S)

    def catch_up(self, source: Connection, timeout_s: float) -> float:
        """Wait until everything that was committed at the source before this call is in the copy.

        Before a fence it measures the lag; under the fence it is the drain. Writes a message into the
        source's log, and nothing else.

        Args:
            source: autocommit session in the captured database.
            timeout_s: how long to wait.

        Returns:
            The seconds that it took.

        Raises:
            ReplayLagError: not within ``timeout_s``, or the replay's process is gone.
            CaptureError: the capture's process is gone.
        """
        began = time.monotonic()
        wanted = emit_marker(source, self.capture.record.run_id)
        alive_at = began
        with connect(self.copy_url, "catch-up", run_id=self.capture.record.run_id) as connection:
            while (reached := read_progress(connection).end_lsn) <= wanted:
                now = time.monotonic()
                if now - began > timeout_s:
                    raise ReplayLagError(
                        f"The copy is at {format_lsn(reached)} and did not reach {format_lsn(wanted)} "
                        f"within {timeout_s:.1f} s."
                    )
                if now - alive_at > _ALIVE_INTERVAL_S:
                    alive_at = now
                    self._require_alive()
                time.sleep(_POLL_S)
        return time.monotonic() - began

    def _require_alive(self) -> None:
        if not is_claimed(self._folder / CLAIM):
            status = self.status()
            raise ReplayLagError(f"The replay is {status.state.value}: {status.reason or 'no reason known'}.")
        self.capture.require_alive()

    def strip(self) -> list[str]:
        """Undo in the copy what came with the backup: our publication, and REPLICA IDENTITY FULL.

        Beside the replay, well before a fence: an autovacuum, which likes a table that was just filled, can
        stand in the way for seconds. Can run twice. Returns what could not be done, as readable lines.
        """
        return tidy(self.copy_url, self.capture.record, LOCK_TIMEOUT_MS)

    def finish(self, *, keep_parked_table: bool = True) -> ReplayOutcome:
        """Make the copy ready to serve: nothing of ours is left in it but the parked writes. Can run twice.

        What ``strip`` undoes is undone too, where that was not done before.

        Raises:
            DatabaseError: the copy could not be changed.
        """
        self.stop()
        record = self.capture.record
        with connect(
            self.copy_url, "replay-finish", run_id=record.run_id, lock_timeout_ms=LOCK_TIMEOUT_MS
        ) as connection:
            if not fetch_one(connection, "SELECT pg_catalog.to_regnamespace('lockkeeper_replay')")[0]:
                return self._outcome_known()
            progress, parked = read_progress(connection), read_parked(connection)
            restore_triggers(connection)
            warnings = tuple(self.strip())
            outcome = ReplayOutcome(
                transactions=progress.transactions,
                changes=progress.changes,
                end_lsn=format_lsn(progress.end_lsn),
                parked=tuple(parked),
                parked_table=PARKED_TABLE if parked and keep_parked_table else None,
                warnings=warnings,
            )
            save(self._folder / _OUTCOME, outcome)
            _export(self._folder / PARKED, parked)
            drop_bookkeeping(connection, keep_parked=keep_parked_table)
        return outcome

    def _outcome_known(self) -> ReplayOutcome:
        outcome = load(self._folder / _OUTCOME, ReplayOutcome)
        if outcome is None:
            raise ReplayError(f"Nothing was ever replayed into {self.copy_url.database}.")
        return outcome

    def abandon(self) -> None:
        """Stop; the copy, which is the caller's to drop, is behind from here on."""
        self.stop()


_OUTCOME = "replay-outcome.json"


def _export(path: Path, parked: list[ParkedWrite]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(write.model_dump_json() + "\n" for write in parked), encoding="utf-8")


def emit_marker(source: Connection, run_id: str) -> int:
    """Write a message into the source's log, on its disk when this returns; returns its position.

    A transaction of its own: it comes out of the decoding after everything that was committed before.
    """
    execute(source, "BEGIN")
    try:
        execute(source, "SET LOCAL synchronous_commit = local")
        lsn = fetch_one(source, _EMIT, (MESSAGE_PREFIX, marker_content(run_id)))[0]
    except BaseException:
        execute(source, "ROLLBACK")
        raise
    execute(source, "COMMIT")
    return parse_lsn(str(lsn))


def start_replay(
    target: Target, capture: Capture, copy_url: URL, *, drop_copy_when_expired: bool = False
) -> Replay:
    """Replay a capture into a restored copy of its backup, continuously, in a process of its own.

    Raises:
        ReplayError: the process does not start.
    """
    record = ReplayRecord(
        run_id=capture.record.run_id,
        copy_database=str(copy_url.database),
        drop_copy_when_expired=drop_copy_when_expired,
    )
    save(capture.folder / RECORD, record)
    with connect(copy_url, "replay-start", run_id=record.run_id) as connection:
        prepare(connection)
    replay = Replay(capture, copy_url)
    replay.ensure_running(target)
    return replay


def open_replay(target: Target, capture: Capture) -> Replay | None:
    """Return the replay of a capture, or None when there is none."""
    record = load(capture.folder / RECORD, ReplayRecord)
    return Replay(capture, target.maintenance_url.set(database=record.copy_database)) if record else None
