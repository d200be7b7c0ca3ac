"""What killed runs leave on the servers, and its removal."""

from __future__ import annotations

from lockkeeper.config import Target
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.databases import SCRATCH, Note, drop_database, list_leftovers
from lockkeeper.postgres.fence import find_fenced, unfence
from lockkeeper.postgres.read_only import KEPT, find_read_only, make_writable


def drop_scratch_databases(target: Target, run_id: str | None = None) -> list[str]:
    """Drop the target's scratch databases on both of its servers; returns their names.

    Quarantined databases are never touched, nor is a scratch database of another run that somebody is
    connected to: backups are verified without the migration lock, and may be at it.

    Args:
        target: whose.
        run_id: only those of this run; None drops those of every run. A database without our note is never
            dropped, whatever its name.
    """
    dropped = []
    for url in {target.maintenance_url, target.scratch_server_url}:
        wanted = [
            left
            for left in list_leftovers(url, target.database)
            if left.kind == SCRATCH
            and left.note
            and (left.sessions == 0 if run_id is None else left.note.run_id == run_id)
        ]
        if wanted:
            with connect(url, "leftovers", run_id=run_id) as connection:
                for left in wanted:
                    drop_database(connection, left.name)
                    dropped.append(left.name)
    return dropped


def find_fence(target: Target) -> Note | None:
    """Return the note of the fence that closes the target's database now, or None."""
    with connect(target.maintenance_url, "leftovers") as connection:
        return find_fenced(connection).get(target.database)


def lift_write_fence(target: Target) -> Note | None:
    """Let applications write again whom a killed run, and its guard, have left reading; returns its note.

    One that waits for a human's decision stays. Only for the holder of the migration lock. Can run twice.

    Raises:
        DatabaseError: not permitted, or the server cannot be reached.
    """
    with connect(target.maintenance_url, "unfence", lock_timeout_ms=10_000) as connection:
        note = find_read_only(connection).get(target.database)
        if note is None or note.stage == KEPT:
            return None
        make_writable(connection, target.database)
        return note


def lift_fence(target: Target) -> bool:
    """Open the target's database again after a killed restore; returns False when no fence of ours is there.

    Raises:
        DatabaseError: not permitted, or the server cannot be reached.
    """
    with connect(target.maintenance_url, "unfence", lock_timeout_ms=10_000) as connection:
        return unfence(connection, target.database)
