"""What an automation may do on an alert, where the target's policy allows it."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelling

from lockkeeper.errors import RefusedError
from lockkeeper.journal import read_reports
from lockkeeper.models import RunReport
from lockkeeper.recoveries import run_recover
from lockkeeper.rename.engine import pause_backfills
from lockkeeper.runbook import MigrationRequest
from lockkeeper.storage import open_storage
from tasks.policies import once
from tasks.runs import engine_of

MIGRATION_FLOW = "production-migration"


def target_of(flow_run_id: UUID | None) -> str:
    """Return the target that a flow run is about; raises RefusedError."""
    if flow_run_id is None:
        raise RefusedError("Name a target, or the flow run whose target it is.")
    with get_client(sync_client=True) as client:
        target = client.read_flow_run(flow_run_id).parameters.get("target")
    if target is None:
        raise RefusedError(f"Flow run {flow_run_id} has no target.")
    return str(target)


@once(name="pause-renames")
def pause_renames(target: str, run_id: str) -> list[str]:
    """Pause every backfill of a rename in the target; returns which."""
    return pause_backfills(engine_of(target, run_id).target.url)


@once(name="cancel-migrations")
def cancel_migrations(target: str, reason: str) -> list[str]:
    """Ask Prefect to cancel the target's migrations that run; each ends its statement and recovers itself."""
    with get_client(sync_client=True) as client:
        found = [run for run in _running_migrations(client) if run.parameters.get("target") == target]
        for run in found:
            client.set_flow_run_state(run.id, Cancelling(message=reason))
    return [run.name for run in found]


def _running_migrations(client: SyncPrefectClient) -> list[FlowRun]:
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[MIGRATION_FLOW])),
        flow_run_filter=FlowRunFilter(state=running),
    )


@once(name="recover")
def recover_killed_run(target: str, request: MigrationRequest) -> RunReport:
    """Take up a migration that was killed; tells the team. Holds the migration lock.

    Raises:
        RefusedError: the newest migration was not killed, or the policy leaves recoveries to a human.
    """
    engine = engine_of(target, request.run_id)
    if engine.target.policies.recovery == "manual":
        raise RefusedError(f"The policy recovery=manual leaves it to a human: {engine.by_hand.recover()}")
    reports = read_reports(open_storage(engine.target.storage), target)
    newest = next((report for report in reports if report.operation == "migrate"), None)
    if newest is None or newest.outcome is not None:
        raise RefusedError(f"The newest migration of {target} was not killed: it has ended by itself.")
    return run_recover(engine, request)
