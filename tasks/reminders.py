"""Sees to it that somebody is told when a question's time runs out.

A suspended run has no process, and Prefect ends it without running any code of ours. So the run leaves a
scheduled run of ``unanswered-question`` behind when it asks.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL
from prefect.states import Scheduled
from prefect.utilities.urls import url_for

from lockkeeper.models import Outcome, RunReport, utc_now
from lockkeeper.reports import format_duration
from tasks.runs import Run

DEPLOYMENT = "unanswered-question/unanswered-question"
GRACE_S = 30.0  # Prefect looks for overdue questions every few seconds


def tell_when_unanswered(report: RunReport, question: str, timeout_s: float) -> None:
    """Schedule the message for the end of the question's time; without that deployment only warn."""
    if runtime.deployment.id is None:
        return
    parameters = {
        "target": report.target,
        "operation": report.operation,
        "question": question,
        "flow_run": str(runtime.flow_run.id),
        "timeout_s": timeout_s,
    }
    due = Scheduled(scheduled_time=utc_now() + timedelta(seconds=timeout_s + GRACE_S))
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            get_run_logger().warning("Without the deployment %s nobody is told when time is up.", DEPLOYMENT)
            return
        client.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=due)


def unanswered_report(
    run: Run, operation: str, question: str, flow_run_id: UUID, timeout_s: float
) -> RunReport | None:
    """Return what to tell the team, or None when the run was answered, or still waits."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(flow_run_id)
        states = client.read_flow_run_states(flow_run_id)
    asked = [state for state in states if state.is_paused()]
    last = max(asked, key=lambda state: state.timestamp, default=None)
    ended = flow_run.state
    if ended is None or not ended.is_failed() or last is None or last.state_details.pause_key != question:
        return None
    if any(state.timestamp > last.timestamp and state.name == "Resuming" for state in states):
        return None
    return RunReport(
        run_id=run.id,
        operation=operation,
        target=run.target.name,
        database=run.target.database,
        outcome=Outcome.FAILED,
        started_at=utc_now(),
        requested_revision=flow_run.name,
        initiator=run.initiator,
        error=f"Nobody answered {question} within {format_duration(timeout_s)}, so the run has ended. "
        "Everything stays as it is. Run the deployment again to be asked again.",
        link=url_for(flow_run) if PREFECT_UI_URL.value() else None,
    )
