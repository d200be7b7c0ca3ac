"""``lockkeeper: allow RULE because REASON``, in SQL for a statement, in Python for a revision.

A reason is not optional: without one the exemption does not hold, and that is a finding of its own.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lockkeeper.lint.models import Exemption, LintFinding, Severity
from lockkeeper.lint.registry import KNOWN_RULES, SQUAWK_RULES

_EXEMPTION = re.compile(
    r"lockkeeper:\s*allow\b(?P<rules>.*?)(?:\bbecause\b(?P<reason>.*))?$", re.IGNORECASE | re.DOTALL
)
_NEVER = frozenset({"exemption-without-reason", "unknown-rule", "unused-exemption"})


@dataclass
class Claim:
    """One rule allowed, for a statement or (``whole_revision``) for all of a revision's."""

    rule: str
    reason: str
    revision: str | None
    whole_revision: bool
    used: bool = False

    def answers(self, rule: str) -> bool:
        """Whether the claim names the rule, by our name or by squawk's."""
        return self.rule == rule or rule in SQUAWK_RULES.get(self.rule, ())

    def report(self) -> Exemption:
        """Return what is said of it in the report."""
        return Exemption(**vars(self))


@dataclass
class Claims:
    """What comments claim, and what is wrong with them."""

    claims: list[Claim] = field(default_factory=list)
    findings: list[LintFinding] = field(default_factory=list)

    def read(self, comments: Iterable[str], revision: str | None, *, whole_revision: bool) -> None:
        """Add what the comments say."""
        for comment in comments:
            text = " ".join(comment.strip().removesuffix("*/").split())
            found = _EXEMPTION.search(text)
            if found is not None:
                self._claim(found["rules"], (found["reason"] or "").strip(), revision, whole_revision)

    def _claim(self, rules: str, reason: str, revision: str | None, whole_revision: bool) -> None:
        named = [rule for rule in re.split(r"[\s,]+", rules.strip()) if rule]
        if not named or not reason:
            shown = ", ".join(named) or "RULE"
            self._complain(
                "exemption-without-reason",
                f"The exemption for {shown} gives no reason, so it does not hold.",
                f"-- lockkeeper: allow {shown} because ...",
                revision,
            )
            return
        for rule in named:
            if rule not in KNOWN_RULES and rule not in SQUAWK_RULES:
                self._complain(
                    "unknown-rule",
                    f"There is no rule {rule}, so the exemption allows nothing.",
                    "-- the rules are listed in docs/lint.md",
                    revision,
                )
                continue
            self.claims.append(Claim(rule, reason, revision, whole_revision))

    def _complain(self, rule: str, message: str, advice: str, revision: str | None) -> None:
        finding = LintFinding(
            rule=rule, severity=Severity.ERROR, revision=revision, message=message, advice=advice
        )
        if finding not in self.findings:
            self.findings.append(finding)


def comments_of_python(source: str) -> list[str]:
    """Return the comments of Python source; strings that look like one are none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def of_revisions(sources: Mapping[str, str], revisions: Iterable[str | None]) -> Claims:
    """Return what the revisions' Python sources claim."""
    claims = Claims()
    for revision in dict.fromkeys(revisions):
        if revision is not None and revision in sources:
            claims.read(comments_of_python(sources[revision]), revision, whole_revision=True)
    return claims


def allow(finding: LintFinding, claims: Sequence[Claim]) -> LintFinding:
    """Return the finding, allowed by the first claim that answers it; all that do are marked as used."""
    answering = [
        claim for claim in claims if claim.revision == finding.revision and claim.answers(finding.rule)
    ]
    if not answering or finding.rule in _NEVER:
        return finding
    for claim in answering:
        claim.used = True
    return finding.model_copy(update={"allowed_because": answering[0].reason})


def unused(claims: Iterable[Claim]) -> list[LintFinding]:
    """Return a warning for each claim that nothing needed."""
    return [
        LintFinding(
            rule="unused-exemption",
            severity=Severity.WARNING,
            revision=claim.revision,
            message=f"Nothing here needs the exemption from {claim.rule} ({claim.reason}).",
            advice=f"-- remove: lockkeeper: allow {claim.rule} because {claim.reason}",
        )
        for claim in claims
        if not claim.used
    ]
