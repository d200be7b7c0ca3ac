"""Asks for an approval on the terminal, while the run waits with its lock: so not for long."""

from __future__ import annotations

import re
import select
import sys
import time
from typing import TYPE_CHECKING

from lockkeeper.cli.initiator import initiator
from lockkeeper.cli.output import Session
from lockkeeper.redaction import redact

if TYPE_CHECKING:
    from lockkeeper.models import Approval, RunReport

ANSWER_TIMEOUT_S = 600.0


def can_ask(session: Session) -> bool:
    """Whether somebody sits at a terminal."""
    return not session.json and sys.stdin.isatty() and session.stderr.isatty()


def ask_on_terminal(
    session: Session, report: RunReport, timeout_s: float = ANSWER_TIMEOUT_S
) -> Approval | None:
    """Show the risk and return the answer; None when there is none in time. One without a reason is none."""
    from lockkeeper.approval_question import approval_text

    _say(
        session,
        f"\n{approval_text(report)}\n\nNothing was changed so far. Approve? Type yes and why, or no and why "
        f"(within {timeout_s / 60:.0f} minutes): ",
    )
    deadline = time.monotonic() + timeout_s
    while line := _line_before(deadline):
        if answer := _understood(line, report):
            return answer
        _say(session, "Type yes or no, and why, e.g. yes quiet hour: ")
    return None


def _say(session: Session, text: str) -> None:
    session.stderr.write(text)
    session.stderr.flush()


def _line_before(deadline: float) -> str:
    """Return what is typed; "" when that is nothing, or too late."""
    if not select.select([sys.stdin], [], [], max(0.0, deadline - time.monotonic()))[0]:
        return ""
    return sys.stdin.readline().strip()


def _understood(line: str, report: RunReport) -> Approval | None:
    from lockkeeper.approval import REASON_PATTERN
    from lockkeeper.models import Approval, Decision, utc_now

    yes, no = Decision.APPROVE, Decision.REJECT
    word, _, reason = line.partition(" ")
    decision = {"yes": yes, "y": yes, "no": no, "n": no}.get(word.lower().rstrip(",.:;"))
    if decision is None or not re.search(REASON_PATTERN, reason):
        return None
    return Approval(
        key=report.run_id,
        decision=decision,
        reason=redact(reason.strip()),
        approver=initiator(),
        recorded_by="the terminal of the run",
        decided_at=utc_now(),
    )
