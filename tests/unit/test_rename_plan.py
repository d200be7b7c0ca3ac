"""What becomes of each thing on a column: carried over, refused with a way out, or a fact of the column."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lockkeeper.errors import PlanRefusedError
from lockkeeper.online.catalog import Relation
from lockkeeper.online.session import Session
from lockkeeper.rename import ColumnChange, Stage, plan
from lockkeeper.rename.plan import CARRIED, ON_THE_TABLE, WHY, Dependent, RenamePlan

PLAIN = ColumnChange("items", "title", "name")
TYPED = ColumnChange("items", "title", "name", new_type="int")
ITEMS = Relation(1, "public", "items", False)


def judged(change: ColumnChange, *kinds: str) -> tuple[list[str], list[str]]:
    return plan._judge_dependents(change, [Dependent(kind, 1, f"the {kind}") for kind in kinds])


@pytest.mark.parametrize("kind", CARRIED)
def test_what_can_be_carried_over_is_named_in_words(kind: str) -> None:
    assert judged(PLAIN, kind) == ([f"{CARRIED[kind]}: the {kind}"], [])


@pytest.mark.parametrize("kind", [*WHY, "something of PostgreSQL 25"])
def test_what_cannot_is_refused_and_never_ignored(kind: str) -> None:
    why = WHY.get(kind, "nobody has taught Lockkeeper to carry this over")
    assert judged(PLAIN, kind) == ([], [f"the {kind}: {why}"])


def test_a_view_goes_along_with_a_name_but_not_with_a_type() -> None:
    assert judged(PLAIN, "rule v")[1] == []
    assert judged(TYPED, "rule v")[1] == [
        "the rule v: a view's column cannot change its type; drop it, make it again afterwards"
    ]


def test_facts_of_the_column_itself_are_no_dependents() -> None:
    assert judged(PLAIN, "default", "ours", "constraint n") == ([], [])


def test_a_plan_with_a_refusal_raises_all_of_it() -> None:
    found = RenamePlan(PLAIN, "items", "text", "text", 0, 0, carried=(), refused=("first", "second"))
    with pytest.raises(PlanRefusedError, match=r"(?s)first.*second"):
        found.refuse()
    assert RenamePlan(PLAIN, "items", "text", "text", 0, 0, carried=(), refused=()).refuse() is None


def neighbours(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, other: ColumnChange, on_other: Dependent
) -> list[str]:
    """What is refused beside another change, with one index on the column that is asked about."""
    entry = SimpleNamespace(id=3, stage=stage, change=other)
    monkeypatch.setattr(plan, "entries", lambda *_: [entry])
    monkeypatch.setattr(plan, "dependents_of", lambda *names: [on_other] if names[2] == other.old else [])
    mine = [Dependent("class i", 10, "index both"), Dependent("rule v", 11, "view both")]
    return plan._refused_by_neighbours(cast(Session, cast(Any, None)), PLAIN, ITEMS, mine)


PRICE = ColumnChange("items", "price", "cents")


def test_an_index_that_another_change_carries_too_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert neighbours(monkeypatch, Stage.EXPANDED, PRICE, Dependent("class i", 10, "")) == [
        "index both is on the columns of items.price -> cents (change 3, expanded), too: "
        "drop or abort that first"
    ]


@pytest.mark.parametrize("stage", [Stage.PLANNED, Stage.DROPPED, Stage.ABORTED])
def test_what_another_change_shares_is_no_matter_before_it_began_or_once_it_is_over(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    assert neighbours(monkeypatch, stage, PRICE, Dependent("class i", 10, "")) == []


def test_a_view_of_both_and_an_index_of_the_other_are_no_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for other in (Dependent("rule v", 11, ""), Dependent("class i", 99, "")):
        assert neighbours(monkeypatch, Stage.CONTRACTED, PRICE, other) == []
    assert "rule v" not in ON_THE_TABLE


def test_a_name_that_another_change_uses_is_refused_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Dependent("class i", 99, "")
    for other in (ColumnChange("items", "price", "title"), ColumnChange("items", "name", "price")):
        (refusal,) = neighbours(monkeypatch, Stage.CONTRACTED, other, nothing)
        assert refusal.endswith(
            f"belongs to {other.subject} (change 3, contracted): drop or abort that first"
        )
