"""What lets a run take its database back without losing a write: a capture, and a copy that it keeps warm.

The copy is the verified backup, into which everything that the application writes is replayed. A note in its
comment says whose it is and what for: it is in the server, but outside the database that may have to be taken
back, so whoever comes after a kill -9 finds copy and capture again by it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError, LockkeeperError, RefusedError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.databases import (
    WARM,
    Leftover,
    Note,
    clone_scratch,
    drop_database,
    list_leftovers,
    set_comment,
)
from lockkeeper.recovery.capture import Capture, CaptureState, find_captures
from lockkeeper.recovery.capture.upload import forget_stored
from lockkeeper.recovery.replay import Replay, open_replay, start_replay

RUNNING, BAKING, HUMAN, SPENT = "running", "undo", "human", "spent"
"""Stages of a warm copy: its run goes on (or was killed), it waits for an undo, or for a human, or it was
about to take over, and nothing can be replayed into it any more."""
KEPT_FOR_A_HUMAN = timedelta(hours=24)


@dataclass
class Standby:
    """The way back of one run. ``copy`` and ``replay`` are None until the verified copy is kept warm."""

    target: Target
    run_id: str
    capture: Capture
    copy: str | None = None
    replay: Replay | None = None

    @property
    def copy_url(self) -> URL:
        """The warm copy; on the target's own server, since a swap is a rename."""
        return self.target.maintenance_url.set(database=self.copy)

    @property
    def is_complete(self) -> bool:
        """Whether every write since the backup is captured, or still can be from what the slot keeps."""
        return self.capture.status().state is not CaptureState.ENDED

    @property
    def is_warm(self) -> bool:
        """Whether a copy stands by that everything captured is replayed into, or can be."""
        return self.copy is not None and self.replay is not None and self.is_complete

    def warm_up(self, copy: str, backup_id: str) -> None:
        """Keep a verified copy from now on: statistics for the planner, its note, and the replay."""
        self.copy = copy
        with connect(self.copy_url, "analyze", run_id=self.run_id) as connection:
            execute(connection, "ANALYZE")
        self.note(RUNNING, backup_id, "everything that is written is replayed into it")
        self.replay = start_replay(self.target, self.capture, self.copy_url, drop_copy_when_expired=True)

    def clone(self) -> str:
        """Clone the copy for a rehearsal, which may ruin its clone; only before the replay has begun."""
        with connect(self.target.maintenance_url, "clone", run_id=self.run_id) as connection:
            return clone_scratch(
                connection,
                str(self.copy),
                self.target.database,
                "rehearse",
                run_id=self.run_id,
                reason="a clone of the verified copy, for the rehearsal",
            )

    def note(self, stage: str, backup_id: str | None, reason: str) -> None:
        """Write down in the server whose the copy is and what it waits for; can run twice."""
        note = Note(
            lockkeeper=WARM,
            database=self.target.database,
            run_id=self.run_id,
            created_at=utc_now(),
            reason=reason,
            backup_id=backup_id,
            stage=stage,
        )
        with connect(self.target.maintenance_url, "standby", run_id=self.run_id) as connection:
            set_comment(connection, str(self.copy), note.model_dump_json())

    def ensure_running(self) -> None:
        """Start the processes of capture and replay again when they are dead; they go on where they were."""
        self.capture.ensure_running(self.target)
        if self.replay is not None:
            self.replay.ensure_running(self.target)

    def keep(self, stage: str, until: datetime, backup_id: str | None, reason: str) -> None:
        """Keep copy and capture until then; afterwards the replay's process removes them by itself."""
        self.capture.extend(until)
        if self.copy is not None:
            self.note(stage, backup_id, reason)

    def spend(self) -> None:
        """Write down that nothing can be replayed into the copy any more."""
        self.note(SPENT, None, "it was about to take the database's place")

    def drop_copy(self) -> None:
        """Give the warm copy up, also one that is spent; what is captured stays."""
        # Also that of a copy which is spent: its process would keep the next copy's replay from starting.
        replay = self.replay or open_replay(self.target, self.capture)
        if replay is not None:
            replay.abandon()
        ours = [one.name for one in warm_copies(self.target) if one.note.run_id == self.run_id]
        with connect(self.target.maintenance_url, "standby", run_id=self.run_id) as connection:
            for name in ours:
                drop_database(connection, name)
        self.copy = self.replay = None

    def let_go(self, reason: str) -> list[str]:
        """Remove copy, capture and spool, the stored one too: there is nothing to come back from any more.

        Can run twice.

        Returns:
            What could not be removed, as readable lines.
        """
        left: list[str] = []
        with _noting(left, f"warm copy {self.copy}"):
            self.drop_copy()
        with _noting(left, f"capture of run {self.run_id}"):
            left += self.capture.end(self.target, reason)
            self.capture.forget()
        with _noting(left, f"stored spool of run {self.run_id}"):
            forget_stored(self.target, self.run_id)
        return left


@contextlib.contextmanager
def _noting(left: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except LockkeeperError as error:
        left.append(f"{what} could not be removed: {error}. lockkeeper clean removes it.")


class WarmCopy(NamedTuple):
    """A warm copy as its note tells of it."""

    name: str
    note: Note


def warm_copies(target: Target) -> list[WarmCopy]:
    """Return the target's warm copies, the newest first; reads only."""
    found: list[Leftover] = list_leftovers(target.maintenance_url, target.database)
    warm = [WarmCopy(one.name, one.note) for one in found if one.kind == WARM and one.note]
    return sorted(warm, key=lambda one: one.note.created_at, reverse=True)


def find_standby(target: Target, run_id: str) -> Standby | None:
    """Return the way back of a run, whatever became of its processes; None when there is no capture of it."""
    for capture in find_captures(target):
        if capture.record.run_id == run_id:
            copies = (one for one in warm_copies(target) if one.note.run_id == run_id)
            copy = next((one.name for one in copies if one.note.stage != SPENT), None)
            return Standby(target, run_id, capture, copy, open_replay(target, capture) if copy else None)
    return None


def baking_standby(target: Target) -> tuple[Standby, Note]:
    """Return the newest copy that is kept for an undo.

    Raises:
        RefusedError: there is none, or what feeds it is not on this machine.
    """
    for name, note in warm_copies(target):
        if note.stage == BAKING and note.run_id is not None:
            standby = find_standby(target, note.run_id)
            if standby is None:
                raise RefusedError(
                    f"{name} is kept for an undo, but what feeds it is not on this machine: "
                    "undo on the machine that the migration ran on."
                )
            return standby, note
    raise RefusedError(
        f"No migration of {target.name} can be undone: no warm copy is kept. With the policy bake_time_s a "
        "copy is kept that long after each migration."
    )


def let_go_of_earlier(target: Target, run_id: str) -> list[str]:
    """Remove what earlier runs of the target keep: a new run has its own way back, and theirs ends with it.

    Only for the holder of the migration lock. Returns what was removed, and what could not be.
    """
    told: list[str] = []
    standbys = {capture.record.run_id: capture for capture in find_captures(target)}
    for earlier in standbys:
        standby = find_standby(target, earlier) if earlier != run_id else None
        if standby is not None:
            told += [f"let go of the capture of run {earlier}", *standby.let_go(f"run {run_id} began")]
    for name, note in warm_copies(target):
        if note.run_id != run_id:
            with (
                contextlib.suppress(DatabaseError),
                connect(target.maintenance_url, "standby", run_id=run_id) as connection,
            ):
                drop_database(connection, name)
                told.append(f"dropped warm copy {name}")
    return told
