"""The lint's view of a rehearsed plan: by Alembic's offline mode, else by what the revisions really sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import offline_sql
from lockkeeper.config import AlembicSettings
from lockkeeper.lint import LintContext, LintReport, SqlStatement
from lockkeeper.lint.project import lint_plan
from lockkeeper.models import MigrationPlan
from lockkeeper.redaction import redact
from lockkeeper.risk import Linted, linted

_PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|%%")


def lint_rehearsed(
    settings: AlembicSettings,
    url: URL,
    plan: MigrationPlan,
    context: LintContext,
    server_version: int,
    recorded: Mapping[str, Sequence[Mapping[str, Any]]] | None,
    offline: Mapping[str, str] | None = None,
) -> Linted:
    """Lint the plan; executes nothing, and never fails a rehearsal.

    Args:
        settings: the project.
        url: the database that it was rehearsed on.
        plan: what was rehearsed.
        context: what was known of that database before.
        server_version: its server's.
        recorded: revision -> the statements that it sent.
        offline: revision -> its SQL by Alembic's offline mode; None to have it written here.
    """
    statements = {revision: [_statement(one) for one in sent] for revision, sent in (recorded or {}).items()}

    def judge() -> LintReport:
        texts = offline_sql(settings, url, plan) if offline is None else offline
        return lint_plan(plan, texts, context=context, server_version=server_version, recorded=statements)

    return linted(judge)


def _statement(sent: Mapping[str, Any]) -> SqlStatement:
    """Return a statement as it was handed to the driver, with its placeholders as SQL would have them."""
    text = _PLACEHOLDER.sub(lambda found: "%" if found.group() == "%%" else "$1", str(sent["text"]))
    return SqlStatement(text=redact(text), in_transaction=bool(sent["in_transaction"]))
