"""What a migration's questions to a human are called, and what they say."""

from __future__ import annotations

from lockkeeper.models import RunReport
from lockkeeper.risk_report import risk_markdown

KEYS = "approve-"
"""How the keys of a migration's questions begin; the rest is the id of the run that asks."""


def question_key(report: RunReport) -> str:
    """Return the key of the question that a run has ended with."""
    return KEYS + report.run_id


def run_that_asked(key: str) -> str:
    """Return the id of the run that a key belongs to."""
    return key.removeprefix(KEYS)


def question(report: RunReport) -> str:
    """Return the facts, in Markdown, that stand above the form."""
    return risk_markdown(report)
