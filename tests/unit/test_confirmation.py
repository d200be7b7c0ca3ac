"""The second opinion confirms only what two dumps show, and tells what no finding names."""

from __future__ import annotations

import pytest

from benchmarks.confirmation import compare, is_about, named
from benchmarks.plain_alembic import Opinion, statements
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
    found = compare([ours], {"r1": opinion}, {})
    assert found.confirmed == 1
    assert found.denied == ("r1: residue: about type public.size",)
    assert found.missed == ("r1: CREATE SEQUENCE public.s",)


def test_a_failure_is_confirmed_by_the_same_move_only() -> None:
    ours = proof(finding(FindingKind.DOWNGRADE_FAILED, "revision r1"))
    assert compare([ours], {"r1": Opinion({"down": "no"})}, {}).confirmed == 1
    other = compare([ours], {"r1": Opinion({"again": "no"})}, {})
    assert other.confirmed == 0
    assert other.missed == ("r1: not repeatable: no",)


def test_what_plain_alembic_did_not_reach_confirms_nothing() -> None:
    found = compare([proof(finding(FindingKind.RESIDUE, "type public.colour"))], {}, {})
    assert (found.compared, found.confirmed, len(found.denied)) == (0, 0, 1)


def test_a_revision_blocks_itself_only_when_one_upgrade_in_one_go_ran_into_the_lock_timeout() -> None:
    ours = proof(finding(FindingKind.BLOCKS_ITSELF, "revision r1"))
    for told, confirmed in (("canceling statement due to lock timeout", 1), (None, 0), ("no table", 0)):
        assert compare([ours], {"r1": Opinion()}, {"r1": told}).confirmed == confirmed
