"""What counts against a migration, and what refutes a danger."""

from __future__ import annotations

import pytest

from lockkeeper.lint import Severity
from lockkeeper.measured import (
    Danger,
    RevisionCost,
    RevisionEstimate,
    RiskFinding,
    RowHold,
    WayBack,
)
from lockkeeper.models import (
    RevisionTiming,
)
from lockkeeper.risk import Linted, judge, needs_approval, over_budget, unmeasured
from lockkeeper.risk_report import verdict_lines
from tests.unit.risks import (
    CLEAN,
    FAILED,
    POLICIES,
    WENT,
    estimate,
    hold,
    linted,
    verdict,
)

ELSEWHERE = WayBack(way="swap", worked=None, why="the copy is on another server")
DECLARED = WayBack(way="downgrade", worked=None, why="r1 is irreversible", blocked_by=("r1",))


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


def test_a_finding_is_about_one_thing() -> None:
    one = RiskFinding(kind=Danger.LINT, revision="r1", subject="drop-column", message="x")
    assert one.key == ("lint", "r1", "drop-column")


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
