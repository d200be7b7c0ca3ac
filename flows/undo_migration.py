"""A migration that succeeded, undone because somebody says so, with every write since kept."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.recoveries import run_undo
from tasks.later import LaterTasks
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run


@flow(name="undo", flow_run_name="{target}", persist_result=False)
def undo_migration(target: TargetName) -> State[Any]:
    """Let the copy that the policy bake_time_s has kept take the database's place, with every write since.

    Runs on the machine of the migration, where what feeds the copy is. Refuses when no copy is kept.

    Args:
        target: Name of a Migration Target block, e.g. shop.
    """
    try:
        with opened_run(target, "undo") as run:
            steps = LaterTasks(run)
            report = run_undo(steps, steps.request())
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
