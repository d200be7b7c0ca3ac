"""What runs leave on the servers and on this machine: found, explained, removed on demand."""

from __future__ import annotations

from typing import NamedTuple

from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.postgres.databases import QUARANTINE, SCRATCH, WARM, drop_database, list_leftovers
from lockkeeper.recovery.capture import CaptureState, find_captures
from lockkeeper.recovery.standby import BAKING, HUMAN, find_standby

CAPTURE, SLOT = "capture", "slot"
_SLOTS = r"""
SELECT s.slot_name, s.active, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name LIKE 'lockkeeper\_%%' AND (s.database = %s OR s.database LIKE %s)
ORDER BY 1
"""
_DROP_SLOT = "SELECT pg_catalog.pg_drop_replication_slot(%s)"


class Remain(NamedTuple):
    """One thing that is left.

    Attributes:
        kind: scratch, warm, quarantine, capture or slot.
        name: of the database or slot, or the run's id.
        description: what it is, and why it is there.
        kept: it waits for an undo or for a human, or is the newest quarantine: removed only when asked for.
        own_server: for databases, whether it is on the target's own server.
    """

    kind: str
    name: str
    description: str
    kept: bool = False
    own_server: bool = True


def find_remains(target: Target) -> list[Remain]:
    """Return everything that runs have left for the target; reads only.

    Scratch databases may belong to a run that is alive, as may a capture: whoever removes something holds
    the migration lock.
    """
    databases = _databases(target)
    waiting = {one.name for one in databases if one.kind == WARM and one.kept}
    captures = []
    for capture in find_captures(target):
        record, status = capture.record, capture.status()
        standby = find_standby(target, record.run_id)
        kept = standby is not None and standby.copy in waiting and status.state is not CaptureState.ENDED
        until = f", until {record.until:%Y-%m-%d %H:%M} UTC" if record.until else ""
        said = f"capture, {status.state.value}{until}, {status.spool_bytes} bytes in {capture.folder}"
        captures.append(Remain(CAPTURE, record.run_id, said, kept))
    known = {capture.record.slot for capture in find_captures(target)}
    return [*databases, *captures, *(one for one in _slots(target) if one.name not in known)]


def _databases(target: Target) -> list[Remain]:
    found = []
    for url in dict.fromkeys((target.maintenance_url, target.scratch_server_url)):
        own = url == target.maintenance_url
        left = list_leftovers(url, target.database)
        quarantines = sorted(one.name for one in left if one.kind == QUARANTINE)
        for one in left:
            waits = one.note is not None and one.note.stage in (BAKING, HUMAN)
            kept = waits or one.name in quarantines[-1:]
            found.append(Remain(one.kind, one.name, one.description, kept, own))
    return found


def _slots(target: Target) -> list[Remain]:
    """Return slots of ours in the database or a quarantine of it, also of a capture from another machine."""
    pattern = target.database.replace("\\", r"\\").replace("_", r"\_").replace("%", r"\%") + r"\_lk\_%"
    with connect(target.maintenance_url, "leftovers") as connection:
        rows = fetch_all(connection, _SLOTS, (target.database, pattern))
    return [
        Remain(
            SLOT,
            name,
            f"replication slot, {'read from' if active else 'nobody reads from it'}, "
            f"keeps {int(kept or 0)} bytes of WAL; its capture is not on this machine",
        )
        for name, active, kept in rows
    ]


def remove_remains(
    target: Target, run_id: str, *, quarantine: bool = False, waiting: bool = False
) -> tuple[list[str], list[str]]:
    """Remove what is left; only for the holder of the migration lock. Can run twice.

    Args:
        target: whose.
        run_id: names the connections.
        quarantine: the newest quarantine too.
        waiting: also what waits for an undo or for a human.

    Returns:
        What was removed, and what could not be, as readable lines.
    """
    removed: list[str] = []
    problems: list[str] = []
    for one in find_remains(target):
        if one.kept and not (quarantine if one.kind == QUARANTINE else waiting):
            continue
        try:
            problems += _remove(target, run_id, one)
            removed.append(f"{one.kind} {one.name}")
        except LockkeeperError as error:
            problems.append(f"{one.kind} {one.name}: {error}")
    return removed, problems


def _remove(target: Target, run_id: str, one: Remain) -> list[str]:
    if one.kind == CAPTURE:
        standby = find_standby(target, one.name)
        return standby.let_go("removed by lockkeeper clean") if standby is not None else []
    url = target.maintenance_url if one.own_server else target.scratch_server_url
    with connect(url, "clean", run_id=run_id) as connection:
        if one.kind == SLOT:
            execute(connection, _DROP_SLOT, (one.name,))
        elif one.kind in (SCRATCH, WARM, QUARANTINE):
            drop_database(connection, one.name)
    return []
