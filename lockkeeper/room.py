"""Is there room for what a migration makes? Each disk is asked once, for all that goes to it.

Seen from here are the disk of a server on this machine whose data folder the role may know, and that of a
storage in a folder. What cannot be seen is said: a check that could not run is not one that passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lockkeeper.backup import latest_verified
from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.errors import StorageError
from lockkeeper.models import BackupKind, Check
from lockkeeper.postgres.connection import Connection, connect, fetch_one, fetch_value
from lockkeeper.postgres.databases import data_folder, is_here
from lockkeeper.storage.local import disk_of
from lockkeeper.verification import failed, passed, warned

NAME = "disk"
_SIZE = """
SELECT pg_catalog.pg_database_size(oid), pg_catalog.pg_tablespace_location(dattablespace)
FROM pg_catalog.pg_database WHERE datname = %s
"""
_ROLE = "SELECT pg_catalog.quote_ident(current_user)"


class Need(NamedTuple):
    """What goes to ``folder``. ``certain`` is false for a size that is only known not to be exceeded."""

    folder: Path
    what: str
    size_bytes: int
    remedy: str
    certain: bool = True


def check_room(target: Target, run_id: str, *, captures: bool) -> list[Check]:
    """Compare what a migration makes with what is free.

    Args:
        target: what would be migrated.
        run_id: names the connections.
        captures: whether changes are captured, so that a copy stands by while the rehearsal has its clone.
    """
    with connect(target.maintenance_url, "preflight", run_id=run_id) as connection:
        size_bytes, tablespace = fetch_one(connection, _SIZE, (target.database,))
    copies = proof(target, size_bytes, captures)
    needs, checks = [], []
    with connect(target.scratch_server_url, "preflight", run_id=run_id) as connection:
        folder = data_folder(connection)
        if folder is None:
            checks.append(_unseen(connection, copies))
        else:
            # On its own server a copy goes to the database's tablespace, like the database.
            beside = target.scratch_server_url == target.maintenance_url
            needs.append(copies._replace(folder=Path(tablespace) if beside and tablespace else folder))
    if isinstance(target.storage, LocalStorageSettings):
        needs.append(dump(target, size_bytes, target.storage.path))
    return [*checks, *_judged(needs)]


def _unseen(connection: Connection, copies: Need) -> Check:
    message = f"the server's disk cannot be seen from here; {copies.what} {_mib(copies.size_bytes)} there"
    if is_here(connection):
        message += f". GRANT pg_read_all_settings TO {fetch_value(connection, _ROLE)}"
    return warned(NAME, message)


def proof(target: Target, size_bytes: int, captures: bool) -> Need:
    """Return what proving a backup takes on the scratch server, and rehearsing on what was restored there."""
    beside = target.scratch_server_url == target.maintenance_url
    another = "name a scratch server" if beside else "name another scratch server"
    if captures and beside and target.policies.rehearsal != "off":
        remedy = f"{another}, or go without a rehearsal (policy rehearsal=off)"
        return Need(Path(), "the verified copy and its clone take", 2 * size_bytes, remedy)
    return Need(Path(), "the verified copy takes", size_bytes, another)


def dump(target: Target, size_bytes: int, folder: Path) -> Need:
    """Return what the dump takes: as much as the last one, grown with the database; at most all of it."""
    remedy, what = "store backups elsewhere", "the backup takes"
    try:
        last = latest_verified(target, BackupKind.DUMP)
    except StorageError:  # whether the storage can be used at all is a check of its own
        last = None
    if last is None or not last.size_bytes or not last.database_bytes:
        return Need(folder, f"{what} at most", size_bytes, remedy, certain=False)
    return Need(folder, f"{what} about", last.size_bytes * size_bytes // last.database_bytes, remedy)


def _judged(needs: Sequence[Need]) -> list[Check]:
    """Judge what goes to one disk together."""
    checks: list[Check] = []
    disks: dict[int, tuple[int, list[Need]]] = {}
    for need in needs:
        try:
            disk = disk_of(need.folder)
        except OSError as error:
            checks.append(warned(NAME, f"the disk of {need.folder} cannot be seen: {error.strerror}"))
        else:
            disks.setdefault(disk.device, (disk.free_bytes, []))[1].append(need)
    return [*checks, *(judge(free_bytes, there) for free_bytes, there in disks.values())]


def judge(free_bytes: int, needs: Sequence[Need]) -> Check:
    """Refuse what cannot fit, warn of what may not."""
    takes = ", ".join(f"{need.what} {_mib(need.size_bytes)}" for need in needs)
    where = " and ".join(str(need.folder) for need in needs)
    seen = f"{_mib(free_bytes)} are free on the disk of {where}; {takes}"
    advice = f"{seen}. Free some, or {', or '.join(need.remedy for need in needs)}"
    if free_bytes < sum(need.size_bytes for need in needs if need.certain):
        return failed(NAME, advice)
    if free_bytes < sum(need.size_bytes for need in needs):
        return warned(NAME, advice)
    return passed(NAME, seen)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
