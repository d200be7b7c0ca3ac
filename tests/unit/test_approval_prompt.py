"""What somebody types at the terminal is an answer; silence is none."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from lockkeeper.cli.approval_prompt import ask_on_terminal, can_ask
from lockkeeper.cli.output import Session
from lockkeeper.measured import Danger, Risk, RiskFinding
from lockkeeper.models import Decision, RunReport, utc_now

RISK = Risk(
    budget_ms=500,
    blocking="writes",
    findings=(RiskFinding(kind=Danger.BLOCKS, revision="r1", subject="public.users", message="it blocks"),),
)
REPORT = RunReport(
    run_id="R1", operation="migrate", target="shop", database="shop", started_at=utc_now(), risk=RISK
)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """What is written here is what somebody types."""
    read, write = os.pipe()
    with open(read) as stdin, open(write, "w") as typed:
        monkeypatch.setattr("sys.stdin", stdin)
        yield typed


class Screen(io.StringIO):
    """Somebody who types the next line whenever something is asked."""

    def __init__(self, keyboard: TextIO, *lines: str) -> None:
        super().__init__()
        self.keyboard, self.lines = keyboard, list(lines)

    def write(self, text: str) -> int:
        if text.endswith(": ") and self.lines:
            self.keyboard.write(self.lines.pop(0) + "\n")
            self.keyboard.flush()
        return super().write(text)


@pytest.mark.parametrize(
    ("line", "decision", "reason"),
    [
        ("yes, quiet hour", Decision.APPROVE, "quiet hour"),
        ("YES quiet hour", Decision.APPROVE, "quiet hour"),
        ("no not today", Decision.REJECT, "not today"),
        ("n \u4e0d\u884c", Decision.REJECT, "\u4e0d\u884c"),
    ],
)
def test_only_yes_approves(keyboard, line, decision, reason) -> None:
    shown = Screen(keyboard, line)
    given = ask_on_terminal(Session(stderr=shown), REPORT)
    assert given is not None
    assert (given.decision, given.reason, given.key) == (decision, reason, "R1")
    assert given.approver
    assert "r1: it blocks" in shown.getvalue()


@pytest.mark.parametrize("line", ["yes", "no", "yes ...", "what?", "not today"])
def test_an_answer_without_a_reason_or_that_is_none_is_asked_for_again(keyboard, line) -> None:
    shown = Screen(keyboard, line, "no after the sale")
    given = ask_on_terminal(Session(stderr=shown), REPORT)
    assert given is not None
    assert (given.decision, given.reason) == (Decision.REJECT, "after the sale")
    assert "Type yes or no, and why, e.g. yes quiet hour: " in shown.getvalue()


def test_silence_and_a_closed_terminal_are_no_answer(keyboard) -> None:
    assert ask_on_terminal(Session(stderr=io.StringIO()), REPORT, timeout_s=0.01) is None
    keyboard.close()
    assert ask_on_terminal(Session(stderr=io.StringIO()), REPORT) is None


def test_nobody_is_asked_where_nobody_sits(keyboard) -> None:
    assert not can_ask(Session(stderr=io.StringIO()))
    assert not can_ask(Session(json=True))
