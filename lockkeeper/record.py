"""Keeps the story of a run while it happens, and hands it to the journal after every step."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from lockkeeper.errors import (
    ApprovalNeededError,
    LockkeeperError,
    NeedsHumanError,
    RefusedError,
    RejectedError,
)
from lockkeeper.models import Outcome, RecoveryAttempt, RunReport, Step, StepState, utc_now
from lockkeeper.redaction import redact
from lockkeeper.signals import uninterrupted
from lockkeeper.tracing import RunTrace, mark_failed

logger = logging.getLogger(__name__)


def new_run_id() -> str:
    """Return an id that sorts by time, e.g. ``20261123T104500Z-1a2b3c``."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def explain(error: BaseException) -> str:
    """Return what an error says, redacted; Ctrl-C, SIGTERM or a cancelled flow is called an interruption."""
    said = redact(str(error)) or type(error).__name__
    return said if isinstance(error, Exception) else f"interrupted ({said})"


def log_unexpected(error: BaseException) -> None:
    """Log an error that is not one of ours: it is a bug, and the report has room for its message only."""
    if not isinstance(error, LockkeeperError) and isinstance(error, Exception):
        logger.error("Unexpected %s: %s", type(error).__name__, redact(str(error)))


class RunRecord:
    """The report of one run, growing.

    ``journal`` gets the report after every change of a step; what it returns is kept as a warning.
    """

    def __init__(self, report: RunReport, journal: Callable[[RunReport], str | None]) -> None:
        self.report = report
        self._journal = journal
        self._started = time.monotonic()
        self._trace = RunTrace(report)

    def update(self, **facts: Any) -> RunReport:
        """Set fields of the report."""
        self.report = self.report.model_copy(update=facts)
        return self.report

    def warn(self, message: str) -> RunReport:
        """Add a warning, once."""
        if message not in self.report.warnings:
            self.update(warnings=(*self.report.warnings, redact(message)))
        return self.report

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time one step; yields a function that sets what the report says of it."""
        started, started_at, details = time.monotonic(), utc_now(), [""]
        earlier = self.report.steps

        def put(state: StepState) -> None:
            took = round(time.monotonic() - started, 3)
            step = Step(name=name, state=state, started_at=started_at, duration_s=took, detail=details[-1])
            self.update(steps=(*earlier, step))
            self._write()

        put(StepState.RUNNING)
        with self._trace.step(name) as span:
            try:
                yield details.append
            except BaseException as error:
                details.append(explain(error))
                mark_failed(span, details[-1])
                put(StepState.FAILED)
                raise
        put(StepState.DONE)

    def attempted(self, attempt: RecoveryAttempt) -> None:
        """Add one rung of the recovery ladder."""
        self.update(recovery=(*self.report.recovery, attempt))
        self._write()

    def conclude(
        self, outcome: Outcome, error: BaseException | None = None, next_command: str | None = None
    ) -> None:
        """Set the outcome; the first one stands, since what follows a failure does not change it."""
        if self.report.outcome is not None:
            return
        message = None if error is None else explain(error)
        self.update(outcome=outcome, error=message, next_command=next_command)

    def close(self) -> RunReport:
        """Set the duration and write the journal for the last time."""
        self.update(duration_s=round(time.monotonic() - self._started, 3))
        self._write()
        self._trace.end(self.report)
        return self.report

    def _write(self) -> None:
        warning = self._journal(self.report)
        if warning:
            self.warn(warning)


def play_and_tell(
    record: RunRecord, play: Callable[[], None], notify: Callable[[RunReport], str | None]
) -> RunReport:
    """Play, make of how it ends the record's outcome where it has none yet, and tell the team.

    Only interruptions (not errors) are raised, at the end.
    """
    interruption: BaseException | None = None
    try:
        play()
        record.conclude(Outcome.SUCCEEDED)
    except Exception as error:
        log_unexpected(error)
        command = error.command if isinstance(error, (ApprovalNeededError, NeedsHumanError)) else None
        record.conclude(_outcome_of(error, record), error, next_command=command)
    except BaseException as error:
        interruption = error
        record.conclude(Outcome.UNCHANGED, error)
    with uninterrupted("telling the team"):
        report = record.close()
        warning = notify(report)
        report = record.warn(warning) if warning else report
    if interruption is not None:
        raise interruption
    return report


def _outcome_of(error: Exception, record: RunRecord) -> Outcome:
    if isinstance(error, ApprovalNeededError):  # which is a refusal, too
        return Outcome.NEEDS_APPROVAL
    if isinstance(error, RejectedError):
        return Outcome.REJECTED
    if isinstance(error, RefusedError):
        return Outcome.REFUSED
    if isinstance(error, NeedsHumanError):
        return Outcome.NEEDS_HUMAN
    # The ladder answers for what happens after the first change; up to there nothing was changed, and
    # before the first step (the server refuses the password, say) nothing was even begun.
    return Outcome.UNCHANGED if record.report.steps else Outcome.REFUSED
