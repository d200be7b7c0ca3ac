"""Holds the findings of ``lockkeeper test`` against what plain Alembic and pg_dump show, in both directions.

A finding is confirmed when the same move of the same revision fails, or when the two dumps differ in the very
object that it names. What the dumps differ in and no finding names has been missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.plain_alembic import Opinion
from lockkeeper.proving.models import Finding, FindingKind, RevisionProof

MOVES = {
    FindingKind.UPGRADE_FAILED: "up",
    FindingKind.DOWNGRADE_FAILED: "down",
    FindingKind.NOT_REPEATABLE: "again",
}
_IDENTIFIER = r"(?:\"(?:[^\"]|\"\")+\"|[^\s.\"(),:]+)"
_NAME = re.compile(rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*")
# What Lockkeeper calls the kinds of objects; a name that is one of these words is not told from it.
_KINDS = frozenset(
    (
        *("aggregate", "cast", "collation", "column", "comment", "constraint", "domain", "extension"),
        *("function", "index", "large", "materialized", "object", "objects", "of", "on", "policy"),
        *("procedure", "publication", "rule", "schema", "sequence", "statistics", "table", "trigger"),
        *("type", "view"),
    )
)


_DRAWN = re.compile(r"(?<=_)[0-9a-f]{8,}(?=_)")


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        compared: revisions that plain Alembic could say something of.
        confirmed: findings that it confirms.
        denied: findings that it does not, each with its revision.
        missed: what it shows and no finding says.
    """

    compared: int
    confirmed: int
    denied: tuple[str, ...]
    missed: tuple[str, ...]


def named(subject: str) -> frozenset[str]:
    """Return the identifiers that say which object a finding is about."""
    found: set[str] = set()
    for name in _NAME.findall(subject):
        parts = re.findall(_IDENTIFIER, name)
        if parts[0] in _KINDS and len(parts) == 1:
            continue
        found |= set(parts[1:] or parts)
    return frozenset(found)


def is_about(subject: str, difference: str) -> bool:
    """Whether a difference between two dumps has every identifier of ``subject`` in it.

    A part of a name that a revision has drawn by lot counts as the same.
    """
    names = {_DRAWN.sub("*", name.strip('"')) for name in named(subject)}
    text = _DRAWN.sub("*", difference)
    return bool(names) and all(re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) for name in names)


def compare(
    proofs: Sequence[RevisionProof], opinions: Mapping[str, Opinion], blocking: Mapping[str, str | None]
) -> Comparison:
    """Compare; ``blocking`` says of revisions that block themselves what one upgrade in one go failed of."""
    confirmed, denied, missed = 0, [], []
    for proof in proofs:
        opinion = opinions.get(proof.revision)
        if opinion is None:
            denied += [f"{proof.revision}: not reached: {one.message}" for one in proof.findings]
            continue
        for finding in proof.findings:
            if _holds(finding, opinion, blocking.get(proof.revision)):
                confirmed += 1
            else:
                denied.append(f"{proof.revision}: {finding.kind.value}: {finding.message.splitlines()[0]}")
        missed += [f"{proof.revision}: {text}" for text in _missed(proof, opinion)]
    return Comparison(len(opinions), confirmed, tuple(denied), tuple(missed))


def _holds(finding: Finding, opinion: Opinion, blocking: str | None) -> bool:
    if finding.kind is FindingKind.BLOCKS_ITSELF:
        return blocking is not None and "lock timeout" in blocking
    if finding.kind in MOVES:
        return MOVES[finding.kind] in opinion.failures
    again = finding.kind is FindingKind.DIFFERENT_AGAIN
    differences = opinion.second_time if again else opinion.after_downgrade
    return any(is_about(finding.subject, one) for one in differences)


def _missed(proof: RevisionProof, opinion: Opinion) -> Iterator[str]:
    kinds = {finding.kind for finding in proof.findings}
    for kind, move in MOVES.items():
        if move in opinion.failures and kind not in kinds:
            yield f"{kind.value}: {opinion.failures[move].splitlines()[0]}"
    again = [one for one in proof.findings if one.kind is FindingKind.DIFFERENT_AGAIN]
    others = [one for one in proof.findings if one.kind is not FindingKind.DIFFERENT_AGAIN]
    for differences, findings in ((opinion.after_downgrade, others), (opinion.second_time, again)):
        for one in sorted(differences):
            if not any(is_about(finding.subject, one) for finding in findings):
                yield one
