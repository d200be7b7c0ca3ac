"""What runs leave on the servers and on this machine: found, explained, removed on demand."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from typing import NamedTuple

from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError, RefusedError, StorageError
from lockkeeper.journal import read_reports
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.databases import QUARANTINE, SCRATCH, WARM, drop_database, list_leftovers
from lockkeeper.postgres.read_only import KEPT, find_read_only, make_writable
from lockkeeper.recovery.capture import Capture, CaptureState
from lockkeeper.recovery.capture.files import captures_home, is_claimed
from lockkeeper.recovery.capture.names import slot_name
from lockkeeper.recovery.capture.orphans import ORIGIN, PUBLICATION, SLOT, Orphan, drop_orphan, find_orphans
from lockkeeper.recovery.capture.upload import forget_stored, stored_captures
from lockkeeper.recovery.capture.worker import CLAIM
from lockkeeper.recovery.standby import BAKING, HUMAN, find_standby, warm_copies
from lockkeeper.storage import open_storage

CAPTURE, SPOOL, STORED, WRITE_FENCE = "capture", "spool", "stored spool", "write fence"


class Remain(NamedTuple):
    """One thing that is left.

    Attributes:
        kind: write fence, scratch, warm, quarantine, capture, slot, publication, origin, spool (a folder
            without a readable capture) or stored spool (in the storage, of a capture that is not on this
            machine).
        name: of the object, or the run's id.
        description: what it is, and why it is there.
        kept: it waits for an undo or for a human, or is the newest quarantine: removed only when asked for.
        own_server: for databases, whether it is on the target's own server.
        orphan: what is known of a slot, publication or origin.
        noted: it bears our note; a database that does not may be somebody else's.
    """

    kind: str
    name: str
    description: str
    kept: bool = False
    own_server: bool = True
    orphan: Orphan | None = None
    noted: bool = True


def find_remains(target: Target) -> list[Remain]:
    """Return everything that runs have left for the target; reads only.

    Scratch databases may belong to a run that is alive, as may a capture: whoever removes something holds
    the migration lock.
    """
    databases = _databases(target)
    waiting = {one.name for one in databases if one.kind == WARM and one.kept}
    awaited = {one.note.run_id for one in warm_copies(target) if one.name in waiting and one.note.run_id}
    captures, spools = _folders(target, waiting)
    known = {slot_name(one.name) for one in captures}
    orphans = _orphans(target, known, {slot_name(run_id) for run_id in awaited})
    try:
        in_use = awaited | _unfinished(target)
        stored = _stored(target, {one.name for one in captures}, in_use, orphans)
    except StorageError as error:
        # A storage that is down must not keep anybody from dropping a slot that fills a disk.
        stored = [Remain(STORED, "unknown", f"what the storage holds could not be read: {error}", True)]
    return [*_write_fence(target), *databases, *captures, *orphans, *spools, *stored]


def _write_fence(target: Target) -> list[Remain]:
    """Return what keeps applications from writing: a living run, a killed one, or one that needs a human."""
    with connect(target.maintenance_url, "leftovers") as connection:
        note = find_read_only(connection).get(target.database)
    if note is None:
        return []
    said = f"applications may only read since {note.created_at:%Y-%m-%d %H:%M:%S} UTC: {note.reason}"
    return [Remain(WRITE_FENCE, target.database, said, note.stage == KEPT)]


def _folders(target: Target, waiting: Collection[str]) -> tuple[list[Remain], list[Remain]]:
    """Return the captures of this machine, and the folders that hold none that could be read."""
    captures, spools = [], []
    for folder in sorted((captures_home() / target.name).glob("*"), reverse=True):
        try:
            captures.append(_capture(target, Capture(folder), waiting))
        except RefusedError as error:
            used = is_claimed(folder / CLAIM)
            said = f"spool in {folder}, {'a process works in it' if used else 'nobody works in it'}: {error}"
            spools.append(Remain(SPOOL, folder.name, said, used))
    return captures, spools


def _capture(target: Target, capture: Capture, waiting: Collection[str]) -> Remain:
    record, status = capture.record, capture.status()
    standby = find_standby(target, record.run_id)
    kept = standby is not None and standby.copy in waiting and status.state is not CaptureState.ENDED
    until = f", until {record.until:%Y-%m-%d %H:%M} UTC" if record.until else ""
    said = f"capture, {status.state.value}{until}, {status.spool_bytes} bytes in {capture.folder}"
    return Remain(CAPTURE, record.run_id, said, kept)


def _orphans(target: Target, known: Collection[str], awaited: Collection[str]) -> list[Remain]:
    """Return what captures that are not on this machine have left on the server.

    A slot that somebody reads from feeds a copy from another machine: it waits, with all that has its name.
    """
    found = [one for one in find_orphans(target) if one.capture_name not in known]
    alive = {one.name for one in found if one.kind == SLOT and one.active} | set(awaited)
    return [
        Remain(
            one.kind,
            one.name,
            f"{one.description}, {'feeds a copy from' if one.active else 'its capture is not on'} "
            f"{'another' if one.active else 'this'} machine",
            one.capture_name in alive,
            orphan=one,
        )
        for one in found
    ]


def _unfinished(target: Target) -> set[str]:
    """Return the runs that a recovery may still be asked for: theirs is the newest migration."""
    reports = read_reports(open_storage(target.storage), target.name)
    newest = next((report for report in reports if report.operation == "migrate"), None)
    return {newest.run_id} if newest and newest.outcome in (None, Outcome.NEEDS_HUMAN) else set()


def _stored(
    target: Target, here: Collection[str], in_use: Collection[str], orphans: Collection[Remain]
) -> list[Remain]:
    """Return what the storage holds of captures that are not on this machine."""
    alive = {one.name for one in orphans if one.kept}
    return [
        Remain(
            STORED,
            run_id,
            f"spool of run {run_id} in the storage; its capture is not on this machine",
            run_id in in_use or slot_name(run_id) in alive,
        )
        for run_id in stored_captures(target)
        if run_id not in here
    ]


def _databases(target: Target) -> list[Remain]:
    found = []
    for url in dict.fromkeys((target.maintenance_url, target.scratch_server_url)):
        own = url == target.maintenance_url
        left = list_leftovers(url, target.database)
        quarantines = sorted(one.name for one in left if one.kind == QUARANTINE)
        for one in left:
            waits = one.note is not None and one.note.stage in (BAKING, HUMAN)
            noted = one.note is not None
            kept = waits or not noted or one.name in quarantines[-1:]
            found.append(Remain(one.kind, one.name, one.description, kept, own, noted=noted))
    return found


def remove_remains(
    target: Target, run_id: str, *, quarantine: str | None = None, waiting: bool = False
) -> tuple[list[str], list[str]]:
    """Remove what is left; only for the holder of the migration lock. Can run twice.

    Args:
        target: whose.
        run_id: names the connections.
        quarantine: the newest quarantine too, by its name.
        waiting: also what waits for an undo or for a human.

    Returns:
        What was removed, and what could not be, as readable lines.
    """
    removed: list[str] = []
    problems: list[str] = []
    for one in removable(find_remains(target), quarantine=quarantine, waiting=waiting):
        try:
            problems += _remove(target, run_id, one)
            removed.append(f"{one.kind} {one.name}")
        except LockkeeperError as error:
            problems.append(f"{one.kind} {one.name}: {error}")
    return removed, problems


def removable(remains: Collection[Remain], *, quarantine: str | None, waiting: bool) -> list[Remain]:
    """Return what may go; a pure function.

    The newest quarantine only when it is called by its name; so is a database without our note.
    """
    return [one for one in remains if _may_go(one, quarantine, waiting)]


def _may_go(one: Remain, quarantine: str | None, waiting: bool) -> bool:
    if one.kind == QUARANTINE or not one.noted:
        return one.name == quarantine or not one.kept
    return waiting or not one.kept


def _remove(target: Target, run_id: str, one: Remain) -> list[str]:
    if one.kind == CAPTURE:
        standby = find_standby(target, one.name)
        return standby.let_go("removed by lockkeeper clean") if standby is not None else []
    if one.kind == WRITE_FENCE:
        with connect(target.maintenance_url, "unfence", run_id=run_id) as connection:
            make_writable(connection, target.database)
    elif one.kind in (SLOT, PUBLICATION, ORIGIN) and one.orphan is not None:
        drop_orphan(target, one.orphan)
    elif one.kind == SPOOL:
        shutil.rmtree(captures_home() / target.name / one.name, ignore_errors=True)
    elif one.kind == STORED:
        forget_stored(target, one.name)
    elif one.kind in (SCRATCH, WARM, QUARANTINE):
        url = target.maintenance_url if one.own_server else target.scratch_server_url
        with connect(url, "clean", run_id=run_id) as connection:
            drop_database(connection, one.name)
    return []
