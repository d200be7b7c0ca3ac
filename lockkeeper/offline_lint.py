"""The lint before anything runs: pending revisions by the SQL that Alembic's offline mode writes.

Executes no statement of theirs. What it says is a warning: the rehearsal, which measures, has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings
from lockkeeper.errors import LockkeeperError
from lockkeeper.lint import LintFinding, LintReport, Severity, read_context
from lockkeeper.lint.project import lint_plan
from lockkeeper.lint.renames import RULE as TOLD_BY_ANOTHER_CHECK
from lockkeeper.models import Check, MigrationPlan
from lockkeeper.postgres.connection import connect
from lockkeeper.risk import Linted, linted
from lockkeeper.verification import passed, warned

LINT = "lint"
"""What its checks are called."""
OFFLINE_TIMEOUT_S = 30.0
"""For all revisions together: the Python of one may compute for hours, or wait for another service."""
CONTEXT_TIMEOUT_MS = 10_000
"""The sizes of tables are asked for, which waits for whoever holds ACCESS EXCLUSIVE on one of them."""


@dataclass(frozen=True)
class Script:
    """Revision -> its SQL, as far as the offline mode can write it; None where nobody has tried that.

    ``failure`` is why there is none at all: then what a rehearsal really sends is all that can be read.
    """

    texts: Mapping[str, str] | None = None
    failure: str = ""


def read_project(
    settings: AlembicSettings, url: URL, destination: str, run_id: str
) -> tuple[MigrationPlan, Script]:
    """Return what would be applied and what that would send; one process does both, and reads only.

    Raises:
        AlembicProjectError: there is no plan; see ``plan_migration``.
        DatabaseError: the database cannot be read.
    """
    with AlembicSession(settings, url, run_id=run_id) as session:
        plan = session.plan(destination)
        try:
            return plan, Script(session.offline_sql(plan, timeout_s=OFFLINE_TIMEOUT_S) if plan.steps else {})
        except LockkeeperError as error:
            return plan, Script({}, failure=str(error))


def lint_offline(url: URL, plan: MigrationPlan, script: Script, run_id: str) -> Linted:
    """Lint the plan with what the database's catalogue knows; reads only, and never raises."""

    def judge() -> LintReport:
        with connect(url, "preflight", run_id=run_id, statement_timeout_ms=CONTEXT_TIMEOUT_MS) as connection:
            context, version = read_context(connection), connection.server_version
        return lint_plan(plan, script.texts or {}, context=context, server_version=version)

    return Linted(failure=script.failure) if script.failure else linted(judge)


def lint_checks(lint: Linted, rehearsal: str) -> list[Check]:
    """Return what was found, as warnings; by the policy ``rehearsal`` more will be known later, or not."""
    unread = "not linted" if rehearsal == "off" else "not linted before the rehearsal"
    if lint.report is None:
        return [warned(LINT, f"{unread}: {lint.failure or lint.missing}")]
    findings = [one for one in lint.report.findings if one.rule != TOLD_BY_ANOTHER_CHECK]
    allowed = [
        passed(LINT, f"{one.revision}: allowed, {one.allowed_because}: {one.rule}: {one.message}")
        for one in findings
        if one.allowed_because is not None
    ]
    dangers = [warned(LINT, _told(one, unread)) for one in findings if one.counts]
    clean = passed(LINT, f"no danger in {lint.report.statements} statements")
    return [*(dangers or [clean]), *allowed]


def _told(finding: LintFinding, unread: str) -> str:
    if finding.severity is Severity.UNKNOWN:
        return f"{finding.revision}: {unread}: {finding.message}"
    instead = f" Instead: {finding.advice}" if finding.advice else ""
    return f"{finding.revision}: {finding.rule}: {finding.message}{instead}"
