"""Asks for an approval on the terminal, while the run waits with its lock: so not for long."""

from __future__ import annotations

import select
import sys
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
    """Show the risk and return the answer; None when there is none in time."""
    from lockkeeper.approval_question import approval_text
    from lockkeeper.models import Approval, Decision, utc_now

    session.stderr.write(
        f"\n{approval_text(report)}\n\nNothing was changed so far. Approve? Type yes, or no and why "
        f"(within {timeout_s / 60:.0f} minutes): "
    )
    session.stderr.flush()
    if not select.select([sys.stdin], [], [], timeout_s)[0]:
        return None
    line = sys.stdin.readline()
    if not line.strip():
        return None
    word, _, reason = line.strip().partition(" ")
    return Approval(
        key=report.run_id,
        decision=Decision.APPROVE if word.lower() in ("yes", "y") else Decision.REJECT,
        reason=redact(reason.strip()),
        approver=initiator(),
        recorded_by="the terminal of the run",
        decided_at=utc_now(),
    )
