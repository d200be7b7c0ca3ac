"""What captures have left on a server: found by name, removed one by one.

A slot comes first: it is what can fill a disk. Whether its run is alive is the caller's to know.
"""

from __future__ import annotations

from typing import NamedTuple

from lockkeeper.config import Target
from lockkeeper.postgres.connection import connect, fetch_all, named_query
from lockkeeper.recovery.capture.identities import reset_as_noted
from lockkeeper.recovery.capture.slot import drop_origin, drop_publication, drop_slot
from lockkeeper.recovery.capture.tables import PACKAGE

SLOT, PUBLICATION, ORIGIN = "slot", "publication", "origin"


class Orphan(NamedTuple):
    """Something with a capture's name on the target's server.

    Attributes:
        kind: slot, publication or origin.
        name: its name, which is made from the run's id.
        database: where it is, or what it captures; None for an origin, which belongs to the server.
        active: somebody uses it at this moment.
        retained_wal_bytes: what a slot keeps back.
        run_id: the run, where it is written down (on the publication).
    """

    kind: str
    name: str
    database: str | None
    active: bool
    retained_wal_bytes: int | None
    run_id: str | None

    @property
    def description(self) -> str:
        """What it is and what it costs, for a human."""
        kept = f", keeps {self.retained_wal_bytes / 2**20:.0f} MiB of WAL" if self.retained_wal_bytes else ""
        return f"{self.kind} {self.name}{kept}{' (in use)' if self.active else ''}"


def find_orphans(target: Target) -> list[Orphan]:
    """Return the slots, origins and publications of captures of the target's database, slots first.

    Those of a capture that runs are among them.
    """
    with connect(target.url, "orphans") as connection:
        rows = fetch_all(connection, named_query("orphans", PACKAGE))
    return [
        Orphan(kind, name, database, active, None if retained is None else int(retained), run_id)
        for kind, name, database, active, retained, run_id in rows
    ]


def drop_orphan(target: Target, orphan: Orphan) -> None:
    """Remove one; a publication's replica identities are given back. Can run twice.

    Raises:
        DatabaseError: not permitted, or a lock was not to be had.
    """
    with connect(target.url, "orphans", lock_timeout_ms=5000) as connection:
        if orphan.kind == SLOT:
            drop_slot(connection, orphan.name)
        elif orphan.kind == PUBLICATION:
            reset_as_noted(connection, orphan.name)
            drop_publication(connection, orphan.name)
        else:
            drop_origin(connection, orphan.name)
