"""Whoever approves a migration has all that is known of it above the form, and on the terminal."""

from __future__ import annotations

import pytest

from lockkeeper.approval_question import REVISIONS_SHOWN, approval_markdown, approval_text
from lockkeeper.measured import Danger, LockHold, RevisionCost, RevisionEstimate, Risk, RiskFinding
from lockkeeper.models import DrillReport, MigrationPlan, Revision, RunReport, utc_now
from lockkeeper.reports import markdown_report, revision_rows
from lockkeeper.risk_report import CHANGES_SHOWN, effect_lines

COST = RevisionCost(
    locks=(LockHold(table="public.users", mode="ACCESS EXCLUSIVE", held_s=4.2, rows=1_200_000),),
    rewritten={"public.users": 222_000_000}, wal_bytes=90_000_000, temp_bytes=7_000_000,
)  # fmt: skip
ESTIMATES = (
    RevisionEstimate(
        revision="r1", duration_s=5, cost=COST,
        changes=("adds column public.users.status", "adds index public.i"),
        own_writes={"public.users": (0, 1_200_000, 3), "public.alembic_version": (0, 1, 0)},
        leaves=("public.users.email has other values, allowed: the copies go later",),
    ),
    RevisionEstimate(
        revision="r2", duration_s=0.5, cost=RevisionCost(), own_writes={}, irreversible_because="it is gone",
        data_changes=("public.orders had 20 rows and has 17",),
    ),
)  # fmt: skip
OVER = RiskFinding(
    kind=Danger.BLOCKS, revision="r1", subject="public.users", message="4.2 s, over the budget"
)


def asking(estimates=ESTIMATES, findings=(OVER,), rehearsal="full") -> RunReport:
    steps = tuple(Revision(id=one.revision, message=f"step {one.revision}") for one in estimates)
    plan = MigrationPlan(before=("r0",), after=("r2",), steps=steps, destination="head", reaches_head=True)
    risk = Risk(budget_ms=500, blocking="writes", rehearsal=rehearsal, estimates=estimates, findings=findings)
    drill = DrillReport(
        run_id="d", target="shop", backup_id="b", backup_made_at=utc_now(), started_at=utc_now(),
        database_bytes=10**9, rows=1, restore_s=60, compare_s=1, analyze_s=1, predicted_recovery_s=75,
        loss_window_s=0, objective_s=300,
    )  # fmt: skip
    return RunReport(
        run_id="20261126T120000Z-1a2b3c", operation="migrate", target="shop", database="shop_production",
        started_at=utc_now(), plan=plan, risk=risk, backup_id="shop-b1", drill=drill, initiator="ada",
        link="https://prefect.example/runs/1",
    )  # fmt: skip


FACTS = (
    "Apply 2 revisions to shop?",
    "shop_production, from r0 to r2",
    "on a restored copy, with its data compared",
    "Expected to take: 5.50 s",
    "shop-b1, proven by restoring it",
    "1 min 15 s to recover",
    "r1: 4.2 s, over the budget",
    "r1 step r1: 5.00 s in the rehearsal",
    "r1: ACCESS EXCLUSIVE on public.users for 4.20 s, waits: reads and writes",
    "r1: its downgrade is not exact: public.users.email has other values, allowed: the copies go later",
    "r1: changes: adds column public.users.status; adds index public.i.",
    "r1: writes rows of public.users: 1,200,000 updated, 3 deleted.",
    "r1: rewrites public.users (222.0 MB).",
    "r1: writes 90.0 MB of WAL, 7.0 MB of temporary files.",
    "r2: no way back, so none was rehearsed; declared: it is gone",
    "r2: changes data: public.orders had 20 rows and has 17",
)


@pytest.mark.parametrize("fact", FACTS)
def test_the_approver_has_every_fact_in_the_form_and_on_the_terminal(fact: str) -> None:
    assert fact in approval_markdown(asking(), 86_400).replace("\\", "")
    assert fact in approval_text(asking())


def test_the_form_leads_to_the_run_says_what_the_answers_do_and_when_the_time_is_over() -> None:
    shown = approval_markdown(asking(), 86_400)
    assert "[The run, with its whole report](https://prefect.example/runs/1)" in shown
    assert "**reject** or **abort**: the run ends with everything as it is" in shown
    assert "Without an answer within 24 h 00 min" in shown
    assert "alembic" not in shown, "Alembic's own bookkeeping is no news"


@pytest.mark.parametrize(
    ("rehearsal", "told"),
    [
        ("sampled", "on a sample of a restored copy's rows"),
        ("schema-only", "data was not compared"),
        ("off", "not at all (rehearsal=off)"),
    ],
)
def test_a_cheaper_rehearsal_is_told_to_whoever_approves(rehearsal: str, told: str) -> None:
    report = asking(rehearsal=rehearsal)
    assert told in approval_markdown(report, 60)
    assert told in approval_text(report)
    assert ("3 deleted (in the sample)." in approval_text(report)) is (rehearsal == "sampled")


def test_with_nothing_over_the_budget_it_is_said_that_the_policy_asks() -> None:
    shown = approval_text(asking(findings=()))
    assert "for longer than the budget of 500 ms. The policy asks anyway." in shown
    assert "r1 step r1: 5.00 s in the rehearsal" in shown, "all the rest is there as well"


def test_names_break_no_markup() -> None:
    hostile = OVER.model_copy(update={"message": "*a* `b` <script> [x](http://y)"})
    shown = approval_markdown(asking(findings=(hostile,)), 60)
    assert r"\*a\* \`b\` &lt;script&gt; \[x\](http://y)" in shown


def test_of_very_many_revisions_and_changes_the_first_are_told_and_how_many_more_there_are() -> None:
    many = tuple(ESTIMATES[1].model_copy(update={"revision": f"n{n}"}) for n in range(REVISIONS_SHOWN + 3))
    shown = approval_text(asking(many))
    assert "and 3 more: see the report." in shown
    assert f"n{REVISIONS_SHOWN} " not in shown
    (line,) = effect_lines([f"adds table t{n}" for n in range(CHANGES_SHOWN + 2)], {})
    assert line.endswith(f"adds table t{CHANGES_SHOWN - 1}; and 2 more.")


def test_what_could_not_be_counted_is_said_and_what_a_revision_writes_is_in_the_report() -> None:
    unknown = ESTIMATES[1].model_copy(update={"own_writes": None})
    assert "r2: which rows it writes could not be counted." in approval_text(asking((unknown,)))
    shown = markdown_report(asking()).replace("\\", "")
    assert "- r1: writes rows of public.users: 1,200,000 updated, 3 deleted." in shown
    assert "- r2: no way back, so none was rehearsed; declared: it is gone" in shown
    assert revision_rows(asking())[0][2] == "planned (5.00 s rehearsed)"


def test_a_version_table_of_another_name_is_left_out_and_a_table_that_only_ends_like_it_is_not() -> None:
    writes = {"meta.versions": (0, 1, 0), "public.my_versions": (1, 0, 0)}
    assert effect_lines((), writes, "meta.versions") == ["writes rows of public.my_versions: 1 inserted."]
    assert effect_lines((), writes, '"meta"."versions"') == ["writes rows of public.my_versions: 1 inserted."]
    assert effect_lines((), writes, "versions") == ["writes rows of public.my_versions: 1 inserted."]
