"""A column renamed while old and new versions of the application go on, each stage approved by a human."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.approvals import latest_answer, require_decision
from flows.parameters import ColumnName, TableName, TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.renaming import QUESTIONS, RenamePolicy, make_request, run_rename
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run
from tasks.steps import RenameTasks


@flow(
    name="zero-downtime-rename",
    flow_run_name="{target}: {table}.{old_column} to {new_column}",
    task_runner=ThreadPoolTaskRunner(max_workers=4),
    persist_result=False,
)
def column_rename(
    target: TargetName,
    table: TableName,
    old_column: ColumnName,
    new_column: ColumnName,
    new_type: str | None = None,
    up: str | None = None,
    down: str | None = None,
    flag: str | None = None,
    policy: RenamePolicy | None = None,
) -> State[Any]:
    """Expand, backfill, validate; asked, flip and observe; asked again, hide the old column and contract.

    While it waits for an answer there is no process and no connection. Started again after a crash, it goes
    on where the ledger in the target's database says. *Rejected* leaves everything where it is, *Aborted*
    brings back the schema of before.

    Args:
        target: Name of a Migration Target block, e.g. shop.
        table: The table, with its schema where the search_path does not have it.
        old_column: The column as it is called now.
        new_column: What it will be called.
        new_type: SQL type that it will have; default is the one it has.
        up: SQL expression of the new value over the old column's name.
        down: SQL expression of the old value over the new column's name.
        flag: Feature flag that decides what applications read; default is use-new- and the old name.
        policy: Batches, throttle, ramp, scream test, retention and time for an answer.
    """
    try:
        request = make_request(
            table, old_column, new_column, new_type=new_type, up=up, down=down, flag=flag, policy=policy
        )
        answers = {key: answer for key in QUESTIONS if (answer := latest_answer(key))}
        while True:
            with opened_run(target, "rename") as run:
                steps = RenameTasks(run, request)
                end = run_rename(steps, steps.request(), request, answers)
            if end.question is None:
                return final_state(end.report)
            asked, timeout_s = end.question, request.policy.approval_timeout_s
            answers[asked.key] = require_decision(asked.asked_as, asked.text, timeout_s)
    except RefusedError as error:
        return refused_state(error)
