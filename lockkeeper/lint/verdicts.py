"""What a rule says of a statement, and where rules register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lockkeeper.lint.known import Known
from lockkeeper.lint.models import Severity, SqlStatement
from lockkeeper.lint.names import Name
from lockkeeper.lint.parsing import Node, Parsed

AUTOCOMMIT = "with op.get_context().autocommit_block(): ..."
"""How a revision leaves its transaction."""


@dataclass(frozen=True)
class Verdict:
    """A danger, or, with ``cleared``, why the danger that the rule is about does not exist here."""

    rule: str
    message: str = ""
    advice: str = ""
    severity: Severity = Severity.ERROR
    cleared: str | None = None
    source: str = "lockkeeper"


@dataclass
class Scene:
    """One statement in its place; ``began_by_text``: its transaction began with BEGIN in the text."""

    parsed: Parsed
    statement: SqlStatement
    in_transaction: bool
    known: Known
    began_by_text: bool = False
    verdicts: list[Verdict] = field(default_factory=list)

    def unless_harmless(self, table: Name, verdict: Verdict) -> Verdict:
        """Return the verdict, cleared when the table is new or tiny."""
        reason = self.known.harmless_because(table)
        return verdict if reason is None else cleared(verdict.rule, reason)

    def unless_new(self, table: Name, verdict: Verdict) -> Verdict:
        """Return the verdict, cleared when the same revision made the table (nobody uses it yet)."""
        if self.known.is_new(table):
            return cleared(verdict.rule, f"{table} is made by the same revision")
        return verdict


Rule = Callable[[Node, Scene], Iterator[Verdict]]
RULES: dict[str, list[Rule]] = {}
EVERY = "*"
"""Stands for all kinds of statements."""


def judges(*kinds: str) -> Callable[[Rule], Rule]:
    """Register a rule for kinds of statements (libpg_query's names, e.g. ``index_stmt``)."""

    def register(rule: Rule) -> Rule:
        for kind in kinds:
            RULES.setdefault(kind, []).append(rule)
        return rule

    return register


def warning(rule: str, message: str, advice: str = "") -> Verdict:
    """Return a verdict that does not make the migration dangerous."""
    return Verdict(rule, message, advice, Severity.WARNING)


def cleared(rule: str, because: str) -> Verdict:
    """Return a verdict that says: considered, and harmless."""
    return Verdict(rule, cleared=because)


def steps(*lines: str) -> str:
    """Return advice of several statements, one a line."""
    return "\n".join(line for line in lines if line)
