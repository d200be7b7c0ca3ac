"""From statements to findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lockkeeper.errors import ConfigurationError
from lockkeeper.lint import exemptions
from lockkeeper.lint.models import LintContext, LintFinding, LintReport, Severity, SqlStatement
from lockkeeper.lint.renames import judge_renames
from lockkeeper.redaction import redact

if TYPE_CHECKING:
    from lockkeeper.lint.analysis import Judged
    from lockkeeper.lint.verdicts import Verdict

OLDEST_MAJOR = 14
SHOWN_CHARACTERS = 160
_ORDER = {Severity.ERROR: 0, Severity.UNKNOWN: 1, Severity.WARNING: 2}


def lint_sql(
    statements: Sequence[SqlStatement], *, server_version: int, context: LintContext | None = None
) -> list[LintFinding]:
    """Judge statements, in the order in which they would run; executes nothing.

    Args:
        statements: what the revisions would send; those of one revision stand together.
        server_version: of the server that they are for, as 16 or as 160004.
        context: what is known of the database.

    Raises:
        ConfigurationError: the parser or squawk is not installed, or the version is not known.
        ProgramError: squawk failed.
    """
    return list(lint_report(statements, server_version=server_version, context=context).findings)


def lint_report(
    statements: Sequence[SqlStatement],
    *,
    server_version: int,
    context: LintContext | None = None,
    unchecked: Mapping[str, str] | None = None,
) -> LintReport:
    """Judge statements as ``lint_sql``; the report also says what was allowed, and what was looked at.

    ``unchecked`` maps a revision to why its statements are not among those given: that is no pass.
    """
    _require_parser()
    from lockkeeper.lint.analysis import judge
    from lockkeeper.lint.squawk import add_squawk_verdicts

    context, unchecked = context or LintContext(), unchecked or {}
    version = _version_num(server_version)
    judged = judge(statements, context, version)
    add_squawk_verdicts(judged, version)
    revisions = list(dict.fromkeys([*(one.revision for one in statements), *unchecked]))
    claimed = exemptions.of_revisions(context.sources, revisions)
    of_revisions = list(claimed.claims)
    findings: list[LintFinding] = []
    for one in judged:
        before = len(claimed.claims)
        claimed.read(one.parsed.comments, one.revision, whole_revision=False)
        claims = [*claimed.claims[before:], *of_revisions]
        findings += [exemptions.allow(each, claims) for each in _findings(one)]
    findings += [exemptions.allow(_unchecked(name, why), of_revisions) for name, why in unchecked.items()]
    findings += judge_renames(context, [name for name in revisions if name is not None], of_revisions)
    findings += [*claimed.findings, *exemptions.unused(claimed.claims)]
    return LintReport(
        findings=tuple(_sorted(findings, revisions)),
        exemptions=tuple(claim.report() for claim in claimed.claims),
        revisions=tuple(revision for revision in revisions if revision is not None),
        statements=len(judged),
    )


def _findings(judged: Judged) -> list[LintFinding]:
    shown = " ".join(judged.parsed.text.split())
    shown = shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."
    raised = [verdict for verdict in judged.verdicts if verdict.cleared is None]
    return [_finding(verdict, judged.revision, redact(shown)) for verdict in dict.fromkeys(raised)]


def _finding(verdict: Verdict, revision: str | None, statement: str) -> LintFinding:
    return LintFinding(
        rule=verdict.rule,
        severity=verdict.severity,
        revision=revision,
        statement=statement,
        message=redact(verdict.message),
        advice=redact(verdict.advice),
        source=verdict.source,
    )


def _unchecked(revision: str, why: str) -> LintFinding:
    return LintFinding(
        rule="could-not-check",
        severity=Severity.UNKNOWN,
        revision=revision,
        message=f"What the revision sends is not known: {why}",
        advice="-- let a rehearsal record its statements, or say in its source: "
        "# lockkeeper: allow could-not-check because ...",
    )


def _sorted(findings: Sequence[LintFinding], revisions: Sequence[str | None]) -> list[LintFinding]:
    """Order by revision as they would run, then by weight; what is alike keeps its order."""
    position = {revision: number for number, revision in enumerate(revisions)}
    return sorted(findings, key=lambda each: (position.get(each.revision, -1), _ORDER[each.severity]))


def _version_num(version: int) -> int:
    number = version * 10000 if version < 1000 else version
    if number < OLDEST_MAJOR * 10000:
        raise ConfigurationError(
            f"PostgreSQL {version} is not supported: Lockkeeper migrates {OLDEST_MAJOR} and later."
        )
    return number


def _require_parser() -> None:
    try:
        import postgast  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "The SQL parser postgast is not installed, so migrations cannot be linted. Install it with: "
            "pip install 'lockkeeper[lint]'"
        ) from error
