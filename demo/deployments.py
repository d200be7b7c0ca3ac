"""Deploys the flows as an operator does, starts a run through its deployment and follows it to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockkeeper.config import S3StorageSettings, Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.journal import read_reports
from lockkeeper.local.prefect_server import EmbeddedPrefect
from lockkeeper.local.stack import StackState
from lockkeeper.models import RunReport, Step, StepState
from lockkeeper.storage import Storage, open_storage

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOYMENT = "production-migration/production-migration"
RUN_LIMIT_S = 600
_POLL_INTERVAL_S = 0.5
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class FinishedRun:
    """How Prefect and the journal say that a run ended."""

    url: str
    state_type: str
    state_name: str
    message: str
    waited_s: float
    report: RunReport


def save_and_deploy(stack: StackState, targets: list[Target]) -> None:
    """Save the targets' blocks and deploy every flow; both at once, since each imports Prefect for seconds.

    Raises:
        LockkeeperError: one of the two commands failed; the message has its output.
    """
    blocks = {target.name: _block_fields(target) for target in targets}
    saving = _start(stack, ["demo.save_targets"], subprocess.PIPE)
    deploying = _start(stack, ["prefect", "--no-prompt", "deploy", "--all"])
    _finish("saving the targets", saving, json.dumps(blocks))
    _finish("prefect deploy", deploying)


def _start(stack: StackState, module: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    environment = stack.prefect().environment()
    # prefect.yaml's own steps look for `python` on PATH.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=REPOSITORY,
        env=environment,
        text=True,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _finish(what: str, program: subprocess.Popen[str], text: str | None = None) -> None:
    output, _ = program.communicate(text, timeout=300)
    if program.returncode:
        raise LockkeeperError(f"{what} failed (exit code {program.returncode}):\n{output[-3000:]}")


def _block_fields(target: Target) -> dict[str, Any]:
    storage, alembic = target.storage, target.require_alembic()
    if not isinstance(storage, S3StorageSettings) or storage.secret_access_key is None:
        raise LockkeeperError("The demo stores its backups in the embedded S3 server.")
    fields = json.loads(storage.model_dump_json())
    fields["access_key_id"] = storage.access_key_id and storage.access_key_id.get_secret_value()
    fields["secret_access_key"] = storage.secret_access_key.get_secret_value()
    return {
        "database_url": target.database_url.get_secret_value(),
        "alembic": alembic.model_dump(mode="json", exclude={"environment"}),
        "policies": target.policies.model_dump(mode="json"),
        "storage": fields,
    }


def run_deployment(
    stack: StackState, target: Target, revision: str, on_step: Callable[[Step], None]
) -> FinishedRun:
    """Start ``production-migration`` through its deployment and follow it; ``on_step`` gets each ended step.

    Raises:
        LockkeeperError: the run did not end in time, or left no report.
    """
    prefect, storage = stack.prefect(), open_storage(target.storage)
    deployment = prefect.request("GET", f"/deployments/name/{DEPLOYMENT}")
    started = time.monotonic()
    order = {"parameters": {"target": target.name, "revision": revision}}
    run = prefect.request("POST", f"/deployments/{deployment['id']}/create_flow_run", order)
    ended, report = _follow(prefect, storage, target.name, run["id"], on_step)
    state = ended["state"]
    if report is None:
        raise LockkeeperError(f"The run left no report. Prefect says: {state['name']}: {state['message']}")
    return FinishedRun(
        url=f"{stack.ui_url}/runs/flow-run/{run['id']}",
        state_type=state["type"],
        state_name=state["name"],
        message=state["message"] or "",
        waited_s=time.monotonic() - started,
        report=report,
    )


def _follow(
    prefect: EmbeddedPrefect, storage: Storage, target: str, run_id: str, on_step: Callable[[Step], None]
) -> tuple[dict[str, Any], RunReport | None]:
    """Wait for the run's end and return it as Prefect and as the journal know it."""
    deadline = time.monotonic() + RUN_LIMIT_S
    shown = 0
    while True:
        run = prefect.request("GET", f"/flow_runs/{run_id}")
        reports = read_reports(storage, target, newest=1)
        report = next((one for one in reports if one.run_id.endswith(run_id[:8])), None)
        ended = [step for step in report.steps if step.state is not StepState.RUNNING] if report else []
        for step in ended[shown:]:
            on_step(step)
        shown = len(ended)
        if run["state"]["type"] in _ENDED:
            return run, report
        if time.monotonic() > deadline:
            raise LockkeeperError(f"The run did not end within {RUN_LIMIT_S} s; see {prefect.worker_log}")
        time.sleep(_POLL_INTERVAL_S)
