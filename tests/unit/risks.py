"""Verdicts for the tests of risks, reports and approvals: one revision with the locks that it held."""

from __future__ import annotations

from pathlib import Path

from lockkeeper.approval import revisions_digest
from lockkeeper.config import Policies
from lockkeeper.lint import LintFinding, LintReport, Severity
from lockkeeper.measured import LockHold, RevisionCost, RevisionEstimate, Risk, WayBack
from lockkeeper.models import Approval, Decision, MigrationPlan, Outcome, Revision, RunReport, utc_now
from lockkeeper.risk import Linted, judge

POLICIES = Policies(max_block_ms=500)
CLEAN = Linted(LintReport())
WENT = WayBack(way="swap", worked=True, duration_s=0.04)
FAILED = WayBack(way="downgrade", worked=False, why="column public.t.c is gone", blocked_by=("r1",))
APPROVAL = Approval(
    key="k", decision=Decision.APPROVE, reason="quiet hour", approver="ada", decided_at=utc_now()
)


def hold(mode: str = "ACCESS EXCLUSIVE", held_s: float = 4.2, **facts) -> LockHold:
    return LockHold(table="public.users", mode=mode, held_s=held_s, rows=1_200_000, **facts)


def estimate(*locks: LockHold, duration_s: float = 5.0) -> RevisionEstimate:
    return RevisionEstimate(revision="r1", duration_s=duration_s, cost=RevisionCost(locks=locks))


def linted(rule: str, severity: Severity = Severity.ERROR) -> Linted:
    finding = LintFinding(rule=rule, severity=severity, revision="r1", message="a danger", advice="do it so")
    return Linted(LintReport(findings=(finding,)))


def verdict(*locks: LockHold, lint: Linted | None = None, duration_s: float = 5.0, **policies) -> Risk:
    changed = POLICIES.model_copy(update=policies)
    return judge([estimate(*locks, duration_s=duration_s)], changed, lint or CLEAN)


def planned(folder: Path) -> MigrationPlan:
    """Write a revision's file and plan it."""
    path = folder / "r1.py"
    path.write_text("revision = 'r1'")
    step = Revision(id="r1", path=str(path))
    return MigrationPlan(before=("r0",), after=("r1",), steps=(step,), destination="head", reaches_head=True)


def asked(plan: MigrationPlan, risk: Risk, outcome: Outcome | None = Outcome.NEEDS_APPROVAL) -> RunReport:
    return RunReport(
        run_id="20261126T120000Z-1a2b3c",
        operation="migrate",
        target="shop",
        database="shop",
        started_at=utc_now(),
        outcome=outcome,
        plan=plan,
        risk=risk,
        revisions_sha256=revisions_digest(plan),
    )
