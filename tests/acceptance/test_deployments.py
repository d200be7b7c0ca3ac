"""What needs a real Prefect server: deployments as prefect.yaml makes them, their trigger, the workflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockkeeper.local.prefect_server import EmbeddedPrefect
from tests.acceptance.aftermath import assert_as_before, changed_tables
from tests.webhook_receiver import text_of

ROOT = Path(__file__).parents[2]
DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/prod-migration.yml").read_text(encoding="utf-8"))
PATIENCE_S = 240
pytestmark = pytest.mark.timeout(900)  # a server, a worker and four processes that import Prefect
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPrefect]:
    """A server with all deployments as prefect.yaml makes them, none due by itself, and a worker."""
    server = EmbeddedPrefect(tmp_path_factory.mktemp("deployments") / "home")
    server.start_server()
    try:
        server.wait_until_ready()
        server.create_pool()
        deployed = run(server, [sys.executable, "-m", "prefect", "deploy", "--all", "--no-prompt"], ROOT)
        assert deployed.returncode == 0, deployed.stdout
        for one in deployments(server):
            if one["schedules"]:  # the worker has other things to do than to look at a shop that is not there
                server.request("POST", f"/deployments/{one['id']}/pause_deployment", {})
        server.start_worker(ROOT)
        yield server
    finally:
        server.stop()


def run(
    server: EmbeddedPrefect, argv: list[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
    return subprocess.run(
        argv,
        cwd=folder,
        env={**server.environment(os.environ), "PATH": path, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def save(prefect: EmbeddedPrefect, webhook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function: shop and name (and policies) -> a webhook in Slack's place; saves a target."""

    def make(shop: Any, name: str, *policies: str) -> Any:
        slack = webhook(200)
        argv = [sys.executable, "-m", "tasks", "save-target", name, "--database-url-env", "SHOP_URL"]
        argv += ["--alembic", str(shop.folder / "alembic.ini"), "--storage", str(shop.folder / "storage")]
        argv += ["--slack-webhook-env", "SLACK"]
        for policy in ("capture=off", *policies):
            argv += ["--policy", policy]
        url = shop.target.database_url.get_secret_value()
        saved = run(prefect, argv, ROOT, SHOP_URL=url, SLACK=slack.url.get_secret_value())
        assert saved.returncode == 0, saved.stdout
        return slack

    return make


def migrate(prefect: EmbeddedPrefect, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the step of the workflow as a runner does, in a checkout that `make setup` was run in."""
    (step,) = [one for one in WORKFLOW["jobs"]["migrate"]["steps"] if one.get("name") == "Migrate"]
    assert set(step["env"]) == {"TARGET", "REVISION", "ACTOR"}
    (folder / ".venv").mkdir(exist_ok=True)
    if not (folder / ".venv" / "bin").exists():
        (folder / ".venv" / "bin").symlink_to(PROGRAMS)
    script = folder / "step.sh"
    script.write_text(step["run"])
    argv = [str(shutil.which("bash")), "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    empty = {"PREFECT_API_KEY": "", "PREFECT_API_AUTH_STRING": ""}  # as secrets that are not set
    return run(prefect, argv, folder, ACTOR="ada", **inputs, **empty)


def deployments(prefect: EmbeddedPrefect) -> list[dict[str, Any]]:
    return prefect.request("POST", "/deployments/filter", {})


def runs(prefect: EmbeddedPrefect, flow: str) -> list[dict[str, Any]]:
    wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_DESC"}
    return prefect.request("POST", "/flow_runs/filter", wanted)


def start(prefect: EmbeddedPrefect, name: str, **parameters: str) -> str:
    """Start a run of a deployment; returns its id."""
    deployment = prefect.request("GET", f"/deployments/name/{name}/{name}")
    order = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    return str(prefect.request("POST", f"/deployments/{deployment['id']}/create_flow_run", order)["id"])


def ended(prefect: EmbeddedPrefect, flow_run: str) -> Any:
    state = prefect.request("GET", f"/flow_runs/{flow_run}")["state"]
    return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED") else None


def wait_for(prefect: EmbeddedPrefect, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, prefect.worker_log.read_text()[-3000:]
        time.sleep(0.5)
    return found


def test_one_command_deploys_everything_that_the_file_names(prefect) -> None:
    made = {one["name"]: one for one in deployments(prefect)}
    assert sorted(made) == sorted(one["name"] for one in DECLARED)
    assert {"production-migration", "backup", "restore", "backup-drill", "monitor-database"} <= set(made)
    for one in DECLARED:
        deployment = made[one["name"]]
        assert deployment["entrypoint"] == one["entrypoint"]
        assert deployment["work_pool_name"] == prefect.pool
        assert [plan["schedule"]["cron"] for plan in deployment["schedules"]] == [
            plan["cron"] for plan in one.get("schedules", [])
        ]
        assert deployment["parameter_openapi_schema"]["properties"], "its form knows what can be filled in"
        assert set(one.get("parameters", {})) <= set(deployment["parameter_openapi_schema"]["properties"])


def test_the_workflow_triggers_the_deployment_waits_for_it_and_fails_with_it(
    shop, prefect, save, tmp_path: Path
) -> None:
    shop.add_revision("4711", 'op.execute("ALTER TABLE users ADD COLUMN status text")')
    shop.add_revision("4712", 'raise RuntimeError("no luck with " + os.environ["DATABASE_URL"])')
    slack = save(shop, "workflow", "rehearsal=off")
    failed = migrate(prefect, tmp_path, TARGET="workflow", REVISION="4712")
    assert failed.returncode != 0, failed.stdout
    assert runs(prefect, "production-migration")[0]["state"]["name"] == "Recovered"
    assert shop.differences() == []
    done = migrate(prefect, tmp_path, TARGET="workflow", REVISION="4711")
    assert done.returncode == 0, done.stdout
    assert any("public.users.status" in line for line in shop.differences())
    newest = runs(prefect, "production-migration")[0]
    assert newest["parameters"]["revision"] == "4711", "a revision of digits only stays a text"
    assert "github:ada" in newest["tags"]
    assert len(slack.received) == 2
    assert all("ada (GitHub Actions), deployment production-migration" in str(one) for one in slack.received)
    said = failed.stdout + prefect.server_log.read_text() + prefect.worker_log.read_text()
    assert "no luck with" in said
    assert str(shop.url.password) not in said
    assert "canary-webhook" not in said


def test_the_line_that_a_failed_deployment_leaves_restores_the_database(shop, prefect, save) -> None:
    shop.add_revision("r1", 'op.execute("TRUNCATE orders")', "raise NotImplementedError('no way back')")
    slack = save(shop, "emptied", "rehearsal=off")
    asked = start(prefect, "production-migration", target="emptied", revision="head")
    state = wait_for(prefect, lambda: ended(prefect, asked))
    assert state["name"] == "NeedsHuman", state["message"]
    line = state["message"].rpartition("Next: ")[2]
    assert line in text_of(slack.received[-1])
    assert changed_tables(shop) == {"public.alembic_version", "public.orders"}, "left as it stood"

    done = run(prefect, ["sh", "-c", line], Path("/"))

    assert done.returncode == 0, done.stdout
    assert_as_before(shop)


def test_a_worker_tests_a_project_on_a_scratch_server_of_its_own(shop, prefect) -> None:
    shop.add_revision("r1", 'op.execute("CREATE TABLE notes (id int)")', 'op.execute("DROP TABLE notes")')
    asked = start(prefect, "migration-test", project=str(shop.folder))
    state = wait_for(prefect, lambda: ended(prefect, asked))
    assert state["name"] == "Completed", state["message"]
    assert "0 findings" in state["message"]


def test_an_approval_that_expires_fails_the_workflow_tells_the_team_and_changes_nothing(
    shop, prefect, save, tmp_path: Path
) -> None:
    shop.add_revision(
        "r1",
        'op.execute("ALTER TABLE users ADD COLUMN status text")',
        'op.execute("ALTER TABLE users DROP COLUMN status")',
    )
    slack = save(shop, "unanswered", "approval=always", "approval_timeout_s=2")
    watched = migrate(prefect, tmp_path, TARGET="unanswered", REVISION="head")
    newest = runs(prefect, "production-migration")[0]
    asked, state = newest["id"], newest["state"]
    assert state["type"] == "FAILED", "the workflow has waited while the run was suspended"
    assert watched.returncode != 0, watched.stdout
    assert "Suspended" in watched.stdout
    assert "never resumed" in state["message"], "the server itself has ended it"

    def told() -> Any:
        ours = [one for one in runs(prefect, "approval-expiry") if asked in str(one["parameters"])]
        return next((one for one in ours if one["state"]["type"] in ("COMPLETED", "FAILED")), None)

    expiry = wait_for(prefect, told)
    assert expiry["state"]["type"] == "COMPLETED", expiry["state"]
    assert "Nobody answered approve-" in text_of(slack.received[-1])
    assert shop.differences() == []
