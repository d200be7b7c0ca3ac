"""Which expands and contracts the lint takes for one rename that would be applied in one go."""

from __future__ import annotations

import pytest

from lockkeeper.lint import LintContext, lint_report
from lockkeeper.lint.models import ColumnFacts
from lockkeeper.lint.renames import RULE, renames_in_one_go

EXPAND = (
    "def upgrade():\n    op.expand_rename_online({0})\n\ndef downgrade():\n    op.abort_rename_online({0})\n"
)
CONTRACT = "def upgrade():\n    op.contract_rename_online({0})\n\ndef downgrade():\n    pass\n"
NAMES = '"products", "description", "text_new"'
TEXT = ColumnFacts(type="text")
USED = LintContext(columns={"public.products": {"description": TEXT}})


def pairs(expand: str, contract: str) -> list[tuple[str, str]]:
    sources = {"a": EXPAND.format(expand), "b": CONTRACT.format(contract)}
    return [(each.expand, each.contract) for each in renames_in_one_go(sources, ["a", "b"])]


@pytest.mark.parametrize(
    ("expand", "contract"),
    [
        (NAMES, NAMES),
        (NAMES, 'table_name="products", new="text_new", old="description"'),
        (NAMES + ', schema="shop", type_="int"', NAMES + ", schema='shop'"),
        ("TABLE, OLD, NEW", "TABLE, OLD, NEW"),
    ],
)
def test_a_pair_is_known_however_its_names_are_written(expand: str, contract: str) -> None:
    assert pairs(expand, contract) == [("a", "b")]


@pytest.mark.parametrize(
    ("expand", "contract"),
    [
        (NAMES, '"products", "description", "other"'),
        (NAMES, NAMES + ', schema="shop"'),
        ('"orders", "id", "id", type_="bigint"', '"orders", "id", "id"'),
    ],
)
def test_what_is_not_one_rename_and_what_keeps_its_name_is_no_pair(expand: str, contract: str) -> None:
    assert pairs(expand, contract) == []


def test_a_contract_alone_and_one_before_its_expand_are_no_pair() -> None:
    sources = {"a": EXPAND.format(NAMES), "b": CONTRACT.format(NAMES)}
    assert renames_in_one_go(sources, ["b"]) == []
    assert renames_in_one_go(sources, ["b", "a"]) == []


def found(context: LintContext, contract: str = CONTRACT, *revisions: str) -> list[tuple[str, str | None]]:
    sources = {"a": EXPAND.format(NAMES), "b": contract.format(NAMES)}
    report = lint_report(
        [],
        server_version=16,
        context=context.model_copy(update={"sources": sources}),
        unchecked=dict.fromkeys(revisions or ("a", "b"), "asks the database"),
    )
    return [(each.rule, each.allowed_because) for each in report.findings if each.rule != "could-not-check"]


def test_a_pair_on_a_column_that_is_there_is_an_error_unless_a_reason_is_given() -> None:
    assert found(USED) == [(RULE, None)]
    allowed = f"# lockkeeper: allow {RULE} because nobody reads it\n{CONTRACT}"
    assert found(USED, allowed) == [(RULE, "nobody reads it")]


def test_a_new_database_and_a_rename_that_has_begun_are_no_danger_and_the_reason_stays_needed() -> None:
    allowed = f"# lockkeeper: allow {RULE} because nobody reads it\n{CONTRACT}"
    begun = LintContext(columns={"public.products": {"description": TEXT, "text_new": TEXT}})
    for context in (LintContext(), begun, LintContext(columns={"public.others": {"description": TEXT}})):
        assert found(context) == []
        assert found(context, allowed) == []
    assert found(USED, allowed, "b") == [], "its expand was applied before"
