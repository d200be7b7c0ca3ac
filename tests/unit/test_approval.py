"""How far an approval reaches, and whose question it can answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockkeeper.approval import find_answered, not_covered, revisions_digest
from lockkeeper.config import LocalStorageSettings
from lockkeeper.errors import RefusedError
from lockkeeper.journal import write_report
from lockkeeper.measured import (
    Risk,
)
from lockkeeper.models import (
    Answered,
    MigrationPlan,
    Outcome,
)
from lockkeeper.storage import open_storage
from tests.unit.risks import (
    APPROVAL,
    asked,
    hold,
    linted,
    planned,
    verdict,
)


@pytest.fixture
def plan(tmp_path: Path) -> MigrationPlan:
    return planned(tmp_path)


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
