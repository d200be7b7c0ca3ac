"""The program in this process, in a home of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockkeeper.cli import main as program
from tests.unit.command_line import Answer, Cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCKKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = scripts\n")
    return tmp_path


@pytest.fixture
def cli(home: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Return a function: arguments -> exit code, stdout, stderr of the program."""

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        code = program.run(list(arguments))
        return Answer(code, *capfd.readouterr())

    yield run
    logger = logging.getLogger("lockkeeper")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    logging.raiseExceptions = True
