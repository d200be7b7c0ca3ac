"""What the tests look at after a run: its tasks, its report, its log, and what it may have left behind."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import threading
import time
from typing import Any
from uuid import UUID

from prefect.cli._utilities import load_json_key_values
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from flows.production_migration import production_migration
from lockkeeper.postgres.connection import connect, fetch_all


def play(target: str, revision: str = "head") -> State[Any]:
    """Run the flow and return its last state instead of raising."""
    return production_migration(target, revision, return_state=True)


def flow_run_id(state: State[Any]) -> UUID:
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def parameters_in(line: str) -> dict[str, Any]:
    """The parameters that Prefect reads in a shell line that starts a deployment."""
    given = [value for option, value in itertools.pairwise(shlex.split(line)) if option == "-p"]
    values: dict[str, Any] = load_json_key_values(given, "parameter")
    return values


def task_runs(api: SyncPrefectClient, state: State[Any]) -> dict[str, str]:
    """Task name -> state of every task of a run, in order of their start; recording lags a little."""
    wanted = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[flow_run_id(state)]))
    deadline = time.monotonic() + 20
    while True:
        found = api.read_task_runs(task_run_filter=wanted, flow_run_filter=None)
        states = {
            run.name.rsplit("-", 1)[0]: run.state_name or ""
            for run in sorted(found, key=lambda run: run.start_time or run.created)
        }
        settled = "report" in states and not {"Pending", "Running"} & set(states.values())
        if settled or time.monotonic() > deadline:
            return states
        threading.Event().wait(0.2)


def report_of(api: SyncPrefectClient, state: State[Any]) -> str:
    """The story that the UI shows for a run."""
    return next(iter(reports(api, flow_run_id(state))))


def artifact_of(api: SyncPrefectClient, state: State[Any], key: str) -> str:
    """The artifact that a run has left under ``key``."""
    return artifacts_of(api, state, key)[0]


def artifacts_of(api: SyncPrefectClient, state: State[Any], key: str) -> list[str]:
    """All versions of an artifact that a run has left."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id(state)]))
    return [str(one.data) for one in api.read_artifacts(artifact_filter=wanted) if one.key == key]


def leftovers(shop: Any) -> list[str]:
    """Scratch databases and sessions that a run must not leave behind."""
    with connect(shop.url.set(database="postgres"), "tests") as connection:
        databases = fetch_all(
            connection, "SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{shop.url.database}_lk%",)
        )
        sessions = fetch_all(
            connection,
            "SELECT application_name FROM pg_stat_activity "
            "WHERE application_name LIKE 'lockkeeper:%%' AND datname = %s",
            (shop.url.database,),
        )
    return [str(row[0]) for row in databases + sessions]


def log_of(api: SyncPrefectClient, state: State[Any]) -> list[str]:
    """The messages that Prefect keeps of a run; they arrive in batches."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id(state)]))
    deadline = time.monotonic() + 20
    while True:
        logs = api.read_logs(log_filter=wanted)
        own = [log.message for log in logs if log.task_run_id is None]  # its tasks finish, too
        if any("Finished in state" in message for message in own) or time.monotonic() > deadline:
            return [log.message for log in logs]
        threading.Event().wait(0.2)


def work(api: SyncPrefectClient, a_flow: Any, run: UUID) -> State[Any]:
    """Do what a worker's process does with a scheduled run, and return the state that it leaves."""
    flow_run = api.read_flow_run(run)
    with contextlib.suppress(Pause):
        run_flow(a_flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
    state = api.read_flow_run(run).state
    assert state is not None
    return state


def answer(api: SyncPrefectClient, run: UUID, **form: str) -> str:
    return api.resume_flow_run(run, run_input=form).status.value


def reports(api: SyncPrefectClient, run: UUID) -> list[str]:
    """The stories of a run that a worker took up several times; by their key: links are Markdown, too."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    found = api.read_artifacts(artifact_filter=wanted)
    return [str(one.data) for one in found if "-report-" in (one.key or "")]
