"""The end of a question that nobody answered: no process was there to say so."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import TargetName
from tasks.notify import notify
from tasks.reminders import unanswered_report
from tasks.runs import opened_run


@flow(name="unanswered-question", flow_run_name="{target}: {question}", persist_result=False)
def unanswered_question(
    target: TargetName, operation: str, question: str, flow_run: UUID, timeout_s: float
) -> State[Any]:
    """Tell the team that a run has ended because its question was not answered; scheduled by that run itself.

    Args:
        target: Name of the run's Migration Target block.
        operation: What was to be approved, e.g. rename.
        question: The question's key.
        flow_run: The run that has asked.
        timeout_s: How long it has waited, in seconds.
    """
    with opened_run(target, operation) as run:
        report = unanswered_report(run, operation, question, flow_run, timeout_s)
        if report is None:
            return Completed(message="It was answered in time.")
        notify(report)
    return Completed(name="Told", message=str(report.error))
