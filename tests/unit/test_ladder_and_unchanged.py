"""The decisions of recovery, over their whole tables."""

from __future__ import annotations

import pytest

from lockkeeper.ladder import LadderFacts, Rung, next_rung
from lockkeeper.models import RevisionTiming
from lockkeeper.recovery.unchanged import TableFacts, counted_since, judge_table, own_writes

ROLLED_BACK, DOWNGRADE, RESTORE = Rung.ROLLED_BACK, Rung.DOWNGRADE, Rung.RESTORE


@pytest.mark.parametrize(
    ("moved", "policy", "climbed"),
    [
        (False, "lossless", [ROLLED_BACK, RESTORE]),
        (False, "accept-loss", [ROLLED_BACK, RESTORE]),
        (False, "manual", [ROLLED_BACK]),
        (True, "lossless", [DOWNGRADE, RESTORE]),
        (True, "accept-loss", [DOWNGRADE, RESTORE]),
        (True, "manual", [DOWNGRADE]),
    ],
)
def test_rungs_are_climbed_from_the_gentlest_and_each_once(moved, policy, climbed) -> None:
    tried: list[Rung] = []
    while rung := next_rung(LadderFacts(moved, policy), tried):
        tried.append(rung)
    assert tried == climbed


NONE = (0, 0, 0)
WRITES = (0, 5, 0)


@pytest.mark.parametrize("counted", [None, NONE, WRITES, (1, 9, 3)])
@pytest.mark.parametrize("own", [None, NONE, WRITES])
@pytest.mark.parametrize("same_layout", [True, False])
def test_a_difference_is_forgiven_only_where_the_migration_cannot_have_made_it(
    counted, own, same_layout
) -> None:
    verdict = judge_table(TableFacts("public.t", counted, own, same_layout))
    assert (verdict is None) == (own == NONE and same_layout)
    if verdict is not None:
        ours = counted is not None and counted == own
        assert ("did not bring it back" in verdict) == ours
        assert ("cannot be told" in verdict) == (not ours)


def test_own_writes_add_up_and_are_unknown_when_any_revision_cannot_tell() -> None:
    first = RevisionTiming(revision="a", duration_s=1, own_writes={"public.t": (1, 2, 3)})
    second = RevisionTiming(
        revision="b", duration_s=1, own_writes={"public.t": (1, 0, 0), "public.u": (0, 0, 1)}
    )
    silent = RevisionTiming(revision="c", duration_s=1)
    assert own_writes([first, second], complete=True) == {"public.t": (2, 2, 3), "public.u": (0, 0, 1)}
    assert own_writes([first, silent], complete=True) is None
    assert own_writes([first], complete=False) is None
    assert own_writes([], complete=True) == {}


def test_counters_of_a_table_that_was_not_there_cannot_be_compared() -> None:
    assert counted_since({"t": (1, 1, 1)}, {"t": (3, 1, 2)}, "t") == (2, 0, 1)
    assert counted_since({}, {"t": (3, 1, 2)}, "t") is None
    assert counted_since(None, {"t": (3, 1, 2)}, "t") is None
    assert counted_since({"t": (1, 1, 1)}, None, "t") is None
