"""What captures have left on a server: found by name, removed one by one.

A slot comes first: it is what can fill a disk. Whether its run is alive is the caller's to know.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lockkeeper.config import Target
from lockkeeper.postgres.connection import connect, fetch_all, fetch_value, named_query
from lockkeeper.recovery.capture.identities import reset_as_noted
from lockkeeper.recovery.capture.slot import drop_origin, drop_publication, drop_slot
from lockkeeper.recovery.capture.tables import PACKAGE

SLOT, PUBLICATION, ORIGIN = "slot", "publication", "origin"
_IS_OPEN = "SELECT coalesce(bool_or(datallowconn), false) FROM pg_catalog.pg_database WHERE datname = %s"


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
    def capture_name(self) -> str:
        """The name that everything of one capture shares (``names.slot_name``)."""
        return re.sub(r"_[0-9]+$", "", self.name) if self.kind == ORIGIN else self.name

    @property
    def description(self) -> str:
        """What it is and what it costs, for a human."""
        kept = f", keeps {self.retained_wal_bytes / 2**20:.0f} MiB of WAL" if self.retained_wal_bytes else ""
        return f"{self.kind} {self.name}{kept}{' (in use)' if self.active else ''}"


def find_orphans(target: Target) -> list[Orphan]:
    """Return the slots, publications and origins of captures of the target's database; reads only.

    In the order in which they are to be removed: slots first, also those of its quarantines. Those of a
    capture that runs are among them. An origin belongs to the server: one whose slot captures another
    database is left out. A database that is closed (by a fence) is not looked into.
    """
    escaped = re.sub(r"([\\_%])", r"\\\1", target.database)
    with connect(target.maintenance_url, "orphans") as connection:
        names = {"database": target.database, "quarantines": escaped + r"\_lk\_%"}
        on_server = fetch_all(connection, named_query("orphans", PACKAGE), names)
        is_open = fetch_value(connection, _IS_OPEN, (target.database,))
    inside: list[tuple[Any, ...]] = []
    if is_open:
        with connect(target.url, "orphans") as connection:
            inside = fetch_all(connection, named_query("orphan_publications", PACKAGE))
    found = [
        Orphan(kind, name, database, active, None if retained is None else int(retained), run_id)
        for kind, name, database, active, retained, run_id in [*on_server, *inside]
    ]
    return sorted(found, key=lambda one: (SLOT, PUBLICATION, ORIGIN).index(one.kind))


def drop_orphan(target: Target, orphan: Orphan) -> None:
    """Remove one; a slot's reader is ended, a publication's replica identities are given back.

    Can run twice.

    Raises:
        DatabaseError: not permitted, or a lock was not to be had.
    """
    url = target.url if orphan.kind == PUBLICATION else target.maintenance_url
    with connect(url, "orphans", lock_timeout_ms=5000) as connection:
        if orphan.kind == SLOT:
            drop_slot(connection, orphan.name)
        elif orphan.kind == PUBLICATION:
            reset_as_noted(connection, orphan.name)
            drop_publication(connection, orphan.name)
        else:
            drop_origin(connection, orphan.name)
