"""Tells the team of a question that nobody answered in time: the run that asked has no process to do it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from lockkeeper.errors import RefusedError
from tasks.approvals import expired_question, report_expired
from tasks.outcomes import refused_state
from tasks.runs import opened_run
from tasks.steps import OperationTasks


@flow(name="approval-expiry", flow_run_name="{flow_run_id}", persist_result=False)
def approval_expiry(flow_run_id: UUID) -> State[Any]:
    """Close the story of a run whose time for an approval is over, and tell the team. Changes no database.

    Its deployment is triggered by the event with which Prefect's server ends such a run.

    Args:
        flow_run_id: the flow run that was suspended.
    """
    question = expired_question(flow_run_id)
    if question is None:
        return Completed(name="NothingToDo", message="The run did not end for want of an answer.")
    try:
        with opened_run(question.target, "approval-expiry") as run:
            OperationTasks(run).notify(report_expired(run, question))
    except RefusedError as error:
        return refused_state(error)
    return Completed(message=f"The team knows that nobody answered {question.key}.")
