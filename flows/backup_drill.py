"""A recovery from storage, practised: restored, compared, timed, held against the objective."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.operations import run_drill
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run
from tasks.steps import OperationTasks


@flow(name="backup-drill", flow_run_name="{target}", persist_result=False)
def backup_drill(target: TargetName) -> State[Any]:
    """Bring the newest verified backup back on the scratch server, compare it, time it.

    Changes nothing. Ends as Failed, and tells the team, when the backup does not come back or when a
    recovery would take longer than the target's policy recovery_objective_s allows.

    Args:
        target: Name of a Migration Target block, e.g. shop.
    """
    try:
        with opened_run(target, "drill") as run:
            steps = OperationTasks(run)
            report = run_drill(steps, steps.request())
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
