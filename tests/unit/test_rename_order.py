"""The order of a rename, decided without a database: transitions, who is asked, what a no means, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from lockkeeper.backfill.steering import EFFICIENT_ROWS, LEAST_ROWS, Steering
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.by_hand import CommandLine
from lockkeeper.errors import ConfigurationError, FlagRevertedError, StageRefusedError
from lockkeeper.models import Approval, Decision, RunReport, utc_now
from lockkeeper.rename import TRANSITIONS, ColumnChange, Stage, may_follow
from lockkeeper.rename.transitions import OVER, require
from lockkeeper.renaming import DROP, FLIP, Backfilled, make_request, run_rename
from lockkeeper.runbook import MigrationRequest

REQUEST = make_request("products", "description", "description_new")
RUN = MigrationRequest(run_id="r1", target="shop", database="shop")
PREPARED = ["expand", "backfill", "validate"]
FLIPPED = [*PREPARED, "flip", "observe"]


def answer(key: str, decision: Decision = Decision.APPROVE) -> dict[str, Approval]:
    return {key: Approval(key=key, decision=decision, approver="ada", decided_at=utc_now())}


@dataclass
class Steps:
    """Stages that only remember; ``stage`` is what the ledger says."""

    stage: str = "planned"
    breaks: dict[str, Exception] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    told: list[RunReport] = field(default_factory=list)
    round: str = "7-0"
    by_hand: CommandLine = field(default_factory=lambda: CommandLine("shop"))

    def __getattr__(self, name: str) -> Any:
        def step(*_: object) -> Any:
            self.done.append(name)
            if name in self.breaks:
                raise self.breaks[name]
            return Backfilled(self.status(), None) if name == "backfill" else self.status()

        return step

    def status(self) -> Any:
        return SimpleNamespace(
            stage=self.stage,
            round=self.round,
            rows_copied=1,
            rows_parked=0,
            parity=None,
            quarantine_until=None,
        )

    def question(self, key: str) -> str:
        return f"facts for {key}"

    def journal(self, _report: RunReport) -> None:
        return None

    def notify(self, report: RunReport) -> None:
        self.told.append(report)


def play(steps: Steps, answers: dict[str, Approval]) -> tuple[str, str | None]:
    """Play, and return the outcome and which question is open."""
    end = run_rename(steps, RUN, REQUEST, answers)
    assert end.report.outcome is not None
    assert [told.outcome for told in steps.told] == [end.report.outcome], "the team is told once, always"
    return end.report.outcome.value, end.question.key if end.question else None


@pytest.mark.parametrize(
    ("stage", "answers", "done", "asked"),
    [
        ("validated", {}, PREPARED, FLIP),
        ("observing", answer(FLIP), FLIPPED, DROP),
        ("screamed", answer(FLIP), PREPARED, DROP),
        ("observing", {**answer(FLIP), **answer(DROP)}, [*FLIPPED, "scream", "contract"], None),
        ("screaming", {**answer(FLIP), **answer(DROP)}, [*PREPARED, "scream", "contract"], None),
        ("contracted", {**answer(FLIP), **answer(DROP)}, [*PREPARED, "contract"], None),
    ],
)
def test_what_is_done_and_who_is_asked_is_told_by_ledger_and_answers(
    stage: str, answers: dict[str, Approval], done: list[str], asked: str | None
) -> None:
    steps = Steps(stage)
    assert play(steps, answers) == ("waits for approval" if asked else "succeeded", asked)
    assert steps.done == done


@pytest.mark.parametrize("key", [FLIP, DROP])
@pytest.mark.parametrize(("decision", "done"), [(Decision.REJECT, []), (Decision.ABORT, ["abort"])])
def test_a_no_touches_nothing_but_what_it_takes_back(key: str, decision: Decision, done: list[str]) -> None:
    steps = Steps("observing")
    outcome, asked = play(steps, {**answer(FLIP), **answer(key, decision)})
    assert (steps.done, asked) == (done, None)
    assert outcome.split(",")[0] == ("aborted" if done else "rejected")


@pytest.mark.parametrize("broken", ["expand", "backfill", "validate", "flip", "observe"])
def test_after_a_stage_that_failed_nothing_is_done_and_nobody_is_asked(broken: str) -> None:
    steps = Steps("observing", {broken: FlagRevertedError("use-new-description", 50, "errors")})
    assert play(steps, answer(FLIP)) == ("failed", None)
    assert steps.done[-1] == broken
    assert steps.told[0].next_command == "lockkeeper rename status shop"


def test_a_yes_to_a_change_that_was_aborted_meanwhile_begins_nothing_anew() -> None:
    steps = Steps("aborted")
    outcome, asked = play(steps, answer(FLIP))
    assert (outcome.split()[0], asked) == ("refused", None)
    assert steps.done == [], "it would have been filled and flipped again, and nobody asked"
    told = str(steps.told[0].error)
    assert "aborted since" in told
    assert "lockkeeper rename start shop products description description_new" in told


@pytest.mark.parametrize("asked_as", ["approve-flip-6-0", "approve-flip-7-1", "approve-flip-70-0"])
def test_a_yes_to_an_earlier_attempt_is_none_to_this_one(asked_as: str) -> None:
    given = {FLIP: answer(FLIP)[FLIP].model_copy(update={"key": asked_as})}
    steps = Steps("validated", round="7-0")
    end = run_rename(steps, RUN, REQUEST, given)
    assert end.question is not None
    assert end.question.asked_as == "approve-flip-7-0"
    assert steps.done == PREPARED


def test_an_abort_of_an_earlier_attempt_leaves_the_present_one_alone() -> None:
    given = {FLIP: answer(FLIP, Decision.ABORT)[FLIP].model_copy(update={"key": "approve-flip-6-0"})}
    steps = Steps("validated", round="7-0")
    assert play(steps, given)[0].startswith("refused")
    assert steps.done == []
    assert "earlier attempt" in str(steps.told[0].error)
    assert "lockkeeper rename abort shop products description" in str(steps.told[0].error)
    given[FLIP] = given[FLIP].model_copy(update={"key": "approve-flip-7-0"})
    again = Steps("validated", round="7-0")
    assert play(again, given)[0].startswith("aborted")
    assert again.done == ["abort"]


@pytest.mark.parametrize("asked_as", ["approve-flip-7-0", "approve-flip-7-0-again-1"])
def test_a_yes_to_this_attempt_counts_however_often_it_was_asked(asked_as: str) -> None:
    given = {FLIP: answer(FLIP)[FLIP].model_copy(update={"key": asked_as})}
    assert play(Steps("observing", round="7-0"), given) == ("waits for approval", DROP)


def test_an_aborted_change_can_be_begun_anew_and_is_asked_about_again() -> None:
    steps = Steps("aborted")
    assert play(steps, {}) == ("waits for approval", FLIP)
    assert steps.done == PREPARED


# -- the table of transitions -------------------------------------------------------------------------------


def test_every_stage_before_the_contract_can_be_aborted_and_no_other() -> None:
    aborted = {before for before, after in TRANSITIONS if after is Stage.ABORTED}
    assert aborted == set(Stage) - {Stage.CONTRACTED} - OVER


def test_no_way_leads_to_the_flip_or_the_drop_but_through_proof_and_quarantine() -> None:
    assert {before for before, after in TRANSITIONS if after is Stage.FLIPPED} == {Stage.VALIDATED}
    assert {before for before, after in TRANSITIONS if after is Stage.DROPPED} == {Stage.CONTRACTED}
    assert all(may_follow(stage) == () for stage in OVER)
    assert all(why for why in TRANSITIONS.values())


@pytest.mark.parametrize("before", [*Stage])
def test_what_the_table_does_not_have_is_refused_with_what_may_follow(before: Stage) -> None:
    for after in Stage:
        if (before, after) in TRANSITIONS:
            require(before, after)
            continue
        with pytest.raises(
            StageRefusedError, match=f"The change is {before}; it cannot become {after}"
        ) as got:
            require(before, after)
        assert got.value.allowed == tuple(stage.value for stage in may_follow(before))


# -- what is asked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("", "a", "b"), "needs a table"),
        (("t", "a", "a"), "has that name already"),
        (("t", "a", "b", None, "upper(a)"), "belong together"),
        (("t", "a", "b", None, None, None, "newest"), "conflict is"),
        (("t", "a", "b", None, None, None, "refuse", -1), "must not be negative"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(words: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ColumnChange(*words)


def test_a_mere_change_of_type_works_under_a_name_of_its_own() -> None:
    change = ColumnChange("shop.items", "id", "id", "bigint")
    assert (change.keeps_name, change.is_plain, change.schema_name) == (True, False, "shop")
    assert len({change.old, change.working_name, change.hidden_name}) == 3


# -- steering and limits ------------------------------------------------------------------------------------


def test_batches_find_the_size_that_their_time_allows_and_stay_there() -> None:
    steering = Steering(rows=1_000, most_rows=10_000, target_ms=50)
    for _ in range(30):
        steering.took(steering.rows, steering.rows / 100)  # 100 rows take a millisecond
    assert 4_000 <= steering.rows <= 6_000
    for _ in range(30):
        steering.took(steering.rows, steering.rows * 10)  # the server suffers
    assert steering.rows == LEAST_ROWS


def test_a_failing_batch_is_halved_down_to_single_rows() -> None:
    steering, sizes = Steering(rows=1_000, most_rows=10_000, target_ms=50), []
    while steering.failed(steering.rows):
        sizes.append(steering.rows)
    assert sizes == [500, 250, 125, 62, 31, 16]


def test_a_lower_limit_counts_from_the_next_batch_on() -> None:
    steering = Steering(rows=1_000, most_rows=10_000, target_ms=50)
    steering.limit(most_rows=10, target_ms=50, firm_ms=50, least_rows=EFFICIENT_ROWS)
    assert steering.rows == 10
    steering.took(10, 0.1)
    assert steering.rows == 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_row": 1}, "There is no batch_row"),
        ({"batch_rows": 0}, "must be positive"),
        ({"on_failing_row": "skip"}, "'park' or 'stop'"),
        ({"metric_sql": "SELECT 1"}, "needs its bound"),
        ({"metric_url": "file:///etc/passwd", "max_metric": 1}, "http or https"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Throttle.from_values(values)
