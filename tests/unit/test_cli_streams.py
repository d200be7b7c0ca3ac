"""Whatever stdout and stderr are, the program writes what it can, and its exit code tells of the database."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockkeeper.cli.output import Result, Session

PROGRAM = str(Path(sys.executable).with_name("lockkeeper"))
STORAGE = "Größe Я"


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a target whose storage has letters that few encodings have."""
    monkeypatch.setenv("LOCKKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    definition = ["--database-url-env", "SHOP_URL", "--storage", str(tmp_path / STORAGE)]
    subprocess.run([PROGRAM, "target", "add", "shop", *definition], check=True, capture_output=True)


def shell(redirected: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        f"{PROGRAM} target {redirected}", shell=True, check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_stdout_does_not_have_change_no_exit_code(encoding: str) -> None:
    command = [PROGRAM, "target", "list"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    shown = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, b"")
    document = subprocess.run([*command, "--json"], env=environment, capture_output=True, check=True)
    assert json.loads(document.stdout)["targets"][0]["storage"]["path"].endswith(STORAGE)


def test_closed_streams_change_no_exit_code() -> None:
    assert shell("list >&- 2>&-").returncode == 0
    assert shell("show nope >&- 2>&-").returncode == 2


def test_a_full_disk_changes_no_exit_code_and_is_said() -> None:
    full = shell("list --json >/dev/full")
    assert full.returncode == 0
    assert "could not be written" in full.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_command_is_never_broken_into_lines_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    line = f"lockkeeper restore shop b1 --alembic '/{'very/' * 30} long' --accept-loss"
    terminal = Terminal()
    Session(stdout=terminal).emit(Result(text="Migration of shop: needs a human", next_command=line))
    assert line in terminal.getvalue()
