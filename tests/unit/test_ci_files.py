"""The hook and the action that other repositories use ask the command line only for what it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from lockkeeper.cli.main import app

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
ACTION = yaml.safe_load((ROOT / ".github/actions/migration-test/action.yml").read_text())


def options_of(command: str) -> set[str]:
    group = typer.main.get_command(app)
    found = group.commands[command]  # type: ignore[attr-defined]
    return {name for parameter in found.params for name in parameter.opts}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_calls_a_command_with_options_that_it_has(hook: dict) -> None:
    program, command, *rest = [*hook["entry"].split(), *hook["args"]]
    assert program == "lockkeeper"
    assert {word for word in rest if word.startswith("--")} <= options_of(command)
    for place in ("migrations/versions", "alembic/shop/2026", "db/revisions", "migration", "versions"):
        assert re.search(hook["files"], f"{place}/001_add.py"), place
    for other in ("app/models.py", "docs/versions.py", "migrations/README", "submigrations/x.py"):
        assert not re.search(hook["files"], other), other


def test_the_action_calls_test_with_options_that_it_has() -> None:
    steps = ACTION["runs"]["steps"]
    (script,) = [step["run"] for step in steps if "LOCKKEEPER" in step.get("env", {})]
    assert '"$LOCKKEEPER" test' in script
    assert set(re.findall(r"(?<!\S|\w)--[a-z-]+|(?<=\()--[a-z-]+", script)) <= options_of("test")


def test_the_workflows_make_only_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in (ROOT / ".github/workflows").glob("*.yml"):
        asked = re.findall(r"\bmake ([a-z-]+)", re.sub(r"#.*", "", file.read_text()))
        assert set(asked) <= targets, file.name
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert [step["run"].split()[:2] for step in jobs["demo"]["steps"] if "run" in step] == [
        ["make", "demo"],
        ["make", "demo-stop"],
    ]


def test_the_action_takes_nothing_from_its_caller_into_a_script() -> None:
    assert not [step["run"] for step in ACTION["runs"]["steps"] if "${{" in step["run"]]
