"""What counts against a migration, what refutes a danger, and how far an approval reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockkeeper.approval import find_answered, not_covered, revisions_digest
from lockkeeper.approval_question import approval_markdown
from lockkeeper.config import LocalStorageSettings, Policies
from lockkeeper.costs.texts import lock_by_text, name_parts
from lockkeeper.errors import ConfigurationError, RefusedError
from lockkeeper.journal import write_report
from lockkeeper.lint import LintFinding, LintReport, Severity
from lockkeeper.measured import (
    Danger,
    LockHold,
    RevisionCost,
    RevisionEstimate,
    Risk,
    RiskFinding,
    RowHold,
    WayBack,
)
from lockkeeper.models import (
    Answered,
    Approval,
    Decision,
    MigrationPlan,
    Outcome,
    Revision,
    RevisionTiming,
    RunReport,
    utc_now,
)
from lockkeeper.notices import slack_notice
from lockkeeper.prefect_api import PrefectApi
from lockkeeper.proving.linting import _statement
from lockkeeper.reports import markdown_report
from lockkeeper.risk import Linted, judge, needs_approval, over_budget, unmeasured
from lockkeeper.risk_report import cost_rows, failed_ways_back, risk_lines, verdict_lines
from lockkeeper.storage import open_storage

POLICIES = Policies(max_block_ms=500)
CLEAN = Linted(LintReport())


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


def test_a_lock_over_the_budget_is_told_with_table_mode_time_and_rows() -> None:
    (finding,) = verdict(hold()).counting
    expected = (
        "ACCESS EXCLUSIVE on public.users for 4.2 s (1,200,000 rows): reads and writes wait, "
        "over the budget of 500 ms"
    )
    assert finding.message == expected


@pytest.mark.parametrize(
    ("mode", "held_s", "blocking", "counts"),
    [
        ("ACCESS EXCLUSIVE", 0.501, "writes", True),
        ("ACCESS EXCLUSIVE", 0.5, "writes", False),
        ("ACCESS EXCLUSIVE", 0.501, "reads", True),
        ("SHARE", 9, "writes", True),
        ("SHARE ROW EXCLUSIVE", 9, "writes", True),
        ("EXCLUSIVE", 9, "writes", True),
        ("SHARE", 9, "reads", False),
        ("SHARE UPDATE EXCLUSIVE", 9, "writes", False),
    ],
)
def test_only_what_somebody_waits_for_longer_than_the_budget_counts(mode, held_s, blocking, counts) -> None:
    assert bool(verdict(hold(mode, held_s), blocking=blocking).counting) is counts


def test_a_table_that_the_plan_makes_blocks_nobody() -> None:
    assert verdict(hold(made_by_plan=True)).findings == ()


def test_of_two_locks_on_one_table_the_longest_is_told() -> None:
    (finding,) = verdict(hold("SHARE", 2), hold("EXCLUSIVE", 3)).findings
    assert finding.message.startswith("EXCLUSIVE")


def test_of_two_locks_of_one_statement_the_stronger_is_told() -> None:
    (told,) = verdict(hold("SHARE"), hold("ACCESS EXCLUSIVE"), hold("SHARE ROW EXCLUSIVE")).findings
    assert told.message.startswith("ACCESS EXCLUSIVE on public.users")


def test_nobody_waits_to_write_a_materialized_view_but_its_readers_do() -> None:
    assert verdict(hold("EXCLUSIVE", materialized=True)).findings == ()
    assert verdict(hold(materialized=True)).counting


@pytest.mark.parametrize(
    ("rows", "held_s", "blocking", "counts"),
    [
        (2_000_000, 9.0, "writes", True),
        (2_000_000, 0.4, "writes", False),
        (10_000, 9.0, "writes", False),
        (2_000_000, 9.0, "reads", False),
    ],
    ids=["many for long", "many for a moment", "few for long", "readers pass by"],
)
def test_many_rows_locked_for_longer_than_the_budget_count(rows, held_s, blocking, counts) -> None:
    cost = RevisionCost(written=(RowHold(table="public.users", rows=rows, held_s=held_s),))
    one = RevisionEstimate(revision="r1", duration_s=10, cost=cost)
    policies = POLICIES.model_copy(update={"blocking": blocking})
    found = judge([one], policies, CLEAN).counting
    assert bool(found) is counts
    if found:
        assert found[0].message == (
            "2,000,000 rows of public.users updated or deleted in one transaction of 9 s: who writes one of "
            "them waits, over the budget of 500 ms"
        )


def test_what_was_not_measured_counts() -> None:
    unknown = RevisionEstimate(revision="r1", duration_s=1)
    assert [one.kind for one in judge([unknown], POLICIES, CLEAN).counting] == [Danger.UNMEASURED]
    assert [one.kind for one in unmeasured("off", CLEAN).counting] == [Danger.UNMEASURED]


def test_without_a_rehearsal_the_lints_dangers_stand_beside_what_was_not_measured() -> None:
    risk = unmeasured("off", linted("index-without-concurrently"))
    assert [(one.kind, one.subject) for one in risk.counting] == [
        (Danger.UNMEASURED, "the plan"),
        (Danger.LINT, "index-without-concurrently"),
    ]
    assert unmeasured("off", CLEAN).worse_than(risk) == []
    assert risk.worse_than(unmeasured("off", CLEAN)) == ["index-without-concurrently: a danger"]


@pytest.mark.parametrize(
    ("rule", "locks", "duration_s", "refuted"),
    [
        ("index-without-concurrently", (hold("SHARE", 0.1),), 5.0, True),
        ("index-without-concurrently", (hold("SHARE", 0.9),), 5.0, False),
        ("whole-table-write", (), 5.0, False),
        ("whole-table-write", (), 0.1, True),
        ("index-without-concurrently", (hold("SHARE", 0.3),), 5.0, False),
        ("drop-index-without-concurrently", (hold(held_s=0.001),), 0.002, False),
        ("refresh-without-concurrently", (hold(held_s=0.001),), 0.002, False),
        ("add-column-with-foreign-key", (hold(held_s=0.001),), 0.002, False),
        ("foreign-key-without-not-valid", (hold("SHARE ROW EXCLUSIVE", 0.001),), 0.002, True),
        ("drop-column", (hold(held_s=0.01),), 0.1, False),
        ("disable-trigger", (hold("SHARE ROW EXCLUSIVE", 0.01),), 0.1, False),
    ],
    ids=[
        "short lock",
        "long lock",
        "rows stay locked",
        "short revision",
        "within the budget, without headroom",
        "its wait was not measured, and a weaker lock would do",
        "a weaker lock would do for readers of a materialized view",
        "a weaker lock would do for a foreign key",
        "no weaker lock would do",
        "it breaks, it does not block",
        "rows get past triggers",
    ],
)
def test_a_measurement_refutes_dangers_of_time_and_no_others(rule, locks, duration_s, refuted) -> None:
    risk = verdict(*locks, lint=linted(rule), duration_s=duration_s)
    (finding,) = [one for one in risk.findings if one.kind is Danger.LINT]
    assert bool(finding.refuted_because) is refuted
    assert finding.counts is not refuted


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


def refutation(scanned: dict[str, int], duration_s: float) -> str:
    cost = RevisionCost(locks=(hold(held_s=0.1),), scanned=scanned)
    one = RevisionEstimate(revision="r1", duration_s=duration_s, cost=cost)
    risk = judge([one], POLICIES, linted("check-without-not-valid"))
    (finding,) = [one for one in risk.findings if one.kind is Danger.LINT]
    assert not finding.counts
    return finding.refuted_because or ""


@pytest.mark.parametrize("duration_s", [0.2, 5.0], ids=["short revision", "short lock"])
def test_a_danger_that_grows_with_the_table_is_refuted_only_up_to_a_size_that_is_told(duration_s) -> None:
    told = refutation({"public.users": 1_200_000}, duration_s)
    expected = (
        "; public.users was read meanwhile, so at that pace it is over the budget of 500 ms "
        "from about 6,000,000 rows on (now 1,200,000)"
    )
    assert told.endswith(expected)


@pytest.mark.parametrize("scanned", [{}, {"public.orders": 9}], ids=["nothing", "another table"])
def test_of_a_lock_under_which_its_table_was_not_read_no_size_is_told(scanned) -> None:
    assert "rows on" not in refutation(scanned, 5.0)


def test_what_the_lint_could_not_read_counts_and_so_does_a_lint_that_is_not_installed() -> None:
    assert [one.kind for one in verdict(lint=linted("x", Severity.UNKNOWN)).counting] == [Danger.UNREAD]
    assert [one.kind for one in verdict(lint=Linted(failure="it crashed")).counting] == [Danger.UNREAD]
    missing = verdict(lint=Linted(missing="squawk is not installed"))
    assert [one.kind for one in missing.counting] == [Danger.UNREAD]
    assert verdict_lines(missing) == ["plan: The revisions could not be linted: squawk is not installed"]
    assert missing.not_linted == "squawk is not installed"
    assert needs_approval("over-budget", missing)


@pytest.mark.parametrize(
    ("policy", "quiet", "loud"),
    [("never", False, False), ("over-budget", False, True), ("always", True, True)],
)
def test_the_policy_says_when_a_human_is_asked(policy, quiet, loud) -> None:
    assert needs_approval(policy, verdict()) is quiet
    assert needs_approval(policy, verdict(hold())) is loud


def test_production_is_told_where_it_was_over_the_budget() -> None:
    timing = RevisionTiming(revision="r1", duration_s=5, cost=RevisionCost(locks=(hold(),)))
    assert over_budget([timing], verdict()) == [
        "r1: ACCESS EXCLUSIVE on public.users for 4.2 s (1,200,000 rows) in production, "
        "over the budget of 500 ms"
    ]


# -- how far an approval reaches -----------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> MigrationPlan:
    path = tmp_path / "r1.py"
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


APPROVAL = Approval(
    key="k", decision=Decision.APPROVE, reason="quiet hour", approver="ada", decided_at=utc_now()
)


def changes(plan: MigrationPlan, now: MigrationPlan, approved: Risk, risk: Risk) -> list[str]:
    answered = Answered(approval=APPROVAL, asked=asked(plan, approved))
    return not_covered(answered, now, revisions_digest(now), risk)


def test_an_approval_covers_the_same_plan_with_about_the_same_risk(plan) -> None:
    assert changes(plan, plan, verdict(hold(held_s=4)), verdict(hold(held_s=5.9))) == []
    assert changes(plan, plan, verdict(hold(held_s=4)), verdict(hold(held_s=0.1))) == []
    assert changes(plan, plan, verdict(hold(held_s=0.02)), verdict(hold(held_s=0.2))) == []


def test_an_approval_does_not_cover_what_became_worse(plan) -> None:
    longer = changes(plan, plan, verdict(hold(held_s=4)), verdict(hold(held_s=6.3)))
    assert longer == [
        "worse than what was approved: ACCESS EXCLUSIVE on public.users for 6.3 s (1,200,000 rows): "
        "reads and writes wait, over the budget of 500 ms"
    ]
    assert changes(plan, plan, verdict(hold()), verdict(hold(), lint=linted("drop-column")))


def test_an_approval_covers_neither_another_place_nor_other_revisions_nor_other_files(plan) -> None:
    risk = verdict(hold())
    moved = plan.model_copy(update={"before": ("other",)})
    assert changes(plan, moved, risk, risk) == ["the database is at other now"]
    more = plan.model_copy(update={"steps": (*plan.steps, *plan.steps)})
    assert changes(plan, more, risk, risk) == ["other revisions would be applied now"]
    answered = Answered(approval=APPROVAL, asked=asked(plan, risk))
    Path(plan.steps[0].path).write_text("revision = 'r1'  # changed")
    now = not_covered(answered, plan, revisions_digest(plan), risk)
    assert now == ["the revisions' files were changed"]


def test_only_a_run_that_asked_can_be_answered(plan, tmp_path) -> None:
    storage = open_storage(LocalStorageSettings(path=tmp_path / "storage"))
    report = asked(plan, verdict(hold()))
    write_report(storage, report)
    assert find_answered(storage, "shop", report.run_id, APPROVAL).asked == report
    with pytest.raises(RefusedError, match="is not known"):
        find_answered(storage, "shop", "another", APPROVAL)
    write_report(storage, asked(plan, verdict(), Outcome.SUCCEEDED))
    with pytest.raises(RefusedError, match="did not ask for an approval: it is succeeded"):
        find_answered(storage, "shop", report.run_id, APPROVAL)


# -- what people see -----------------------------------------------------------------------------------


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


def test_a_finding_is_about_one_thing() -> None:
    one = RiskFinding(kind=Danger.LINT, revision="r1", subject="drop-column", message="x")
    assert one.key == ("lint", "r1", "drop-column")


# -- locks by text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "lock"),
    [
        ("ALTER TABLE users ADD c int", ("users", "AccessExclusiveLock")),
        ("alter table if exists only public.users add c int", ("public.users", "AccessExclusiveLock")),
        ('/* x */ ALTER TABLE "My ""S"."T" ADD c int', ('"My ""S"."T"', "AccessExclusiveLock")),
        ("ALTER TABLE users VALIDATE CONSTRAINT c", ("users", "ShareUpdateExclusiveLock")),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY users (a)", ("users", "ShareLock")),
        ("CREATE INDEX CONCURRENTLY i ON users (a)", None),
        ("DROP INDEX IF EXISTS i", ("i", "AccessExclusiveLock")),
        ("TRUNCATE users", ("users", "AccessExclusiveLock")),
        ("VACUUM FULL users", ("users", "AccessExclusiveLock")),
        ("VACUUM (FULL) users", ("users", "AccessExclusiveLock")),
        ("VACUUM users", None),
        ("CREATE TRIGGER t BEFORE UPDATE ON users EXECUTE FUNCTION f()", ("users", "ShareRowExclusiveLock")),
        ("ALTER TYPE mood ADD VALUE 'new'", None),
        ("SELECT 1", None),
    ],
)
def test_the_lock_of_a_statement_is_known_by_its_text(statement, lock) -> None:
    assert lock_by_text(statement) == lock


def test_a_name_as_written_is_the_catalogues() -> None:
    assert name_parts('Public."T ""x"" y"') == ("public", 'T "x" y')


def test_what_was_sent_is_read_as_sql() -> None:
    sent = {"text": "UPDATE t SET a = %(a)s WHERE b LIKE '50%%'", "in_transaction": True}
    assert _statement(sent).text == "UPDATE t SET a = $1 WHERE b LIKE '50%'"


# -- Prefect's API -------------------------------------------------------------------------------------


def test_without_an_address_the_command_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="PREFECT_API_URL"):
        PrefectApi.from_environment({})
    with pytest.raises(ConfigurationError, match="must be like"):
        PrefectApi("localhost:4200")


WENT = WayBack(way="swap", worked=True, duration_s=0.04)
FAILED = WayBack(way="downgrade", worked=False, why="column public.t.c is gone", blocked_by=("r1",))
ELSEWHERE = WayBack(way="swap", worked=None, why="the copy is on another server")
DECLARED = WayBack(way="downgrade", worked=None, why="r1 is irreversible", blocked_by=("r1",))


@pytest.mark.parametrize(
    ("ways", "counting"),
    [
        ((FAILED, WENT), []),
        ((DECLARED, WENT), []),
        ((DECLARED, ELSEWHERE), []),
        ((FAILED, ELSEWHERE), [("no way back", "r1", "downgrade")]),
    ],
)
def test_a_way_back_that_failed_counts_only_where_no_other_was_proven(ways, counting) -> None:
    risk = judge([estimate()], POLICIES, CLEAN, ways)
    assert [one.key for one in risk.counting] == counting


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
