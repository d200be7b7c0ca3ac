"""A migration that was killed, or that left the rest to a human, taken up again because somebody says so."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.recoveries import run_recover
from tasks.later import LaterTasks
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run


@flow(name="recover", flow_run_name="{target}", persist_result=False)
def recover_migration(target: TargetName) -> State[Any]:
    """Climb the recovery ladder with what the run has left: its backup, its capture, its warm copy.

    Nothing that an application has written is lost where it was captured. Runs on the machine of that run,
    where the capture is; can be killed and run again. Under the policy recovery=manual you are the human.

    Args:
        target: Name of a Migration Target block, e.g. shop.
    """
    try:
        with opened_run(target, "recover") as run:
            steps = LaterTasks(run)
            report = run_recover(steps, steps.request())
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
