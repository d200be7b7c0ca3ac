"""Reads how a database is: who does what and who waits for whom, then how database and server are.

Reads the catalogue and statistics only, with a statement and a lock time-out on its own session, and needs no
more than the role ``pg_monitor``. What cannot be read is named in the reading, never taken for good.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError
from lockkeeper.models import utc_now
from lockkeeper.monitoring.readings import (
    Activity,
    Command,
    DatabaseVitals,
    Replica,
    Session,
    Slot,
    TableVitals,
    Vitals,
    Wait,
    outline,
)
from lockkeeper.monitoring.repeated_reads import RepeatedReads
from lockkeeper.postgres.connection import Connection, connect, execute
from lockkeeper.postgres.databases import data_folder

PACKAGE = "lockkeeper.monitoring"
STATEMENT_TIMEOUT_MS = 2000
LOCK_TIMEOUT_MS = 200
SESSIONS_SHOWN, TABLES_SHOWN = 50, 20
COUNTS = 6
"""Columns of ``activity`` that count sessions; those after them describe one."""
AT_LEAST_S = 0.2
"""Transactions younger than this are nobody's concern."""
REST, DEAR_REST = 1000, 10_000
"""In looks each second a group takes a thousandth of the time at most; what no migration changes fast, and
whose cost grows with the number of tables, a ten-thousandth."""
DEAR, URGENT = ("tables", "sequences"), ("replication", "commands")
"""What the impact budget and the progress are taken from is read in every look."""
SETTINGS = {"jit": "off", "max_parallel_workers_per_gather": "0", "default_transaction_read_only": "on"}
"""A plan that is compiled, or made for parallel workers, would cost more than the reading itself."""
DATABASE_SIZE = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())::bigint"
PG_MONITOR = "GRANT pg_monitor TO <the target's user>"
READ_SEQUENCES = "GRANT SELECT ON ALL SEQUENCES IN SCHEMA <schema> TO <the target's user>"


@lru_cache(maxsize=64)
def versioned_query(name: str, major: int) -> str:
    """Return ``queries/<name>_<since>.sql`` with the highest ``since`` up to ``major``, or ``<name>.sql``."""
    folder = resources.files(PACKAGE).joinpath("queries")
    known = [file.name.removesuffix(".sql").rpartition("_") for file in folder.iterdir()]
    since = [int(suffix) for stem, _, suffix in known if stem == name and suffix.isdigit()]
    fitting = max((version for version in since if version <= major), default=None)
    file_name = f"{name}.sql" if fitting is None else f"{name}_{fitting}.sql"
    return folder.joinpath(file_name).read_text(encoding="utf-8")


@contextlib.contextmanager
def sampling(
    url: URL, role: str = "monitor", run_id: str | None = None, *, statement_timeout_ms: int | None = None
) -> Iterator[Sampler]:
    """Open a sampler with a read-only session of its own; raises ConnectionLostError."""
    timeout_ms = statement_timeout_ms or STATEMENT_TIMEOUT_MS
    with connect(
        url, role, run_id=run_id, lock_timeout_ms=LOCK_TIMEOUT_MS, statement_timeout_ms=timeout_ms
    ) as connection:
        execute(connection, ";".join(f"SET {name} = {value}" for name, value in SETTINGS.items()))
        yield Sampler(connection)


class Sampler:
    """Takes readings through one connection; remembers commands from look to look, for their ETA."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._major = connection.server_version // 10000
        self._reads = RepeatedReads(connection)
        self._commands: dict[tuple[int, str], tuple[datetime, Command]] = {}
        self._latest: Vitals | None = None
        self._due: dict[str, float] = {}

    def _rows(self, name: str, parameters: Any = None) -> list[Any]:
        return self._reads.rows(versioned_query(name, self._major), parameters)

    def activity(self, at: datetime | None = None) -> Activity:
        """Read sessions and waits; the lock table is read only when somebody waits."""
        rows = self._rows("activity", {"at_least_s": AT_LEAST_S, "limit": SESSIONS_SHOWN})
        connections, active, idle, waiting, hidden, limit = rows[0][:COUNTS]
        sessions = tuple(_session(*row[COUNTS:]) for row in rows if row[COUNTS] is not None)
        waits = self.waits() if waiting else ()
        return Activity(at or utc_now(), connections, active, idle, hidden, limit, sessions, waits)

    def waits(self) -> tuple[Wait, ...]:
        """Read who waits for whom; asks the lock manager, so only to be called when somebody waits."""
        return tuple(_wait(row) for row in self._rows("waits"))

    def own_sessions(self, names: Sequence[str]) -> tuple[dict[int, str], bool]:
        """Return pid -> state of the sessions with these names, and whether anybody waits for a lock."""
        rows = self._rows("own_backends", {"names": list(names)})
        own = {pid: state for pid, state, is_own, _ in rows if is_own}
        return own, any(waits for *_, waits in rows)

    def vitals(self, at: datetime | None = None, *, sparing: bool = False) -> Vitals:
        """Read everything else, group by group; one that fails is named in ``unseen``.

        Args:
            at: when the look is taken; default now.
            sparing: keep a group, unless it is ``URGENT``, as it was in the look before until it has rested
                ``REST`` (or ``DEAR_REST``) times as long as reading it took: for looks each second. Growth
                cannot be measured between such looks.

        Raises:
            ConnectionLostError: the session is gone.
        """
        vitals = replace(self._latest or Vitals(utc_now()), at=at or utc_now())
        for name, read in self._groups().items():
            started = time.monotonic()
            if sparing and started < self._due.get(name, 0.0):
                continue
            unseen = {group: why for group, why in vitals.unseen.items() if group != name}
            vitals = replace(vitals, unseen=unseen)
            try:
                vitals = read(vitals)
            except ConnectionLostError:
                raise
            except DatabaseError as error:
                vitals = replace(vitals, unseen={**unseen, name: str(error).splitlines()[0]})
            ended = time.monotonic()
            rest = 0 if name in URGENT else DEAR_REST if name in DEAR else REST
            self._due[name] = ended + (ended - started) * rest
        self._latest = vitals
        return vitals

    def _groups(self) -> dict[str, Callable[[Vitals], Vitals]]:
        return {
            "database": self._database,
            "size": self._size,
            "tables": self._tables,
            "replication": self._replication,
            "WAL": self._wal,
            "sequences": self._sequences,
            "locks": self._locks,
            "commands": self._progress,
            "disk": self._disk,
        }

    def _database(self, vitals: Vitals) -> Vitals:
        size_bytes = vitals.database.size_bytes if vitals.database is not None else None
        database = DatabaseVitals(size_bytes, *self._rows("database")[0])
        return replace(vitals, database=replace(database, invalid_indexes=tuple(database.invalid_indexes)))

    def _size(self, vitals: Vitals) -> Vitals:
        if vitals.database is None:
            return vitals
        [(size_bytes,)] = self._reads.rows(DATABASE_SIZE)
        return replace(vitals, database=replace(vitals.database, size_bytes=size_bytes))

    def _tables(self, vitals: Vitals) -> Vitals:
        rows = self._rows("tables", {"limit": TABLES_SHOWN})
        return replace(vitals, tables=tuple(TableVitals(*row) for row in rows))

    def _replication(self, vitals: Vitals) -> Vitals:
        if vitals.database is not None and vitals.database.in_recovery:
            return vitals
        rows = self._rows("replicas")
        replicas = tuple(Replica(*row) for row in rows if row[1] is not None)
        slots = tuple(Slot(*row) for row in self._rows("slots"))
        seen = replace(vitals, replicas=replicas, slots=slots)
        hidden = len(rows) - len(replicas)
        return _could_not_see(seen, "replication", f"{hidden} replicas", PG_MONITOR) if hidden else seen

    def _wal(self, vitals: Vitals) -> Vitals:
        if vitals.database is not None and vitals.database.in_recovery:
            return vitals
        written, timed, requested = self._rows("wal")[0]
        return replace(vitals, wal_bytes=written, checkpoints_timed=timed, checkpoints_requested=requested)

    def _sequences(self, vitals: Vitals) -> Vitals:
        rows = self._rows("sequences")
        hidden = rows[0][2]
        seen = replace(vitals, sequences=tuple((name, used) for name, used, _ in rows if name is not None))
        return _could_not_see(seen, "sequences", f"{hidden} sequences", READ_SEQUENCES) if hidden else seen

    def _locks(self, vitals: Vitals) -> Vitals:
        locks, slots = self._rows("lock_table")[0]
        return replace(vitals, locks=locks, lock_slots=slots)

    def _progress(self, vitals: Vitals) -> Vitals:
        rows = self._rows("progress")
        hidden = sum(row[3] is None for row in rows)
        seen = replace(vitals, commands=tuple(self._timed(rows, vitals.at)))
        return _could_not_see(seen, "commands", f"{hidden} long commands", PG_MONITOR) if hidden else seen

    def commands(self, at: datetime) -> list[Command]:
        """Read the long commands, with the time that each will still take at its rate so far."""
        return self._timed(self._rows("progress"), at)

    def _timed(self, rows: list[Any], at: datetime) -> list[Command]:
        found = [Command(*row) for row in rows if row[3] is not None]
        known = self._commands
        self._commands = {}
        timed = []
        for command in found:
            key = (command.pid, command.phase)
            since, first = known.get(key, (at, command))
            if command.done < first.done:  # the phase began anew, as for the next partition or index
                since, first = at, command
            self._commands[key] = (since, first)
            seconds = (at - since).total_seconds()
            rate = (command.done - first.done) / seconds if seconds > 0 else 0.0
            eta_s = (command.total - command.done) / rate if rate > 0 and command.total > 0 else None
            timed.append(replace(command, eta_s=eta_s))
        return timed

    @cached_property
    def _data_folder(self) -> Path | None:
        return data_folder(self.connection)

    def _disk(self, vitals: Vitals) -> Vitals:
        """Measure the disk of the data directory, when the server is on this machine."""
        if self._data_folder is None:
            return vitals
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._data_folder)
            return replace(vitals, disk_free_share=disk.f_bavail / max(1, disk.f_blocks))
        return vitals


def _could_not_see(vitals: Vitals, group: str, what: str, remedy: str) -> Vitals:
    why = f"{what} cannot be seen by this role. Run: {remedy}"
    return replace(vitals, unseen={**vitals.unseen, group: why})


def _session(*row: Any) -> Session:
    session = Session(*row)
    return replace(session, statement=outline(session.statement))


def _wait(row: Any) -> Wait:
    wait = Wait(*row)
    return replace(
        wait,
        waiter_statement=outline(wait.waiter_statement),
        blocker_statement=outline(wait.blocker_statement),
    )
