"""What a revision wrote in production and not in the rehearsal: when it is damage, when it may be right."""

from __future__ import annotations

import pytest

from lockkeeper.measured import UnforeseenWrite
from lockkeeper.models import RevisionTiming, utc_now
from lockkeeper.proving import Rehearsal, RevisionPrediction
from lockkeeper.verification import check_unforeseen

Writes = dict[str, tuple[int, int, int]]


def rehearsal(**written: Writes | None) -> Rehearsal:
    predictions = tuple(
        RevisionPrediction(revision=r, duration_s=1, own_writes=w) for r, w in written.items()
    )
    return Rehearsal(
        run_id="1", target="shop", backup_id="b", database="c", started_at=utc_now(), predictions=predictions
    )


def applied(**written: Writes | None) -> list[RevisionTiming]:
    return [RevisionTiming(revision=r, duration_s=1, own_writes=w) for r, w in written.items()]


def test_a_table_that_a_revision_left_alone_in_the_rehearsal_is_named_with_what_it_wrote() -> None:
    found = rehearsal(r1={"public.t": (0, 9, 0)}, r2={"public.u": (0, 0, 0)}).unforeseen(
        applied(r1={"public.t": (0, 12, 0), "public.u": (1, 0, 2)}, r2={"public.u": (0, 3, 0)})
    )
    assert [(one.revision, one.table, one.written, one.own) for one in found] == [
        ("r1", "public.u", (1, 0, 2), (1, 3, 2)),
        ("r2", "public.u", (0, 3, 0), (1, 3, 2)),
    ]
    assert str(found[0]) == (
        "revision r1 wrote to public.u in production (1 rows inserted, 0 updated, 2 deleted), "
        "and not in the rehearsal"
    )


def test_other_numbers_of_rows_of_a_table_that_was_written_are_expected() -> None:
    assert rehearsal(r1={"public.t": (1, 0, 0)}).unforeseen(applied(r1={"public.t": (0, 5, 5)})) == ()


@pytest.mark.parametrize(("there", "here"), [(None, {"public.t": (1, 0, 0)}), ({}, None)])
def test_of_a_revision_that_cannot_tell_what_it_wrote_nothing_is_said(there, here) -> None:
    assert rehearsal(r1=there).unforeseen(applied(r1=here)) == ()


def test_lockkeepers_own_ledger_is_no_table_of_anybodys() -> None:
    assert rehearsal(r1={}).unforeseen(applied(r1={"lockkeeper.renames": (1, 0, 0)})) == ()


def test_what_all_revisions_wrote_is_unknown_when_one_of_them_cannot_tell() -> None:
    (found,) = rehearsal(r1={}, r2=None).unforeseen(applied(r1={"public.t": (1, 0, 0)}, r2=None))
    assert found.own is None


@pytest.mark.parametrize(
    ("own", "by_all", "sampled", "state", "told"),
    [
        ((0, 5, 0), (0, 5, 0), False, "failed", "nobody else has written there"),
        ((0, 5, 0), (0, 4, 0), False, "failed", "nobody else has written there"),
        ((0, 5, 0), (1, 5, 0), False, "warning", "others have written there"),
        ((0, 5, 0), None, False, "warning", "is not known"),
        (None, (0, 5, 0), False, "warning", "is not known"),
        ((0, 5, 0), (0, 5, 0), True, "warning", "a sample of the rows"),
    ],
)
def test_it_is_damage_only_where_nobody_else_can_have_made_the_difference(
    own, by_all, sampled, state, told
) -> None:
    write = UnforeseenWrite(revision="r1", table="public.t", written=(0, 5, 0), own=own)
    (check,) = check_unforeseen([write], {"public.t": by_all}, sampled=sampled)
    assert check.state.value == state
    assert told in check.message
