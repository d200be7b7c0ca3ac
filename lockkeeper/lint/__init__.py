"""Judges migrations by their SQL, before anything runs.

Guarantees: a statement is classified by PostgreSQL's own grammar, never by patterns; a finding names the lock
or the danger and the safe form with the user's own names in it; squawk, where it sees a danger that the rules
here neither raised nor cleared, is heard, too. Refuses to pass what it could not read: that is a finding of
severity ``could not check``. Executes nothing.
"""

from lockkeeper.lint.entry import lint_report, lint_sql
from lockkeeper.lint.models import (
    ColumnFacts,
    Exemption,
    IndexFacts,
    LintContext,
    LintFinding,
    LintReport,
    Severity,
    SqlStatement,
)
from lockkeeper.lint.project import lint_project, read_context

__all__ = [
    "ColumnFacts",
    "Exemption",
    "IndexFacts",
    "LintContext",
    "LintFinding",
    "LintReport",
    "Severity",
    "SqlStatement",
    "lint_project",
    "lint_report",
    "lint_sql",
    "read_context",
]
