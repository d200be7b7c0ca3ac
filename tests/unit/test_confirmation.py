"""The second opinion confirms only what two dumps show, and tells what no finding names."""

from __future__ import annotations

import pytest

from benchmarks.confirmation import compare, is_about, named
from benchmarks.plain_alembic import OneGoOpinion, Opinion, _target, statements
from lockkeeper.models import Revision
from lockkeeper.proving.models import Finding, FindingKind, ProofState, RevisionProof

DUMP = """--
-- PostgreSQL database dump
--
\\restrict 7f
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.users (
    id integer NOT NULL,
    name text,
    CONSTRAINT named CHECK ((name <> ''::text))
);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
"""


def finding(kind: FindingKind, subject: str) -> Finding:
    return Finding(kind=kind, subject=subject, message=f"about {subject}")


def proof(*findings: Finding) -> RevisionProof:
    return RevisionProof(revision="r1", state=ProofState.FAILED, findings=findings)


def test_a_dump_is_split_so_that_the_order_of_columns_does_not_count() -> None:
    found = statements(DUMP)
    assert found == {
        "TABLE public.users",
        "TABLE public.users: id integer NOT NULL",
        "TABLE public.users: name text",
        "TABLE public.users: CONSTRAINT named CHECK ((name <> ''::text))",
        "ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id)",
    }
    other = DUMP.replace(
        "    id integer NOT NULL,\n    name text,", "    name text,\n    id integer NOT NULL,"
    )
    assert other != DUMP
    assert statements(other.replace("restrict 7f", "restrict 99")) == found


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ("column public.flow.folder", {"flow", "folder"}),
        ("constraint fk_user on public.flow", {"fk_user", "flow"}),
        ("index public.ix (on public.flow)", {"ix", "flow"}),
        ('type public."Status"', {'"Status"'}),
        ("public.dag_bundle", {"dag_bundle"}),
    ],
)
def test_a_finding_is_about_the_object_that_it_names(subject: str, names: set[str]) -> None:
    assert named(subject) == names


@pytest.mark.parametrize(
    ("subject", "difference", "about"),
    [
        ("column public.flow.id", "TABLE public.flow: id integer", True),
        ("column public.flow.id", "TABLE public.flow: uid integer", False),
        ("column public.flow.id", "TABLE public.flow_old: id integer", False),
        ("index public.ix (on public.flow)", "CREATE INDEX ix ON public.flow USING btree (id)", True),
        ("constraint new_fd70f154_pkey on public.t", "TABLE public.t: CONSTRAINT new_24295201_pkey", True),
        ("constraint new_fd70f154_pkey on public.t", "TABLE public.t: CONSTRAINT old_24295201_pkey", False),
        ("public.dag_bundle", 'ROW 0 of public.dag_bundle: {"name": "x"}', True),
    ],
)
def test_a_difference_confirms_only_a_finding_about_the_same_object(
    subject: str, difference: str, about: bool
) -> None:
    assert is_about(subject, difference) is about


def test_a_finding_without_a_difference_is_denied_and_a_difference_without_a_finding_missed() -> None:
    ours = proof(
        finding(FindingKind.RESIDUE, "type public.colour"), finding(FindingKind.RESIDUE, "type public.size")
    )
    opinion = Opinion({}, frozenset({"CREATE TYPE public.colour AS ENUM ('a')", "CREATE SEQUENCE public.s"}))
    found = compare([ours], {"r1": opinion}, OneGoOpinion())
    assert found.confirmed == 1
    assert found.denied == ("r1: residue: about type public.size",)
    assert found.missed == ("r1: CREATE SEQUENCE public.s",)


def test_a_failure_is_confirmed_by_the_same_move_only() -> None:
    ours = proof(finding(FindingKind.DOWNGRADE_FAILED, "revision r1"))
    assert compare([ours], {"r1": Opinion({"down": "no"})}, OneGoOpinion()).confirmed == 1
    other = compare([ours], {"r1": Opinion({"again": "no"})}, OneGoOpinion())
    assert other.confirmed == 0
    assert other.missed == ("r1: not repeatable: no",)


def test_what_plain_alembic_did_not_reach_confirms_nothing() -> None:
    found = compare([proof(finding(FindingKind.RESIDUE, "type public.colour"))], {}, OneGoOpinion())
    assert (found.compared, found.confirmed, len(found.denied)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("kind", "said", "told", "confirmed"),
    [
        (FindingKind.BLOCKS_ITSELF, "7 waits for 8", "E: canceling statement due to lock timeout", 1),
        (FindingKind.NOT_IN_ONE_GO, "7 waits for 8", "E: canceling statement due to lock timeout", 1),
        (FindingKind.NOT_IN_ONE_GO, "failed: (x.Y) no table", "ProgrammingError: (x.Y) no table\nSQL", 1),
        (
            FindingKind.NOT_IN_ONE_GO,
            "failed: (x.Y) no table",
            "E: canceling statement due to lock timeout",
            0,
        ),
        (FindingKind.NOT_IN_ONE_GO, "failed: (x.Y) no table", "ProgrammingError: (x.Z) no column", 0),
        (FindingKind.BLOCKS_ITSELF, "7 waits for 8", None, 0),
    ],
)
def test_a_failure_in_one_go_is_confirmed_by_the_same_failure_in_one_go_only(
    kind: FindingKind, said: str, told: str | None, confirmed: int
) -> None:
    ours = proof(Finding(kind=kind, subject="revision r1", message=said))
    assert compare([ours], {"r1": Opinion()}, OneGoOpinion({"r1": told})).confirmed == confirmed


def test_what_only_one_go_shows_and_no_finding_names_has_been_missed() -> None:
    differences = frozenset({"CREATE INDEX ix ON public.t (a)", "CREATE INDEX iy ON public.t (b)"})
    drawn = {"TABLE t: CONSTRAINT new_fd70f154_key", "TABLE t: CONSTRAINT new_24295201_key"}
    ours = proof(finding(FindingKind.DIFFERENT_IN_ONE_GO, "index public.ix (on public.t)"))
    found = compare([ours], {"r1": Opinion()}, OneGoOpinion(differences=differences | drawn))
    assert found.confirmed == 1
    assert found.missed == ("different in one go: CREATE INDEX iy ON public.t (b)",)
    beyond = compare([proof()], {"r1": Opinion()}, OneGoOpinion(beyond="E: no\nSQL"))
    assert beyond.missed == ("fails in one go: E: no",)


def test_the_way_back_from_a_merge_leaves_both_branches_where_they_are() -> None:
    root, side = Revision(id="a"), Revision(id="b", down=("a",))
    merge = Revision(id="c", down=("a", "b"))
    assert [_target(one, [root, side, merge]) for one in (root, side, merge)] == ["a@base", "b@a", "c@b"]


def test_a_table_s_own_sequence_is_named_with_it() -> None:
    assert is_about("table public.session", "CREATE SEQUENCE public.session_id_seq START WITH 1")
    assert not is_about("column public.session.id", "CREATE SEQUENCE public.session_id_seq START WITH 1")
