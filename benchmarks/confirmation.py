"""Holds the findings of ``lockkeeper test`` against what plain Alembic and pg_dump show, in both directions.

A finding is confirmed when the same move of the same revision fails, or when the two dumps differ in the very
object that it names. What the dumps differ in and no finding names has been missed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.plain_alembic import OneGoOpinion, Opinion
from lockkeeper.proving.models import Finding, FindingKind, RevisionProof

MOVES = {
    FindingKind.UPGRADE_FAILED: "up",
    FindingKind.DOWNGRADE_FAILED: "down",
    FindingKind.NOT_REPEATABLE: "again",
}
IN_ONE_GO = frozenset((FindingKind.BLOCKS_ITSELF, FindingKind.NOT_IN_ONE_GO))
LEFT = frozenset(
    (FindingKind.RESIDUE, FindingKind.NOT_RESTORED, FindingKind.DATA_LOST, FindingKind.DATA_CHANGED)
)
_LOCK_TIMEOUT = "lock timeout"
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


_OF_A_TABLE = r"(?:_\w+_seq)?"
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

    A part of a name that a revision has drawn by lot counts as the same, and a table's sequences are its own.
    """
    names = {_DRAWN.sub("*", name.strip('"')) for name in named(subject)}
    text = _DRAWN.sub("*", difference)
    own = _OF_A_TABLE if subject.startswith("table ") else ""
    return bool(names) and all(
        re.search(rf"(?<![\w$]){re.escape(name)}{own}(?![\w$])", text) for name in names
    )


def compare(
    proofs: Sequence[RevisionProof], opinions: Mapping[str, Opinion], in_one_go: OneGoOpinion
) -> Comparison:
    """Compare; revisions that ``opinions`` lacks were not reached."""
    confirmed, denied, missed = 0, [], []
    for proof in proofs:
        opinion = opinions.get(proof.revision)
        if opinion is None:
            denied += [f"{proof.revision}: not reached: {one.message}" for one in proof.findings]
            continue
        for finding in proof.findings:
            if _holds(finding, opinion, in_one_go, proof.revision):
                confirmed += 1
            else:
                denied.append(f"{proof.revision}: {finding.kind.value}: {finding.message.splitlines()[0]}")
        missed += [f"{proof.revision}: {text}" for text in _missed(proof, opinion)]
    missed += _missed_in_one_go(proofs, in_one_go)
    return Comparison(len(opinions), confirmed, tuple(denied), tuple(missed))


def _holds(finding: Finding, opinion: Opinion, in_one_go: OneGoOpinion, revision: str) -> bool:
    if finding.kind in IN_ONE_GO:
        return _is_same_failure(finding.message, in_one_go.failures.get(revision))
    if finding.kind in MOVES:
        return MOVES[finding.kind] in opinion.failures
    differences = opinion.after_downgrade
    if finding.kind is FindingKind.DIFFERENT_AGAIN:
        differences = opinion.second_time
    elif finding.kind is FindingKind.DIFFERENT_IN_ONE_GO:
        differences = in_one_go.differences
    return any(is_about(finding.subject, one) for one in differences)


def _is_same_failure(message: str, told: str | None) -> bool:
    """Whether both waited for a lock in vain, or failed of the same; ``told`` begins with a type."""
    if told is None or _LOCK_TIMEOUT in told:
        return told is not None and "waits for" in message
    _type, _, text = told.splitlines()[0].partition(": ")
    return text in message


def _missed_in_one_go(proofs: Sequence[RevisionProof], in_one_go: OneGoOpinion) -> Iterator[str]:
    if in_one_go.beyond is not None:
        yield f"fails in one go: {in_one_go.beyond.splitlines()[0]}"
    findings = [one for proof in proofs for one in proof.findings]
    found = [one.subject for one in findings if one.kind is FindingKind.DIFFERENT_IN_ONE_GO]
    masked = Counter(_DRAWN.sub("*", one) for one in in_one_go.differences)
    for one in sorted(in_one_go.differences):
        drawn = masked[_DRAWN.sub("*", one)] > 1  # on both sides, but for a part drawn by lot
        if not drawn and not any(is_about(subject, one) for subject in found):
            yield f"different in one go: {one}"


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
