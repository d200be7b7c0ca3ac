"""A proven backup of one database, and the old ones that may go."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.operations import run_backup
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run
from tasks.steps import OperationTasks


@flow(name="backup", flow_run_name="{target}", persist_result=False)
def backup_database(target: TargetName) -> State[Any]:
    """Dump the database to storage, prove the backup by restoring it, let old ones expire.

    Ends as Failed when the backup could not be made or does not come back; the old ones are then kept.

    Args:
        target: Name of a Migration Target block, e.g. shop.
    """
    try:
        with opened_run(target, "backup") as run:
            steps = OperationTasks(run)
            report = run_backup(steps, steps.request())
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
