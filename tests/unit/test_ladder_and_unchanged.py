"""The decisions of recovery, over their whole tables."""

from __future__ import annotations

import pytest

from lockkeeper.ladder import LadderFacts, Rung, next_rung, prospects
from lockkeeper.models import RevisionTiming
from lockkeeper.recovery.unchanged import TableFacts, counted_since, judge_table, own_writes

ROLLED_BACK, DOWNGRADE, WARM, REPLAY, RESTORE = Rung
SLOW_DOWNGRADE = {Rung.DOWNGRADE: 60.0, Rung.WARM_SWAP: 3.0, Rung.REPLAY: 90.0}
SLOWEST_DOWNGRADE = {Rung.DOWNGRADE: 600.0, Rung.WARM_SWAP: 3.0, Rung.REPLAY: 90.0}
QUICK_DOWNGRADE = {Rung.DOWNGRADE: 1.0, Rung.WARM_SWAP: 3.0, Rung.REPLAY: 90.0}


def climbed(facts: LadderFacts) -> list[Rung]:
    tried: list[Rung] = []
    while prospect := next_rung(facts, tried):
        tried.append(prospect.rung)
    return tried


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("policy", ["lossless", "accept-loss"])
@pytest.mark.parametrize(("moved", "first"), [(False, ROLLED_BACK), (True, DOWNGRADE)])
def test_rungs_are_climbed_from_the_gentlest_and_each_once(moved, first, policy, warm, captured) -> None:
    facts = LadderFacts(moved, policy, warm, captured)
    assert climbed(facts) == [first, *[WARM] * warm, *[REPLAY] * captured, RESTORE]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize(("moved", "first"), [(False, ROLLED_BACK), (True, DOWNGRADE)])
def test_under_the_policy_manual_nothing_replaces_the_database(moved, first, warm, captured) -> None:
    facts = LadderFacts(moved, "manual", warm, captured, estimates_s=SLOWEST_DOWNGRADE)
    assert climbed(facts) == [first]


@pytest.mark.parametrize(
    ("moved", "warm", "captured", "estimates_s", "expected"),
    [
        (True, True, True, QUICK_DOWNGRADE, [DOWNGRADE, WARM, REPLAY, RESTORE]),
        (True, True, True, SLOW_DOWNGRADE, [WARM, DOWNGRADE, REPLAY, RESTORE]),
        (True, True, True, SLOWEST_DOWNGRADE, [WARM, REPLAY, DOWNGRADE, RESTORE]),
        (True, False, True, SLOW_DOWNGRADE, [DOWNGRADE, REPLAY, RESTORE]),
        (True, False, False, SLOWEST_DOWNGRADE, [DOWNGRADE, RESTORE]),
        (True, True, True, {DOWNGRADE: 7.9, WARM: 3.0}, [DOWNGRADE, WARM, REPLAY, RESTORE]),
        (True, True, True, {DOWNGRADE: 60.0}, [DOWNGRADE, WARM, REPLAY, RESTORE]),
        (True, True, True, {WARM: 3.0}, [DOWNGRADE, WARM, REPLAY, RESTORE]),
        (True, True, True, {RESTORE: 1.0, DOWNGRADE: 60.0}, [DOWNGRADE, WARM, REPLAY, RESTORE]),
        (False, True, True, {ROLLED_BACK: 60.0, WARM: 3.0}, [ROLLED_BACK, WARM, REPLAY, RESTORE]),
    ],
)
def test_a_downgrade_waits_for_what_is_known_to_be_clearly_faster_and_loses_nothing_either(
    moved, warm, captured, estimates_s, expected
) -> None:
    assert climbed(LadderFacts(moved, "lossless", warm, captured, estimates_s=estimates_s)) == expected


@pytest.mark.parametrize(
    ("moved", "policy", "expected"),
    [
        (True, "lossless", [WARM, REPLAY, DOWNGRADE, RESTORE]),
        (True, "accept-loss", [WARM, REPLAY, DOWNGRADE, RESTORE]),
        (True, "manual", [DOWNGRADE]),
        (False, "lossless", [ROLLED_BACK, WARM, REPLAY, RESTORE]),
    ],
)
def test_a_downgrade_that_failed_in_the_rehearsal_comes_after_what_loses_nothing_either(
    moved, policy, expected
) -> None:
    facts = LadderFacts(moved, policy, warm=True, captured=True, downgrade_failed=True)
    assert climbed(facts) == expected


@pytest.mark.parametrize("rung", [ROLLED_BACK, DOWNGRADE, WARM, REPLAY])
@pytest.mark.parametrize("policy", ["lossless", "accept-loss"])
def test_only_a_plain_restore_can_lose_anything(rung, policy) -> None:
    facts = LadderFacts(rung is not ROLLED_BACK, policy, warm=True, captured=True)
    assert {one.rung: one.loses for one in prospects(facts)}[rung] == "nothing"


@pytest.mark.parametrize(
    ("policy", "loses"),
    [("lossless", "nothing, or it is not done"), ("accept-loss", "writes since the backup")],
)
def test_what_a_plain_restore_would_lose_is_said_beforehand(policy, loses) -> None:
    last = prospects(LadderFacts(True, policy, estimates_s={RESTORE: 98.0}))[-1]
    assert (last.rung, last.loses, last.duration_s) == (RESTORE, loses, 98.0)


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
