"""Differences between fingerprints are sentences about objects, and only about what differs."""

from __future__ import annotations

from typing import Any

import pytest

from lockkeeper.models import DataFingerprint, SchemaFingerprint, TableFingerprint
from lockkeeper.postgres.fingerprint import compare_data, compare_schemas
from lockkeeper.postgres.fingerprint.definitions import same_definition, spread_array_casts
from lockkeeper.postgres.fingerprint.hashing import Column, digest, row_hash, value_hash

Objects = dict[str, dict[str, dict[str, Any]]]


def schema(objects: Objects, major: int = 16) -> SchemaFingerprint:
    return SchemaFingerprint(objects={"server": {"PostgreSQL": {"major": major}}, **objects})


def users(**changes: Any) -> Objects:
    column = {"of": "table public.users", "type": "text", "not null": "no", "position": 1, **changes}
    return {
        "schema": {"public": {"of": None}},
        "table": {"public.users": {"of": "schema public", "owner": "app"}},
        "column": {"public.users.email": column},
        "constraint": {"users_pkey on public.users": {"of": "table public.users"}},
        "index": {"public.users_pkey": {"of": "constraint users_pkey on public.users", "valid": True}},
        "grants": {"table public.users": {"of": "table public.users", "grants": ["SELECT to bob"]}},
    }


def test_equal_schemas_have_no_difference() -> None:
    assert compare_schemas(schema(users()), schema(users())) == []


def test_a_changed_property_is_told_with_both_values() -> None:
    found = compare_schemas(schema(users()), schema(users(type="character varying(20)")))
    assert found == ["column public.users.email: type changed from text to character varying(20)"]


def test_what_belongs_to_a_missing_object_is_not_told_again() -> None:
    after = {**users(), "table": {}, "column": {}, "constraint": {}, "index": {}, "grants": {}}
    assert compare_schemas(schema(users()), schema(after)) == ["table public.users is missing"]
    assert compare_schemas(schema(after), schema(users())) == ["unexpected table public.users"]
    assert compare_schemas(schema(users()), schema({})) == ["schema public is missing"]


def test_the_index_of_a_missing_constraint_is_not_told_again() -> None:
    after = {**users(), "constraint": {}, "index": {}}
    assert compare_schemas(schema(users()), schema(after)) == [
        "constraint users_pkey on public.users is missing"
    ]


def test_grants_are_told_one_by_one() -> None:
    after = users()
    after["grants"]["table public.users"]["grants"] = ["INSERT to eve", "SELECT to bob with grant option"]
    assert compare_schemas(schema(users()), schema(after)) == [
        "grant of SELECT on table public.users to bob is missing",
        "unexpected grant of INSERT on table public.users to eve",
        "unexpected grant of SELECT on table public.users to bob with grant option",
    ]


def test_a_privilege_that_one_major_does_not_have_is_no_difference() -> None:
    after = users()
    after["grants"]["table public.users"]["grants"].append("MAINTAIN to its owner")
    assert compare_schemas(schema(users(), 15), schema(after, 18)) == []
    assert len(compare_schemas(schema(users(), 18), schema(after, 18))) == 1


def test_physical_order_is_told_when_asked_for() -> None:
    before, after = schema(users()), schema(users(position=2))
    assert compare_schemas(before, after) == []
    assert "physical order only" in compare_schemas(before, after, physical_order=True)[0]


def test_ignored_schemas_do_not_count_and_others_do() -> None:
    assert compare_schemas(schema(users()), schema({}), ignore_schemas=["public"]) == []
    assert len(compare_schemas(schema(users()), schema({}), ignore_schemas=["other"])) == 1


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"not null": "yes"}, "column public.users.email is NOT NULL now"),
        ({"state": "disabled"}, "column public.users.email is disabled"),
        ({"validated": False}, "column public.users.email is not validated"),
        ({"default": "1"}, "column public.users.email: default changed from none to 1"),
        ({"labels": ["a", "b"]}, "column public.users.email: labels changed from none to [a, b]"),
    ],
)
def test_common_changes_have_plain_sentences(changes: dict[str, Any], phrase: str) -> None:
    assert compare_schemas(schema(users()), schema(users(**changes))) == [phrase]


def test_long_definitions_are_shown_where_they_begin_to_differ() -> None:
    long = "SELECT " + ", ".join(f"column_{i}" for i in range(200))
    (found,) = compare_schemas(schema(users(body=long)), schema(users(body=long.replace("_150", "_x"))))
    assert "column_x" in found
    assert len(found) < 400
    (found,) = compare_schemas(schema(users(body="a  b")), schema(users(body="a b")))
    assert "other blanks" in found


IN_LIST = "((s)::text = ANY ((ARRAY['a'::character varying, 'it''s, ])'::character varying])::text[]))"
SPREAD = "((s)::text = ANY (ARRAY[('a'::character varying)::text, ('it''s, ])'::character varying)::text]))"


def test_a_cast_of_an_array_is_the_cast_of_its_elements() -> None:
    assert spread_array_casts(IN_LIST) == SPREAD
    assert spread_array_casts(SPREAD) == SPREAD
    assert spread_array_casts(f"{IN_LIST} OR {IN_LIST}") == f"{SPREAD} OR {SPREAD}"
    assert spread_array_casts('(ARRAY[f(1, 2), x])::public."My T"[]') == (
        'ARRAY[(f(1, 2))::public."My T", (x)::public."My T"]'
    )
    for text in ("(ARRAY[1, 2])", "(ARRAY[", "'(ARRAY[1])::text'"):
        assert spread_array_casts(text) == text


def test_definitions_that_say_something_else_differ() -> None:
    assert same_definition(IN_LIST, SPREAD, across_majors=False)
    assert not same_definition(IN_LIST, SPREAD.replace("'a'", "'b'"), across_majors=True)
    assert same_definition("SELECT users.id FROM s.users", "SELECT id FROM s.users", across_majors=True)
    assert not same_definition("SELECT users.id FROM s.users", "SELECT id FROM s.users", across_majors=False)


def table(name: str = "public.users", rows: int = 2, digest: str = "1", **columns: str) -> DataFingerprint:
    one = TableFingerprint(table=name, rows=rows, digest=digest, columns=columns)
    return DataFingerprint(tables={name: one})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (table(a="x", b="y"), []),
        (
            table(digest="2", a="x", b="z"),
            ["table public.users: content of column b differs (2 rows on both sides)"],
        ),
        (table(rows=3, digest="2", a="z", b="z"), ["table public.users: 2 rows before, 3 rows after"]),
        (table(digest="2", a="x"), ["table public.users: column b missing, with the content of 2 rows"]),
        (table(digest="2", a="x", b="y", c="z"), ["table public.users: unexpected column c"]),
        (DataFingerprint(tables={}), ["table public.users (2 rows) is missing"]),
        (
            table(digest="2", a="x", b="y"),
            [
                "table public.users: rows differ (2 rows on both sides); every column by itself "
                "holds the same values: they were exchanged between rows"
            ],
        ),
        (table(digest="2"), ["table public.users: rows differ (2 rows on both sides)"]),
    ],
)
def test_differences_of_content_are_told(after: DataFingerprint, expected: list[str]) -> None:
    assert compare_data(table(a="x", b="y"), after) == expected
    assert compare_data(table(a="x", b="y"), after, ignore_tables=["public.users"]) == []


def test_sequences_may_be_ahead_but_never_behind() -> None:
    def at(value: str) -> DataFingerprint:
        return DataFingerprint(tables={}, sequences={"public.s": value})

    assert compare_data(at("5,true"), at("4,true"), sequences_may_be_ahead=True) == [
        "sequence public.s is behind: at 4 (used), expected 5 (used)"
    ]
    assert compare_data(at("5,true"), at("9,true"), sequences_may_be_ahead=True) == []
    assert "ahead" in compare_data(at("5,true"), at("9,true"))[0]
    assert "behind" in compare_data(at("1,true"), at("1,false"))[0]
    assert compare_data(at("1,true"), DataFingerprint(tables={})) == ["sequence public.s is missing"]


def test_a_stale_materialized_view_can_be_left_out() -> None:
    def view(digest: str) -> DataFingerprint:
        one = TableFingerprint(table="v", kind="materialized view", rows=1, digest=digest)
        return DataFingerprint(tables={"v": one})

    assert compare_data(view("1"), view("2"), ignore_materialized_views=True) == []
    assert compare_data(view("1"), view("2")) == ["materialized view v: rows differ (1 row on both sides)"]


def test_what_a_manifest_of_an_earlier_release_does_not_know_is_no_difference() -> None:
    known, other = schema(users(origin="own")), schema(users(origin="inherited"))
    assert compare_schemas(schema(users()), known) == compare_schemas(known, schema(users())) == []
    assert compare_schemas(other, known) == [
        "column public.users.email: origin changed from inherited to own"
    ]


def test_large_objects_are_compared() -> None:
    def objects(content: str) -> DataFingerprint:
        one = TableFingerprint(table="large objects", rows=1, digest=content, columns={"content": content})
        return DataFingerprint(tables={}, large_objects=one)

    assert compare_data(objects("1"), objects("2")) == [
        "large objects: content of column content differs (1 row on both sides)"
    ]


def test_digests_are_of_fixed_length_and_distinguish_signs() -> None:
    assert digest(1) == "1-" + "0" * 31 + "1"
    assert digest(-1) == "1-" + "f" * 32


def test_sql_for_many_columns_is_not_deeply_nested() -> None:
    text = row_hash([f"h{i}" for i in range(1600)]).as_string(None)  # type: ignore[arg-type]
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    assert deepest < 20


def test_the_seed_of_a_column_is_its_name_and_unknown_types_are_hashed_by_their_text() -> None:
    here = Column("a", "a", None, None, "public.geometry_out")
    assert here.seed == Column("a", "a", "int4", None, "pg_catalog.int4out").seed
    assert here.seed != Column("b", "b", None, None, "public.geometry_out").seed
    text = value_hash(here).as_string(None)  # type: ignore[arg-type]
    assert "textin(public.geometry_out(a))" in text
