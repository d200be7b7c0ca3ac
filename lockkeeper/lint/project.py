"""Lints the pending revisions of an Alembic project, by the SQL of its offline mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import offline_sql, plan_migration
from lockkeeper.config import AlembicSettings
from lockkeeper.errors import ConfigurationError
from lockkeeper.lint.entry import lint_report
from lockkeeper.lint.models import LintContext, LintReport, SqlStatement
from lockkeeper.models import MigrationPlan
from lockkeeper.postgres.connection import Connection, connect, fetch_value, named_query

PACKAGE = "lockkeeper.lint"
OFFLINE_FAILED = "it asks the database while it runs, so Alembic's offline mode cannot write its SQL"


def read_context(connection: Connection) -> LintContext:
    """Return what the database knows: sizes, column types, validated checks, domains with constraints.

    Reads catalogues only.
    """
    return LintContext.model_validate(fetch_value(connection, named_query("lint_context", PACKAGE)))


def lint_project(
    settings: AlembicSettings,
    url: URL | None,
    plan: MigrationPlan | None = None,
    *,
    destination: str = "head",
    since: Sequence[str] | None = None,
    server_version: int | None = None,
    context: LintContext | None = None,
    recorded: Mapping[str, Sequence[SqlStatement]] | None = None,
) -> LintReport:
    """Lint the revisions of a plan, or those that lead to ``destination``.

    Args:
        settings: the project.
        url: the database; None for a scratch server (extra ``local``): all revisions, no known tables.
        plan: what is to be applied; None to ask.
        destination: where to go, without a plan.
        since: lint what comes after these revisions, instead of what the database lacks.
        server_version: lint for another version than the server's.
        context: what is known of the database, instead of reading it.
        recorded: statements as a rehearsal saw them, for revisions whose offline mode fails.

    Raises:
        ConfigurationError: a tool is not installed.
        AlembicProjectError: the project cannot be loaded.
        DatabaseError: the database cannot be read.
    """
    with _database(url) as database:
        if plan is None:
            plan = plan_migration(settings, database, destination, current=since)
        texts = offline_sql(settings, database, plan)
        with connect(database, "lint") as connection:
            context = context or (read_context(connection) if url is not None else LintContext())
            server_version = server_version or connection.server_version
    return lint_plan(plan, texts, context=context, server_version=server_version, recorded=recorded)


def lint_plan(
    plan: MigrationPlan,
    texts: Mapping[str, str],
    *,
    context: LintContext,
    server_version: int,
    recorded: Mapping[str, Sequence[SqlStatement]] | None = None,
) -> LintReport:
    """Lint the revisions of a plan by what they send; reads their files, for exemptions.

    Args:
        plan: what is to be applied.
        texts: revision -> its SQL, as ``offline_sql`` writes it.
        context: what is known of the database.
        server_version: of its server.
        recorded: statements as a rehearsal saw them, for revisions without a text.

    Raises:
        ConfigurationError: a tool is not installed.
        ProgramError: squawk failed.
    """
    context = context.model_copy(
        update={"sources": {**sources_of(plan), **context.sources}, "version_table": _version_table(plan)}
    )
    statements, unchecked = _statements(plan, texts, recorded or {})
    return lint_report(statements, server_version=server_version, context=context, unchecked=unchecked)


def _statements(
    plan: MigrationPlan, texts: Mapping[str, str], recorded: Mapping[str, Sequence[SqlStatement]]
) -> tuple[list[SqlStatement], dict[str, str]]:
    statements: list[SqlStatement] = []
    unchecked: dict[str, str] = {}
    for step in plan.steps:
        if step.id in texts:
            # The script says BEGIN and COMMIT itself, so it starts in autocommit.
            statements.append(SqlStatement(text=texts[step.id], revision=step.id, in_transaction=False))
        elif step.id in recorded:
            statements += [one.model_copy(update={"revision": step.id}) for one in recorded[step.id]]
        else:
            unchecked[step.id] = OFFLINE_FAILED
    return statements, unchecked


def sources_of(plan: MigrationPlan) -> dict[str, str]:
    """Return revision -> its Python source, where it can be read."""
    sources = {}
    for step in plan.steps:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            sources[step.id] = Path(step.path).read_text(encoding="utf-8")
    return sources


def _version_table(plan: MigrationPlan) -> str:
    return (plan.version_table or "alembic_version").split(".")[-1].strip('"')


@contextlib.contextmanager
def _database(url: URL | None) -> Iterator[URL]:
    if url is not None:
        yield url
        return
    try:
        from lockkeeper.local.postgres_server import scratch_postgres
    except ImportError as error:
        raise _without_database() from error
    with scratch_postgres("lint") as server:
        yield server.url()


def _without_database() -> ConfigurationError:
    return ConfigurationError(
        "Alembic plans against a database, and none is given. Give --database-url-env VAR, or install a "
        "scratch server: pip install 'lockkeeper[local]'"
    )
