"""Restores that are killed, and what they leave behind: found, named, and taken away."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys

import pytest
from psycopg2 import sql

from lockkeeper.backup import create_backup
from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.databases import (
    Note,
    create_scratch,
    exists,
    list_leftovers,
)
from lockkeeper.postgres.fence import fence, find_fenced
from lockkeeper.recovery import (
    drop_scratch_databases,
    find_fence,
    lift_fence,
)
from tests.integration.restorable import names, run, until

RESTORE_AND_DIE = """
import os, signal, sys
from lockkeeper.config import Target
from lockkeeper.recovery import restore_backup
import lockkeeper.recovery.exchange as exchange

target = Target.model_validate_json(sys.stdin.read())
point, backup_id = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

def progress(how_far):
    if how_far.stage == point:
        die()

if point == "after swap":
    original = exchange.swap
    def swap_and_die(*arguments, **named):
        original(*arguments, **named)
        die()
    exchange.swap = swap_and_die
restore_backup(target, backup_id, run_id="r-killed", reason="test", progress=progress,
               before_swap=die if point == "fence" else None)
"""


def secrets_shown(target: Target) -> str:
    shown = {"name": target.name, "database_url": target.database_url.get_secret_value()}
    return json.dumps({**shown, "storage": target.storage.model_dump(mode="json")})


@pytest.mark.parametrize("point", ["download", "compare", "swap", "fence", "after swap"])
def test_a_killed_restore_leaves_the_original_or_the_copy_serving(restorable: Target, point: str):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "DELETE FROM users WHERE id <= 100")
    argv = [sys.executable, "-c", RESTORE_AND_DIE, point, made.id]
    killed = subprocess.run(argv, input=secrets_shown(restorable).encode(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    expected = 500 if point == "after swap" else 400

    def serves() -> bool:
        with contextlib.suppress(DatabaseError):
            return names(restorable) == expected
        return False

    until(serves)  # under the fence its guard lifts it
    until(lambda: find_fence(restorable) is None)
    if point != "after swap":
        (left,) = list_leftovers(restorable.maintenance_url, restorable.database)
        assert left.note is not None
        assert left.note.run_id == "r-killed"
        assert drop_scratch_databases(restorable, "r-killed") == [left.name]
    run(restorable, "INSERT INTO users (name) VALUES ('it takes writes')")


def test_a_fence_whose_guard_died_too_is_found_and_lifted(restorable: Target):
    with connect(restorable.maintenance_url, "tests") as connection:
        fence(connection, restorable.database, run_id="r-dead", reason="a restore that is no more")
        with pytest.raises(DatabaseError, match="not currently accepting connections"):
            names(restorable)
        note = find_fence(restorable)
        assert isinstance(note, Note)
        assert note.run_id == "r-dead"
        assert lift_fence(restorable)
        assert not lift_fence(restorable)
        assert find_fenced(connection) == {}
    assert names(restorable) == 500


def test_somebody_elses_closed_database_is_left_alone(restorable: Target):
    database = sql.Identifier(restorable.database)
    with connect(restorable.maintenance_url, "tests") as connection:
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
        assert find_fence(restorable) is None
        assert not lift_fence(restorable)
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))


def test_scratch_databases_are_found_by_their_note(restorable: Target):
    with connect(restorable.maintenance_url, "tests") as connection:
        name = create_scratch(connection, restorable.database, "verify", run_id="r9", reason="left behind")
        (left,) = list_leftovers(restorable.maintenance_url, restorable.database)
        assert (left.name, left.note and left.note.run_id) == (name, "r9")
        assert drop_scratch_databases(restorable, "another run") == []
        assert drop_scratch_databases(restorable, "r9") == [name]
        assert not exists(connection, name)
