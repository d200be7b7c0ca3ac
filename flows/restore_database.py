"""A backup put in the place of a database, because an operator asked for it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import BackupId, TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.operations import run_restore
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run
from tasks.steps import OperationTasks


@flow(name="restore", flow_run_name="{target} from {backup_id}", persist_result=False)
def restore_database(target: TargetName, backup_id: BackupId, accept_loss: bool = False) -> State[Any]:
    """Restore a backup beside the database, verify it, swap it in; the old database is kept as quarantine.

    Refuses when anything was written since the backup, unless accept_loss says that these writes may go.

    Args:
        target: Name of a Migration Target block, e.g. shop.
        backup_id: Id of a verified backup, as lockkeeper backups lists it.
        accept_loss: Go on although there were writes since the backup; they stay in the quarantine.
    """
    try:
        with opened_run(target, "restore") as run:
            steps = OperationTasks(run)
            report = run_restore(steps, steps.request(), backup_id, accept_loss=accept_loss)
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
