"""Lifts a fence whose maker was killed: a small process that outlives it.

It is told what to do by its environment (PG* and LOCKKEEPER_FENCE_*), says ``ready`` and waits. When its
stdin ends without the word ``done``, its maker is dead: it lifts the fence of that run, trying for a while.
Without it a kill -9 under the fence would leave the database closed until somebody runs ``unfence``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Literal

from sqlalchemy.engine import URL

from lockkeeper.backup.dump import client_environment
from lockkeeper.errors import DatabaseError, ProgramError
from lockkeeper.postgres.connection import Connection, connect
from lockkeeper.postgres.fence import find_fenced, unfence
from lockkeeper.postgres.read_only import KEPT, find_read_only, make_writable
from lockkeeper.process import running

DATABASE, RUN_ID, KIND = (f"LOCKKEEPER_FENCE_{name}" for name in ("DATABASE", "RUN_ID", "KIND"))
FenceKind = Literal["closed", "read-only"]
LIFT_TIMEOUT_S = 600.0
_PAUSE_S = 1.0


@contextlib.contextmanager
def guarded_fence(
    maintenance_url: URL, database: str, run_id: str, kind: FenceKind = "closed"
) -> Iterator[None]:
    """Have a guard stand by for the length of the block; raises ProgramError when it does not start.

    ``kind`` is what it lifts: the database that nobody may enter, or the one that applications only read.
    """
    environment = client_environment(maintenance_url, "guard", run_id)
    environment |= {DATABASE: database, RUN_ID: run_id, KIND: kind}
    argv = [sys.executable, "-c", "from lockkeeper.recovery.fence_guard import main; main()"]
    with running(argv, env=environment, stdin=subprocess.PIPE, die_with_parent=False) as guard:
        if guard.stdin is None or guard.stdout is None or guard.stdout.readline() != b"ready\n":
            raise ProgramError(argv, None, guard.stderr())
        yield
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.write(b"done\n")
            guard.stdin.flush()


def lift(
    maintenance_url: URL,
    database: str,
    run_id: str,
    kind: FenceKind = "closed",
    timeout_s: float = LIFT_TIMEOUT_S,
) -> bool:
    """Lift the fence of ``run_id`` if it is there; tries again while the server cannot be reached.

    Raises:
        DatabaseError: still not possible after ``timeout_s``; ``lockkeeper`` can lift it later.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with connect(
                maintenance_url, "unfence", run_id=run_id, statement_timeout_ms=30_000
            ) as connection:
                return _lift_own(connection, database, run_id, kind)
        except DatabaseError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)


def _lift_own(connection: Connection, database: str, run_id: str, kind: FenceKind) -> bool:
    find, lift_it = (find_fenced, unfence) if kind == "closed" else (find_read_only, make_writable)
    note = find(connection).get(database)
    if note is None or note.run_id != run_id or note.stage == KEPT:
        return False
    return lift_it(connection, database)


def main() -> None:
    """Wait for the maker's end; see the module."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if "done" not in sys.stdin.read():
        # libpq takes everything else from the PG* variables.
        url = URL.create("postgresql", database=os.environ["PGDATABASE"])
        kind: FenceKind = "read-only" if os.environ[KIND] == "read-only" else "closed"
        lift(url, os.environ[DATABASE], os.environ[RUN_ID], kind)
