"""What earlier runs have left on the servers and on this machine, removed because somebody says so."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.recoveries import run_clean
from tasks.later import LaterTasks
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run


@flow(name="clean", flow_run_name="{target}", persist_result=False)
def clean_target(target: TargetName, waiting: bool = False, quarantine: str | None = None) -> State[Any]:
    """Remove scratch databases, captures, warm copies, old quarantines and a write fence that were left.

    Nothing of a run that is alive is touched: it takes the migration lock.

    Args:
        target: Name of a Migration Target block, e.g. shop.
        waiting: Also remove what waits for an undo or for a recovery.
        quarantine: Also drop the newest quarantine, by its name.
    """
    try:
        with opened_run(target, "clean") as run:
            steps = LaterTasks(run)
            report = run_clean(steps, steps.request(), quarantine=quarantine, waiting=waiting)
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
