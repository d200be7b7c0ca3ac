"""What a run tells somebody to do next is copied into a shell, and works there."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.options import TargetOptions
from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_value
from tests.acceptance.aftermath import assert_as_before
from tests.acceptance.shell import at_a_shell, register

ZERO_BALANCES = 'op.execute("UPDATE users SET balance = 0")'
NOT_ZERO = "SELECT id FROM users WHERE balance = 0"


@pytest.fixture
def failing(shop: Any) -> Any:
    """A shop whose migration commits wrong values and has no way back; a human decides about a restore."""
    shop.with_policies(recovery="manual")
    shop.add_revision("r1", ZERO_BALANCES, "raise NotImplementedError('no way back')")
    shop.add_rule("no_zero", NOT_ZERO)
    return shop


def needing_a_human(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line that a run of the program has left for a human."""
    document = json.loads(done.stdout)
    assert (done.returncode, document["outcome"]) == (3, "needs a human"), document["error"]
    return str(document["next_command"])


def balances(shop: Any) -> int:
    with connect(shop.url, "tests") as connection:
        return int(fetch_value(connection, "SELECT sum(balance) FROM users"))


class CommandEngine(Engine):
    """The engine as the command line has it for a registered target."""

    def __init__(self, target: Target, run_id: str) -> None:
        super().__init__(target, run_id)
        self.by_hand = command_line("shop", TargetOptions())


def test_a_registered_target_is_restored_by_the_line_that_was_printed(
    failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as shell_of_the_run:
        for name, value in register(failing, tmp_path / "the home").items():
            shell_of_the_run.setenv(name, value)
        report = failing.migrate(engine_type=CommandEngine)
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert balances(failing) == 0, "nothing was done about it yet"

    done = at_a_shell(failing, report.next_command)  # of somebody who has not set LOCKKEEPER_HOME

    assert done.returncode == 0, done.stdout
    assert_as_before(failing)


def test_a_target_given_by_options_is_recovered_by_the_line_with_them(failing, tmp_path: Path) -> None:
    """Also when what was given has to be quoted, and was given as seen from another folder."""
    storage = tmp_path / "kept; for 'us' & $HOME"
    options = [
        "shop", "--database-url-env", "SHOP_URL", "--alembic", "alembic.ini", "--rules", "rules",
        "--storage", f"../{storage.name}", "--set", "recovery=manual", "--set", "rehearsal=off", "--json",
    ]  # fmt: skip
    folder = shlex.quote(str(failing.folder))
    home = {"LOCKKEEPER_HOME": str(tmp_path / "home")}
    line = needing_a_human(
        at_a_shell(failing, f"cd {folder} && lockkeeper migrate {shlex.join(options)} 2>/dev/null", **home)
    )
    assert failing.target.url.password is None or failing.target.url.password not in line
    with connect(failing.url, "application") as connection:
        execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")

    done = at_a_shell(failing, line)

    assert done.returncode == 0, done.stdout
    assert balances(failing) > 0
    with connect(failing.url, "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 5000") == "acknowledged"
        execute(connection, "DELETE FROM orders WHERE id = 5000")
    assert_as_before(failing)
