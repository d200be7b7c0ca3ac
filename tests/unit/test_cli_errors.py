"""However a command ends: one line or one document, the right exit code, no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lockkeeper.cli.output import Session
from lockkeeper.errors import LockkeeperError, NeedsHumanError, PreflightError
from tests.unit.command_line import PASSWORD, Cli


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, changing: bool = False) -> None:
    """Make the command ``target list`` fail; the program around it is the real one."""

    class Broken:
        def __init__(self) -> None:
            raise error

    monkeypatch.setattr("lockkeeper.registry.Registry", Broken)
    if changing:
        original = Session.from_arguments

        def session(argv: list[str]) -> Session:
            made = original(argv)
            made.changing = "lockkeeper status shop"
            return made

        monkeypatch.setattr(Session, "from_arguments", session)


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_demand(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError(f"postgresql://a:{PASSWORD}@h/d"))
    answer = cli("target", "list")
    assert answer.code == 1
    assert "Unexpected RuntimeError" in answer.err
    assert "Traceback" not in answer.err
    debugged = cli("target", "list", "--debug")
    assert "Traceback" in debugged.err
    assert PASSWORD not in answer.err + debugged.err
    assert cli("target", "list", "--json").document["error_type"] == "RuntimeError"


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_unknown_end_of_a_change_needs_a_human(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    failing(monkeypatch, error, changing=True)
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["outcome"]) == (3, "needs a human")
    assert document["next_command"] == "lockkeeper status shop"


def test_an_interruption_before_any_change_is_a_failure(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    answer = cli("target", "list")
    assert answer.code == 1
    assert "interrupted" in answer.err


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), LockkeeperError("no answer")])
@pytest.mark.parametrize("command", ["test", "lint"])
def test_a_check_that_is_cut_short_has_found_nothing_and_says_so(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException
) -> None:
    def cut_short(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("lockkeeper.proving.run_migration_test", cut_short)
    monkeypatch.setattr("lockkeeper.lint.lint_project", cut_short)
    junit = ("--junit", "junit.xml") if command == "test" else ()
    document = cli(command, "--alembic", "alembic.ini", *junit, "--json").document
    assert (document["exit_code"], document["outcome"]) == (2, "could not check")
    assert cli(command, "--alembic", "alembic.ini").err != ""
    if junit:
        suite = ElementTree.parse(home / "junit.xml").getroot()
        assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
        (told,) = suite.iter("error")
        assert str(told.text).endswith(str(error) or "interrupted")


def test_a_project_that_is_not_there_is_an_error_in_the_junit_file(cli: Cli, home: Path) -> None:
    assert cli("test", "--alembic", "nowhere.ini", "--junit", "junit.xml").code == 2
    assert "nowhere.ini" in (home / "junit.xml").read_text()


def test_errors_carry_their_facts_into_the_document(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PreflightError(["server: too old", "disk: full"]))
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["problems"]) == (2, ["server: too old", "disk: full"])
    failing(monkeypatch, NeedsHumanError("Stopped.", "lockkeeper restore shop b1"))
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["next_command"]) == (3, "lockkeeper restore shop b1")


def test_what_a_library_prints_does_not_reach_the_document(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy:
        path = Path("x")

        def entries(self) -> dict[str, Any]:
            print("noise")
            return {}

    monkeypatch.setattr("lockkeeper.registry.Registry", Noisy)
    answer = cli("target", "list", "--json")
    assert answer.document["targets"] == []
    assert "noise" in answer.err
