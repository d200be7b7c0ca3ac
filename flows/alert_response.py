"""What Prefect does by itself on an alert, or when a migration's process died: what the policy allows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import TargetName
from lockkeeper.config import AlertAction
from lockkeeper.errors import RefusedError
from tasks.outcomes import final_state, refused_state
from tasks.responses import cancel_migrations, pause_renames, recover_killed_run, target_of
from tasks.runs import opened_run
from tasks.steps import OperationTasks


@flow(name="alert-response", flow_run_name="{action}", persist_result=False)
def alert_response(
    action: AlertAction,
    target: TargetName | None = None,
    flow_run_id: UUID | None = None,
    alert: str = "an alert",
) -> State[Any]:
    """Pause backfills, cancel the migration that runs, or recover a killed one: what alert_actions allows.

    Its deployment is triggered by alerts of the monitor and by crashed migrations; docs/monitoring.md.

    Args:
        action: What is to be done.
        target: Name of a Migration Target block; default is that of the flow run.
        flow_run_id: The flow run that crashed.
        alert: What it is done for.
    """
    try:
        name = target or target_of(flow_run_id)
        with opened_run(name, "respond") as run:
            if action not in run.target.policies.alert_actions:
                return Completed(
                    name="NotAllowed",
                    message=f"The policy alert_actions of {name} does not allow {action} ({alert}).",
                )
            if action == "recover":
                return final_state(recover_killed_run(name, OperationTasks(run).request()))
            done = (
                pause_renames(name, run.id)
                if action == "pause-renames"
                else cancel_migrations(name, f"Cancelled by an automation: {alert}")
            )
    except RefusedError as error:
        return refused_state(error)
    return Completed(message=f"{action} for {alert}: {', '.join(done) or 'nothing runs'}")
