"""Automations of prefect.yaml really fire on a real server, and do only what the target's policy allows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed, Running

from flows.alert_response import alert_response
from flows.monitor_database import monitor_database
from flows.production_migration import production_migration
from lockkeeper.journal import write_report
from lockkeeper.models import RunReport, Step, StepState, utc_now
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename
from lockkeeper.storage import open_storage
from tasks.blocks import load_target
from tests.flows.observing import work

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


def until(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := read()):
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.25)
    return found


@pytest.fixture(scope="module")
def deployment(prefect_server: str) -> None:
    """alert-response, deployed with its automations as the documentation says."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="lockkeeper", type="process"))
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    deploy = ["prefect", "--no-prompt", "deploy", "--name", "alert-response"]
    subprocess.run(deploy, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120)


def responses(api, action: str, **parameters: object) -> list[FlowRun]:
    runs = [run for run in api.read_flow_runs() if run.parameters.get("action") == action]
    return [run for run in runs if parameters.items() <= run.parameters.items()]


def renaming(shop) -> ColumnRename:
    rename = ColumnRename(shop.url, ColumnChange("users", "balance", "credit"))
    rename.expand()
    return rename


def test_an_alert_pauses_the_rename_and_cancels_nothing_by_default(deployment, make_shop, api) -> None:
    shop = make_shop(policies={"alert_limits": "connections=0.1"})
    rename = renaming(shop)
    assert monitor_database(shop.name, return_state=True).is_completed()
    run = until(lambda: responses(api, "pause-renames", target=shop.name))[0]
    state = work(api, alert_response, run.id)
    assert state.is_completed(), state.message
    assert "pause-renames for lockkeeper.alert.connections.firing: " in state.message
    assert "balance" in state.message
    assert rename.tune().paused
    cancel = until(lambda: responses(api, "cancel-migration", target=shop.name))[0]
    assert work(api, alert_response, cancel.id).name == "NotAllowed"


def test_a_migration_is_cancelled_where_the_policy_says_so(deployment, make_shop, api, deployed) -> None:
    shop = make_shop(policies={"alert_actions": "cancel-migration"})
    mine, other = (deployed(production_migration, target=name, revision="head") for name in (shop.name, "x"))
    for run in (mine, other):
        api.set_flow_run_state(run, Running())
    state = alert_response("cancel-migration", shop.name, alert="a test", return_state=True)
    assert state.is_completed(), state.message
    assert state_of(api, mine) == "Cancelling"
    assert state_of(api, other) == "Running"
    assert alert_response("pause-renames", shop.name, return_state=True).name == "NotAllowed"


def state_of(api, run: UUID) -> str:
    return str(api.read_flow_run(run).state_name)


def test_a_migration_whose_process_died_is_taken_up_once(deployment, make_shop, api, deployed, slack) -> None:
    shop = make_shop(policies={"alert_actions": "recover"})
    target = load_target(shop.name)
    killed = RunReport(
        run_id="20261126T030000Z-dead", operation="migrate", target=shop.name, database=target.database,
        started_at=utc_now(), steps=(Step(name="backup", state=StepState.RUNNING, started_at=utc_now()),),
    )  # fmt: skip
    write_report(open_storage(target.storage), killed)
    crashed = deployed(production_migration, target=shop.name, revision="head")
    api.set_flow_run_state(crashed, Running())
    api.set_flow_run_state(crashed, Crashed())
    run = until(lambda: responses(api, "recover", flow_run_id=str(crashed)))[0]
    state = work(api, alert_response, run.id)
    assert (state.is_completed(), len(slack.wait_for(1))) == (True, 1), state.message
    assert state.message == f"Recover of {shop.name}: succeeded"
    again = alert_response("recover", shop.name, return_state=True)
    assert again.name == "Refused"
    assert "was not killed" in again.message


def test_a_recovery_that_the_policy_leaves_to_a_human_is_refused(make_shop) -> None:
    shop = make_shop(policies={"alert_actions": "recover", "recovery": "manual"})
    state = alert_response("recover", shop.name, return_state=True)
    assert state.name == "Refused"
    assert f"prefect deployment run recover/recover -p target={shop.name} --watch" in state.message
