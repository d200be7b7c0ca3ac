"""What a migration's questions to a human are called and say, and what is told when nobody answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from lockkeeper.approval_question import approval_markdown
from lockkeeper.errors import StorageError
from lockkeeper.journal import read_report
from lockkeeper.models import Outcome, RunReport, utc_now
from lockkeeper.reports import format_duration
from lockkeeper.storage import open_storage
from tasks.runs import Run

KEYS = "approve-"
"""How the keys of a migration's questions begin; the rest is the id of the run that asks."""


_RUN_ID = re.compile(r"(\d{8})t(\d{6})z")


def question_key(report: RunReport) -> str:
    """Return the key of the question that a run has ended with; Prefect takes no capitals there."""
    return KEYS + report.run_id.lower()


def run_that_asked(key: str) -> str:
    """Return the id of the run that a key belongs to, as the journal has it."""
    return _RUN_ID.sub(r"\1T\2Z", key.removeprefix(KEYS))


def question(report: RunReport, timeout_s: float) -> str:
    """Return the facts, in Markdown, that stand above the form for as long as an answer is waited for."""
    return approval_markdown(report, timeout_s)


@dataclass(frozen=True)
class ExpiredQuestion:
    """A question whose time is over, and the flow run that asked it."""

    key: str
    target: str
    flow_run: str
    operation: str
    waited_s: float
    link: str | None


def expired_question(flow_run_id: UUID) -> ExpiredQuestion | None:
    """Return the question for want of whose answer a flow run has failed; None when that is not so."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(flow_run_id)
        states = sorted(client.read_flow_run_states(flow_run_id), key=lambda state: state.timestamp)
        operation = client.read_flow(flow_run.flow_id).name
    target = flow_run.parameters.get("target")
    last = states[-2:]
    if target is None or [state.type.value for state in last] != ["PAUSED", "FAILED"]:
        return None
    return ExpiredQuestion(
        key=str(last[0].state_details.pause_key),
        target=str(target),
        flow_run=flow_run.name,
        operation=operation,
        waited_s=(last[1].timestamp - last[0].timestamp).total_seconds(),
        link=url_for(flow_run) if PREFECT_UI_URL.value() else None,
    )


def report_expired(run: Run, question: ExpiredQuestion) -> RunReport:
    """Write into the journal that nobody answered, so that no late approval counts; returns the report.

    Can run twice.
    """
    error = (
        f"Nobody answered {question.key} of {question.flow_run} within {format_duration(question.waited_s)}, "
        "so the run has ended. Everything stays as it is. Run the deployment again to be asked again."
    )
    try:
        asked = read_report(open_storage(run.target.storage), run.target.name, run_that_asked(question.key))
        outcome = Outcome.REFUSED
    except StorageError:  # another flow's question: what its run has done so far stands in its own ledger
        outcome = Outcome.FAILED
        asked = RunReport(
            run_id=run.id,
            operation=question.operation,
            target=run.target.name,
            database=run.target.database,
            started_at=utc_now(),
            initiator=run.initiator,
        )
    facts = {"outcome": outcome, "error": error, "next_command": None, "link": question.link}
    report = asked.model_copy(update=facts)
    warning = run.engine.journal(report)
    return report.model_copy(update={"warnings": (*report.warnings, warning)}) if warning else report
