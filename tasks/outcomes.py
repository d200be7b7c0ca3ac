"""How a run's outcome reads in Prefect: a state's type, name and message."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from lockkeeper.errors import LockkeeperError, RefusedError
from lockkeeper.models import Outcome, RunReport
from lockkeeper.monitoring.scheduled import LookReport, describe
from lockkeeper.proving import MigrationTestReport
from lockkeeper.proving.reports import OUTCOMES, summary
from lockkeeper.redaction import redact
from lockkeeper.reports import headline

_NAMES = {
    Outcome.NOTHING_TO_DO: "NothingToDo",
    Outcome.REFUSED: "Refused",
    Outcome.FAILED: "Failed",
    Outcome.UNCHANGED: "Unchanged",
    Outcome.RECOVERED: "Recovered",
    Outcome.NEEDS_HUMAN: "NeedsHuman",
    Outcome.NEEDS_APPROVAL: "NeedsApproval",
    Outcome.REJECTED: "Rejected",
    Outcome.ABORTED: "Aborted",
}


def final_state(report: RunReport) -> State[Any]:
    """Return the flow's last state: Failed for every failure, also for one that was recovered from."""
    outcome = report.outcome or Outcome.FAILED
    name = _NAMES.get(outcome)
    if outcome.exit_code == 0:
        return Completed(name=name, message=headline(report))
    lines = [headline(report), report.error or "", report.next_command and f"Next: {report.next_command}"]
    return Failed(name=name, message=redact("\n".join(line for line in lines if line)))


def refused_state(error: RefusedError) -> State[Any]:
    """Return the last state of a run that was refused outside of its story."""
    return Failed(name=_NAMES[Outcome.REFUSED], message=redact(str(error)))


def looked_state(report: LookReport) -> State[Any]:
    """Return the last state of a look: Failed when it could not be taken, or not all could be told."""
    lines = [describe(report), *report.open_incidents, *report.undelivered]
    message = redact("\n".join(lines))
    if report.problem is not None:
        return Failed(name="CouldNotCheck", message=message)
    return Failed(name="Undelivered", message=message) if report.undelivered else Completed(message=message)


def tested_state(report: MigrationTestReport) -> State[Any]:
    """Return the last state of a migration test: only what is proven completes."""
    if report.exit_code == 0:
        return Completed(message=summary(report))
    name = "".join(word.capitalize() for word in OUTCOMES[report.exit_code].split())
    return Failed(name=name, message=redact(summary(report)))


def untested_state(error: LockkeeperError) -> State[Any]:
    """Return the last state of a migration test, or a look, that could not even begin."""
    return Failed(name="CouldNotCheck", message=redact(str(error)))
