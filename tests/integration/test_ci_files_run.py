"""The shell steps of the action and of the workflow for pull requests, run as a runner does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from lockkeeper.local import postgres_server
from lockkeeper.local.postgres_server import EmbeddedPostgres
from tests.integration.conftest import MakeProject

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / ".github/actions/migration-test/action.yml").read_text(encoding="utf-8"))

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/migration-test.yml").read_text(encoding="utf-8"))


def play(folder: Path, inputs: dict[str, str], **environment: str) -> int:
    """Run the steps after the installation; returns the exit code of the first that fails, or 0."""
    known = {name: str(value.get("default", "")) for name, value in ACTION["inputs"].items()}
    assert set(inputs) <= set(known)
    values = {f"inputs.{name}": value for name, value in {**known, **inputs}.items()}
    values |= {"runner.temp": str(folder.parent), "github.action_path": str(ROOT)}
    failed = 0
    for step in ACTION["runs"]["steps"][1:]:
        if not failed or step.get("if") == "always()":
            code = _step(step, values, folder, environment)
            failed = failed or code
    return failed


def _step(step: dict[str, Any], values: dict[str, str], folder: Path, environment: dict[str, str]) -> int:
    own = {name: _filled(str(text), values) for name, text in step.get("env", {}).items()}
    script = folder.parent / "step.sh"
    script.write_text(step["run"])
    # As https://docs.github.com describes `shell: bash`.
    argv = [str(shutil.which("bash")), "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(argv, cwd=folder, env={**os.environ, "PATH": path, **environment, **own}).returncode


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{{ {name} }}}}", value)
    assert "${{" not in text, "an expression that GitHub fills and this test does not know"
    return text


@pytest.mark.parametrize(("name", "code", "failures"), [("sync_template", 0, "0"), ("failing", 1, "1")])
def test_the_action_tests_the_callers_project_and_writes_its_summary_however_it_ends(
    name: str, code: int, failures: str, project: MakeProject, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    folder = project(name).config_file.parent
    installed = tmp_path / "lockkeeper" / "bin"
    installed.mkdir(parents=True)
    (installed / "lockkeeper").symlink_to(Path(sys.executable).parent / "lockkeeper")
    summary = tmp_path / "summary.md"
    url = server.url().render_as_string(hide_password=False)
    assert play(folder, {"server-url-env": "SCRATCH"}, SCRATCH=url, GITHUB_STEP_SUMMARY=str(summary)) == code
    assert summary.read_text().startswith("# Migration test: ")
    suite = ElementTree.parse(folder / "migration-test.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3" if code == 0 else "2", failures)


def test_a_pull_request_runs_every_revision_and_keeps_the_report(
    project: MakeProject, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    assert "migrations/**" in WORKFLOW[True]["pull_request"]["paths"]  # to YAML 1.1, `on` is true
    job = WORKFLOW["jobs"]["migration-test"]
    assert set(job["env"]) == {"SCRATCH_SERVER"}
    migrations = project("sync_template").config_file.parent  # quicker than the demo's
    (migrations / "rules").mkdir()
    checkout, summary = checked_out(tmp_path / "checkout", migrations), tmp_path / "summary.md"
    environment = {
        "SCRATCH_SERVER": server.url().render_as_string(hide_password=False),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    ended = [_step(step, {}, checkout, environment) for step in job["steps"] if "run" in step]
    assert ended == [0, 0]
    assert summary.read_text().startswith("# Migration test: proven: 2 of 2 revisions tested")
    (kept,) = [step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert {file.name for file in checkout.glob(kept)} == {"migration-test.xml", "migration-test.md"}


def checked_out(folder: Path, migrations: Path) -> Path:
    """Return this repository as a checkout after `make setup`, but with these migrations."""
    folder.mkdir()
    for each in ROOT.iterdir():
        if each.name not in (".git", ".venv", ".lockkeeper", "migrations"):
            (folder / each.name).symlink_to(each)
    (folder / "migrations").symlink_to(migrations)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv" / ".locked").touch()
    return folder


def test_programs_that_the_servers_user_cannot_reach_are_copied_with_their_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    server.user = "nobody"
    monkeypatch.setattr(postgres_server, "reachable", lambda *_: False)
    programs = postgres_server.reachable_bin_dir(postgres_server.available_bin_dirs()[16], server.user)
    assert programs.is_relative_to("/var/tmp")
    told = subprocess.run([str(programs / "initdb"), "--version"], capture_output=True, text=True, check=True)
    assert "(PostgreSQL) 16" in told.stdout
