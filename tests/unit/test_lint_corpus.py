"""The lint judges what the field's documentation judges."""

from __future__ import annotations

import pytest
from lint_corpus import CASES, Case

from lockkeeper.lint import ColumnFacts, LintContext, Severity, SqlStatement, lint_sql

USERS = {
    "id": "bigint", "email": "character varying(100)", "name": "text", "age": "integer",
    "price": "numeric(10,2)", "status": "character varying(20)", "seen": "timestamp without time zone",
    "seen_at": "timestamp with time zone", "address": "cidr", "checked": "text", "bits": "bit varying(8)",
    "at3": "timestamp(3) with time zone",
}  # fmt: skip
CONTEXT = LintContext(
    columns={
        "users": {name: ColumnFacts(type=kind, not_null=name == "email") for name, kind in USERS.items()}
    },
    validated_checks={"public.users": ("(checked IS NOT NULL)",)},
    constrained_domains=("public.positive",),
)


def test_the_corpus_is_large_balanced_and_without_doubles() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80
    assert 0.35 < sum(case.dangerous for case in CASES) / len(CASES) < 0.65


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_labelled_statement_is_judged_as_its_label_says(case: Case) -> None:
    statement = SqlStatement(text=case.sql, in_transaction=case.in_transaction)
    context = CONTEXT if case.knows_columns else None
    found = lint_sql([statement], server_version=max(16, case.since), context=context)

    assert any(one.severity is Severity.ERROR for one in found) is case.dangerous, found
    assert not [one for one in found if one.severity is Severity.UNKNOWN]
    if case.dangerous:
        raised = next(one for one in found if one.rule == case.rule)
        assert raised.severity is Severity.ERROR
        assert raised.message
        assert raised.advice
    else:
        assert found == []
