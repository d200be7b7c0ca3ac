"""What people see of a risk: prediction beside production, what is allowed, and how the ways back went."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockkeeper.approval_question import approval_markdown
from lockkeeper.lint import LintFinding, LintReport, Severity
from lockkeeper.measured import (
    RevisionCost,
)
from lockkeeper.models import (
    MigrationPlan,
    Outcome,
    RevisionTiming,
    RunReport,
    utc_now,
)
from lockkeeper.notices import slack_notice
from lockkeeper.reports import markdown_report
from lockkeeper.risk import Linted, judge
from lockkeeper.risk_report import cost_rows, failed_ways_back, risk_lines
from tests.unit.risks import (
    APPROVAL,
    CLEAN,
    FAILED,
    POLICIES,
    WENT,
    asked,
    estimate,
    hold,
    planned,
    verdict,
)


@pytest.fixture
def plan(tmp_path: Path) -> MigrationPlan:
    return planned(tmp_path)


def test_what_a_comment_allows_does_not_count_and_is_told_with_its_reason(plan) -> None:
    finding = LintFinding(
        rule="drop-column", severity=Severity.ERROR, revision="r1", message="a danger",
        allowed_because="3.1 was the last to read it",
    )  # fmt: skip
    risk = verdict(lint=Linted(LintReport(findings=(finding,))))
    assert risk.counting == ()
    assert [one.allowed_because for one in risk.findings] == ["3.1 was the last to read it"]
    told = "r1: allowed by its own comment, 3.1 was the last to read it: drop-column: a danger"
    report = asked(plan, risk)
    assert told in risk_lines(report)
    assert "Nothing is held against writers for longer than the budget of 500 ms." in risk_lines(report)
    for text in (markdown_report(report), approval_markdown(report, 60), str(slack_notice(report).blocks)):
        assert told in text


def test_prediction_and_production_stand_side_by_side(plan) -> None:
    timing = RevisionTiming(revision="r1", duration_s=5, cost=RevisionCost(locks=(hold(held_s=6),)))
    report = asked(plan, verdict(hold()), Outcome.SUCCEEDED).model_copy(
        update={"revisions": (timing,), "approval": APPROVAL}
    )
    assert cost_rows(report) == [
        ("r1", "public.users", "ACCESS EXCLUSIVE", "4.20 s", "6.00 s", "reads and writes")
    ]
    shown = markdown_report(report)
    assert "| r1 | public.users | ACCESS EXCLUSIVE | 4.20 s | 6.00 s | reads and writes |" in shown
    assert "over the budget of 500 ms" in shown
    assert "Approved by ada: quiet hour" in shown


def test_who_must_decide_sees_the_facts_and_the_command(plan) -> None:
    report = asked(plan, verdict(hold())).model_copy(update={"next_command": "lockkeeper approve X"})
    blocks = str(slack_notice(report).blocks)
    assert "ACCESS EXCLUSIVE on public.users for 4.2 s" in blocks
    assert "lockkeeper approve X" in blocks
    assert "ACCESS EXCLUSIVE on public.users for 4.2 s" in approval_markdown(report, 60)


def test_a_sample_that_holds_every_row_is_not_told_as_one_that_leaves_some_out(plan) -> None:
    sampled = verdict(hold(), rehearsal="sampled")
    told = "\n".join(risk_lines(asked(plan, sampled)))
    assert "what only other rows would show was not seen" in told
    told = "\n".join(risk_lines(asked(plan, sampled.model_copy(update={"sample_is_whole": True}))))
    assert "not seen" not in told
    assert "scaled" not in told
    assert "it holds all of them (rehearsal=sampled)" in told


def test_every_report_and_the_approver_are_told_how_the_ways_back_went() -> None:
    risk = judge([estimate()], POLICIES, CLEAN, (FAILED, WENT))
    report = RunReport(
        run_id="1", operation="migrate", target="shop", database="shop", started_at=utc_now(), risk=risk
    )
    told = "The downgrade failed in the rehearsal and is no way back: column public.t.c is gone"
    assert failed_ways_back(risk) == [told]
    for text in (approval_markdown(report, 60.0), markdown_report(report)):
        assert "Recovery rehearsed: swap 0.04 s." in text
        assert told in text.replace("\\_", "_")
