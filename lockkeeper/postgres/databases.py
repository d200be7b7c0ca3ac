"""Databases as wholes: made, found, renamed and dropped, each with a note that says whose it is and why.

The note is JSON in COMMENT ON DATABASE, so that what a killed run leaves behind can be found and explained.
The connection that functions take is to *another* database of the same server (the maintenance database).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql
from pydantic import ValidationError
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.models import DatabaseProperties, Fact, utc_now
from lockkeeper.postgres.connection import (
    Connection,
    connect,
    execute,
    fetch_all,
    fetch_value,
    named_query,
    scratch_name,
)

SCRATCH, QUARANTINE, FENCED, WARM = "scratch", "quarantine", "fenced", "warm"
READ_ONLY = "read-only"
CLONE_ATTEMPTS = 5
TERMINATE_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.05
_SCRATCH_NAME = re.compile(r"_lk_[a-z]+_[0-9a-f]{8}$")
_OWN_SUFFIX = re.compile(r"_lk_[a-z]+_[0-9a-f]+$")
_QUARANTINE_NAME = re.compile(r"_lk_failed_\d{14}$")
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_PROVIDERS_SINCE = 150000
_STRATEGY_SINCE = 150000
_OBJECT_IN_USE = "55006"
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Note(Fact):
    """What Lockkeeper writes into a database's comment. ``lockkeeper`` is the kind of database.

    ``backup_id`` and ``stage`` are those of a warm copy (``lockkeeper.recovery.standby``).
    """

    lockkeeper: str
    database: str
    run_id: str | None
    created_at: datetime
    reason: str
    former_comment: str | None = None
    backup_id: str | None = None
    stage: str | None = None

    @classmethod
    def parse(cls, comment: str | None) -> Note | None:
        """Return the note in a comment, or None when it is somebody else's comment."""
        if not comment or not comment.startswith('{"lockkeeper"'):
            return None
        try:
            return cls.model_validate(json.loads(comment))
        except (ValidationError, ValueError):
            return None


class Leftover(NamedTuple):
    """A scratch, warm or quarantine database. ``note`` is None when its maker died before writing it."""

    name: str
    kind: str
    note: Note | None
    sessions: int

    @property
    def description(self) -> str:
        """What it is, since when and why, for a human."""
        if self.note is None:
            return f"{self.kind}, whose maker died before it could say why"
        run = f" by run {self.note.run_id}" if self.note.run_id else ""
        return f"{self.kind} of {self.note.created_at:%Y-%m-%d %H:%M:%S} UTC{run}: {self.note.reason}"


def exists(connection: Connection, database: str) -> bool:
    """Whether there is a database of that name."""
    return bool(fetch_all(connection, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (database,)))


def set_comment(connection: Connection, database: str, comment: str | None) -> None:
    """COMMENT ON DATABASE; needs its owner."""
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    execute(connection, statement.format(sql.Identifier(database), sql.Literal(comment)))


def create_scratch(
    connection: Connection,
    database: str,
    purpose: str,
    *,
    run_id: str | None,
    reason: str,
    properties: DatabaseProperties | None = None,
    same_server: bool = True,
) -> str:
    """Make an empty database from template0 and return its name, e.g. ``shop_lk_verify_1a2b3c4d``.

    Args:
        connection: autocommit connection to the maintenance database; its role needs CREATEDB.
        database: the database that this is a scratch copy of.
        purpose: one lower-case word for the name.
        run_id: the run it belongs to.
        reason: what it is for, written into its note.
        properties: encoding, locale and tablespace to make it with; default the server's.
        same_server: whether ``database`` lives on this server, so that its tablespace exists here.

    Raises:
        DatabaseError: not permitted, or the encoding or locale does not exist here.
    """
    name = scratch_name(database, purpose)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
    if properties is not None:
        version = int(fetch_value(connection, "SHOW server_version_num"))
        statement += sql.SQL(" ") + _locale_clauses(properties, version)
        if same_server and properties.tablespace != "pg_default":
            statement += sql.SQL(" TABLESPACE {}").format(sql.Identifier(properties.tablespace))
    execute(connection, statement)
    note = Note(lockkeeper=SCRATCH, database=database, run_id=run_id, created_at=utc_now(), reason=reason)
    try:
        set_comment(connection, name, note.model_dump_json(exclude_none=False))
        if properties is not None and properties.acl is not None:
            # Its data are as private as the original's, from the first row on.
            revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            execute(connection, revoke)
    except BaseException:
        drop_database(connection, name)
        raise
    return name


def clone_scratch(
    connection: Connection,
    source: str,
    database: str,
    purpose: str,
    *,
    run_id: str | None,
    reason: str,
) -> str:
    """Copy the whole database ``source`` file by file and return the name of the copy, a scratch database.

    Ends the sessions in ``source``: PostgreSQL copies no database that somebody is in. On 15 and later the
    files are copied, between two checkpoints, instead of writing all of it to the write-ahead log, which a
    replication slot would have to keep.

    Raises:
        DatabaseError: not permitted, or somebody came back into ``source`` at each of several attempts.
    """
    name = scratch_name(database, purpose)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
    if int(fetch_value(connection, "SHOW server_version_num")) >= _STRATEGY_SINCE:
        statement += sql.SQL(" STRATEGY file_copy")
    for attempt in range(1, CLONE_ATTEMPTS + 1):
        terminate_sessions(connection, source)
        try:
            execute(connection, statement)
            break
        except DatabaseError as error:
            if error.sqlstate != _OBJECT_IN_USE or attempt == CLONE_ATTEMPTS:
                raise
    note = Note(lockkeeper=SCRATCH, database=database, run_id=run_id, created_at=utc_now(), reason=reason)
    try:
        set_comment(connection, name, note.model_dump_json())
        # Its data are as private as the original's, whatever that one grants.
        execute(connection, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    except BaseException:
        drop_database(connection, name)
        raise
    return name


def _locale_clauses(properties: DatabaseProperties, server_version_num: int) -> sql.Composable:
    clauses = {
        "ENCODING": properties.encoding,
        "LC_COLLATE": properties.collate,
        "LC_CTYPE": properties.ctype,
    }
    if server_version_num >= _PROVIDERS_SINCE:
        clauses["LOCALE_PROVIDER"] = _PROVIDERS.get(properties.locale_provider, properties.locale_provider)
        if properties.locale and properties.locale_provider in ("i", "b"):
            key = "ICU_LOCALE" if properties.locale_provider == "i" else "BUILTIN_LOCALE"
            clauses[key] = properties.locale
    return sql.SQL(" ").join(
        sql.SQL("{} {}").format(sql.SQL(key), sql.Literal(value)) for key, value in clauses.items()
    )


def drop_database(connection: Connection, database: str) -> None:
    """DROP DATABASE IF EXISTS ... WITH (FORCE): ends the sessions that are still in it."""
    execute(connection, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def rename(connection: Connection, database: str, new_name: str) -> None:
    """ALTER DATABASE RENAME; PostgreSQL refuses (55006) while anybody is connected. Transactional."""
    statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    execute(connection, statement.format(sql.Identifier(database), sql.Identifier(new_name)))


def terminate_sessions(
    connection: Connection,
    database: str,
    *,
    keep: Collection[int] = (),
    timeout_s: float = TERMINATE_TIMEOUT_S,
) -> int:
    """Terminate sessions until only ``keep`` (process ids) are left; returns how many there were.

    A session that has vanished has handed in its statistics, which the proof of writes relies on.

    Raises:
        DatabaseError: not permitted (42501), or somebody is still there after ``timeout_s``.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + timeout_s
    parameters = {"database": database, "keep": list(keep)}
    while True:
        execute(connection, "SELECT pg_catalog.pg_stat_clear_snapshot()")
        left = fetch_all(connection, named_query("terminate_sessions"), parameters)
        if not left:
            return len(seen)
        seen.update(pid for pid, _, _ in left)
        if time.monotonic() >= deadline:
            who = ", ".join(f"{pid} ({user})" for pid, user, _ in left)
            raise DatabaseError(f"Sessions of {database!r} do not end: {who}. End them by hand.", "55006")
        time.sleep(_POLL_INTERVAL_S)


def prepared_transactions(connection: Connection, database: str) -> list[str]:
    """Return the names of the prepared transactions of a database: they hold it as a session does."""
    rows = fetch_all(
        connection, "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = %s ORDER BY 1", (database,)
    )
    return [gid for (gid,) in rows]


def quarantine_name(database: str, at: datetime) -> str:
    """Return e.g. ``shop_lk_failed_20261123104500``, at most 63 bytes long."""
    suffix = f"_lk_failed_{at:%Y%m%d%H%M%S}"
    return database.encode()[: 63 - len(suffix)].decode(errors="ignore") + suffix


def list_leftovers(server_url: URL, database: str | None = None) -> list[Leftover]:
    """Return the scratch, warm and quarantine databases of a server, those of ``database`` or all.

    A scratch database may belong to a run that is alive: whoever drops one holds the migration lock, or
    knows from the note's ``run_id`` that its run has ended.
    """
    found = []
    with connect(server_url, "leftovers") as connection:
        rows = fetch_all(connection, named_query("noted_databases"))
    for name, _, comment, sessions in rows:
        note = Note.parse(comment)
        kind = note.lockkeeper if note else _kind_by_name(name)
        source = note.database if note else _OWN_SUFFIX.sub("", name)
        if kind not in (SCRATCH, WARM, QUARANTINE) or name == database:
            continue
        if database in (None, source) or (note is None and str(database).startswith(source)):
            found.append(Leftover(name, kind, note, sessions))
    return found


def _kind_by_name(name: str) -> str | None:
    if _QUARANTINE_NAME.search(name):
        return QUARANTINE
    return SCRATCH if _SCRATCH_NAME.search(name) else None


def data_folder(connection: Connection) -> Path | None:
    """Return the server's data folder, a path of this machine; None where it cannot be told.

    It cannot on another machine (see ``is_here``), nor by a role that may not know the folder (not a member
    of pg_read_all_settings).
    """
    rows = fetch_all(connection, named_query("data_directory")) if is_here(connection) else []
    return Path(rows[0][0]) if rows else None


def is_here(connection: Connection) -> bool:
    """Whether the server is on this machine.

    A local address is not enough: behind a tunnel, or in a container, paths mean something else. So where
    processes can be looked at, that of our session must be one of ours.
    """
    host = connection.info.host
    if not host.startswith(("/", "@")) and host not in _LOCAL_HOSTS:
        return False
    if not Path("/proc/self/comm").exists():
        return True
    with contextlib.suppress(OSError):
        return "postgres" in Path(f"/proc/{connection.info.backend_pid}/comm").read_text(encoding="utf-8")
    return False


def free_disk_bytes(connection: Connection) -> int | None:
    """Return what is free on the disk of the server's data folder; None where it cannot be seen."""
    folder = data_folder(connection)
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free if folder else None
    return None
