"""What preflight says of the pending revisions by their text alone: warnings, and never a pass unread."""

from __future__ import annotations

import pytest

from lockkeeper.errors import ConfigurationError, DatabaseError
from lockkeeper.lint import LintFinding, LintReport, Severity
from lockkeeper.models import CheckState
from lockkeeper.offline_lint import lint_checks
from lockkeeper.risk import Linted, linted

DANGER = LintFinding(
    rule="drop-column", severity=Severity.ERROR, revision="r1", message="it breaks", advice="do it so"
)
UNREAD = LintFinding(rule="could-not-check", severity=Severity.UNKNOWN, revision="r2", message="it asks")


def told(*findings: LintFinding, rehearsal: str = "full") -> list[tuple[str, str]]:
    checks = lint_checks(Linted(LintReport(findings=findings, statements=3)), rehearsal)
    assert {check.name for check in checks} == {"lint"}
    assert not any(check.refuses for check in checks), "the rehearsal, and a human, decide"
    return [(check.state.value, check.message) for check in checks]


def test_a_danger_is_a_warning_with_the_safe_form() -> None:
    assert told(DANGER) == [("warning", "r1: drop-column: it breaks Instead: do it so")]


def test_what_is_harmless_passes_and_what_a_comment_allows_is_told_with_its_reason() -> None:
    assert told() == [("ok", "no danger in 3 statements")]
    allowed = DANGER.model_copy(update={"allowed_because": "nobody reads it"})
    style = DANGER.model_copy(update={"severity": Severity.WARNING})
    assert told(allowed, style) == [
        ("ok", "no danger in 3 statements"),
        ("ok", "r1: allowed, nobody reads it: drop-column: it breaks"),
    ]


@pytest.mark.parametrize(
    ("rehearsal", "unread"), [("full", "not linted before the rehearsal"), ("off", "not linted")]
)
def test_what_could_not_be_read_is_told_with_the_reason(rehearsal: str, unread: str) -> None:
    assert told(UNREAD, rehearsal=rehearsal) == [("warning", f"r2: {unread}: it asks")]

    def missing() -> LintReport:
        raise ConfigurationError("squawk is not installed")

    def failing() -> LintReport:
        raise DatabaseError("the server is gone")

    for lint, why in ((missing, "squawk is not installed"), (failing, "the server is gone")):
        (check,) = lint_checks(linted(lint), rehearsal)
        assert (check.state, check.message) == (CheckState.WARNING, f"{unread}: {why}")
