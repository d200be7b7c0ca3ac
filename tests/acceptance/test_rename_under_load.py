"""Old and new versions of the application and plain SQL write while a column is renamed from a shell.

Judged by the application's own journals (tests/acceptance/app): no statement failed, no write was lost, none
was mixed up, none was read wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from tests.acceptance.app.processes import Application, application, fill_shop

pytestmark = pytest.mark.load

LOCKKEEPER = str(Path(sys.executable).with_name("lockkeeper"))
ROWS = 2_000
COLUMN = ("shop", "products", "description", "description_new")
QUICK = ("ramp.observe_s=1", "ramp.sample_interval_s=0.2", "scream_s=1", "throttle.batch_rows=100")


@pytest.fixture
def app(database: URL, tmp_path: Path) -> Iterator[Application]:
    fill_shop(database, ROWS)
    with application(database, tmp_path, ROWS) as app:
        yield app


def command_of(app: Application, command: str, *more: str) -> tuple[list[str], dict[str, str]]:
    """Return argv and environment of ``lockkeeper rename COMMAND``."""
    column = COLUMN[:1] if command == "status" else COLUMN
    policy = [] if command == "status" else [word for entry in QUICK for word in ("--policy", entry)]
    argv = [
        LOCKKEEPER, "rename", command, *column, "--database-url-env", "SHOP_URL",
        "--storage", str(app.folder / "storage"), "--json", *policy, *more,
    ]  # fmt: skip
    environment = {**os.environ, "SHOP_URL": app.url.render_as_string(hide_password=False)}
    return argv, environment


def rename(app: Application, command: str, *more: str, expect: int = 0) -> dict[str, Any]:
    """Run ``lockkeeper rename COMMAND`` as an operator does."""
    argv, environment = command_of(app, command, *more)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == expect, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def kill_in(app: Application, command: str, stage: str, *more: str) -> None:
    """Start a command and kill -9 it once the ledger is at ``stage``."""
    argv, environment = command_of(app, command, *more)
    exists = "SELECT to_regclass('lockkeeper.column_change') IS NOT NULL"
    with (
        connect(app.url, "tests") as connection,
        subprocess.Popen(
            argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process,
    ):
        pause = threading.Event()
        for _ in range(12_000):
            ledger = "SELECT stage FROM lockkeeper.column_change"
            if fetch_all(connection, exists)[0][0] and fetch_all(connection, ledger) == [(stage,)]:
                break
            assert process.poll() is None, "it ended before it came to that stage"
            pause.wait(0.005)
        process.kill()


def columns(app: Application) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'products'"
    with connect(app.url, "tests") as connection:
        return {name for (name,) in fetch_all(connection, query)}


def schema_of(app: Application) -> Any:
    """The application's schema; the ledger has one of its own."""
    with connect(app.url, "tests") as connection:
        schema = schema_fingerprint(connection)
    objects = {
        kind: {name: facts for name, facts in found.items() if "lockkeeper" not in name}
        for kind, found in schema.objects.items()
    }
    return schema.model_copy(update={"objects": objects})


def assert_nothing_was_lost(app: Application) -> None:
    app.stop()
    story = app.story()
    assert story.failed == []
    assert story.wrong_reads == []
    assert app.problems() == []
    assert story.acknowledged > 500


def test_nobody_fails_and_nothing_is_lost_from_the_first_stage_to_the_last(app: Application) -> None:
    old, raw = app.start("old", rate=40), app.start("raw", rate=40)
    waiting = rename(app, "start")
    assert waiting["outcome"] == "waits for approval"
    assert waiting["next_command"].startswith("lockkeeper rename flip shop products description")
    new = app.start("new", rate=40)
    app.work()
    rename(app, "flip", "--reason", "quiet hour")
    app.work()
    newest, raw_new = app.start("newest", rate=40), app.start("raw-new", rate=20)
    app.work()
    app.stop(old, raw, new)
    contracted = rename(app, "contract")
    assert contracted["outcome"] == "succeeded"
    app.work()
    assert {newest, raw_new} == set(app.running)
    assert "description" not in columns(app)
    rename(app, "undo", "--reason", "an old job was forgotten")
    old_again = app.start("old", rate=40)
    app.work()
    assert old_again in app.running
    (told,) = rename(app, "status")["renames"]
    assert "an old job was forgotten" in str(told["history"])
    assert_nothing_was_lost(app)


@pytest.mark.parametrize("flipped", [False, True], ids=["before the flip", "after the flip"])
def test_an_abort_leaves_the_schema_of_before_and_every_write(app: Application, flipped: bool) -> None:
    before = schema_of(app)
    app.start("old", rate=40)
    app.start("raw", rate=40)
    rename(app, "start")
    new = app.start("new", rate=40)
    if flipped:
        rename(app, "flip")
        assert "observing" in str(rename(app, "status")["renames"])
    app.work()
    app.stop(new)
    rename(app, "abort")
    app.work()
    assert compare_schemas(before, schema_of(app)) == []
    assert_nothing_was_lost(app)


def test_what_comes_too_early_is_refused_and_changes_nothing(app: Application) -> None:
    before = schema_of(app)
    assert "never begun" in rename(app, "contract", expect=2)["error"]
    rename(app, "abort", expect=2)
    assert compare_schemas(before, schema_of(app)) == []
    rename(app, "start")
    assert "flip" in rename(app, "contract", expect=2)["error"]
    wrong = rename(app, "flip", "--policy", "ramp.observe=1", expect=2)
    assert "--policy is not valid: ramp.observe" in wrong["error"]
    assert {"description", "description_new"} <= columns(app)


def test_a_flag_that_is_used_for_something_else_is_not_taken(app: Application) -> None:
    rename(app, "start", "--flag", "of-my-own")
    rename(app, "flip")
    with connect(app.url, "tests") as connection:
        assert fetch_all(connection, "SELECT name, percent FROM lockkeeper.feature_flag") == [
            ("of-my-own", 100)
        ]
        execute(connection, "ALTER TABLE products ADD COLUMN other text")
    refused = rename(app, "flip", "--flag", "another", expect=2)
    assert "begun with the flag 'of-my-own'" in refused["error"]


def test_kill_9_in_backfill_flip_and_scream_test_costs_nobody_a_write(app: Application) -> None:
    old, raw = app.start("old"), app.start("raw")
    kill_in(app, "start", "backfilling", "--policy", "throttle.pause_ms=300")
    assert "backfilling" in str(rename(app, "status")["renames"])
    rename(app, "start", "--policy", "throttle.pause_ms=0")
    new = app.start("new")
    kill_in(app, "flip", "flipped")
    rename(app, "flip")
    app.start("newest")
    app.stop(old, raw, new)
    kill_in(app, "contract", "screaming")
    rename(app, "contract")
    app.work()
    assert "description" not in columns(app)
    app.stop()
    story = app.story()
    assert story.failed == []
    assert story.wrong_reads == []
    assert app.problems() == []
