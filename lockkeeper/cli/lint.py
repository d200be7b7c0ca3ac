"""``lockkeeper lint``: what pending revisions would do to the running application, by their SQL alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.selection import refuse_ambiguous_name, select_target
from lockkeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lockkeeper.lint import LintFinding, LintReport

DEFAULT_MAJOR = 16
_OUTCOMES = {0: "clean", 1: "findings", 2: "could not check"}
_STYLES = {"error": "red", "warning": "yellow", "could not check": "magenta"}
_NO_DATABASE = "postgresql:///lockkeeper_lint"
"""Stands for the database where none is needed; nothing connects to it."""


@with_options
def lint(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REVISION", help="Lint up to here. Default: heads.")
    ] = None,
    since: Annotated[
        list[str] | None,
        typer.Option("--since", metavar="REVISION", help="Lint what comes after it, not what is pending."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Lint all revisions, from the first.")] = False,
    sql: Annotated[
        list[Path] | None, typer.Option("--sql", metavar="FILE", help="Lint SQL files; no project needed.")
    ] = None,
    in_transaction: Annotated[
        bool, typer.Option("--in-transaction", help="The SQL files run inside a transaction.")
    ] = False,
    server_version: Annotated[
        int | None,
        typer.Option("--server-version", metavar="MAJOR", help="Default: the server's; for files 16."),
    ] = None,
) -> Result:
    """Find migrations that would block or break the running application.

    Reads the SQL of Alembic's offline mode and executes none of it. With --alembic alone a scratch server
    stands in for the database. Exit code 0 clean, 1 findings, 2 could not check.
    """
    session: Session = context.obj
    session.checking = True
    if sql:
        return _result(_of_files(sql, in_transaction, server_version))
    refuse_ambiguous_name(target, None, options)
    return _result(_of_project(target, options, revision or "heads", since, everything, server_version))


def _of_files(files: list[Path], in_transaction: bool, server_version: int | None) -> LintReport:
    from lockkeeper.lint import SqlStatement, lint_report

    statements = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}") from error
        statements.append(SqlStatement(text=text, revision=str(file), in_transaction=in_transaction))
    return lint_report(statements, server_version=server_version or DEFAULT_MAJOR)


def _of_project(
    target: str | None,
    options: TargetOptions,
    revision: str,
    since: list[str] | None,
    everything: bool,
    server_version: int | None,
) -> LintReport:
    from lockkeeper.lint import lint_project

    has_database = options.database_url is not None or options.database_url_env is not None
    described = bool(options.definition())
    if described:
        options = dataclasses.replace(
            options,
            storage=options.storage or ".",  # no backup is made, so none is asked for
            database_url=options.database_url or (None if has_database else _NO_DATABASE),
        )
    chosen = select_target(target, options)
    return lint_project(
        chosen.require_alembic(),
        chosen.url if has_database or not described else None,
        destination=revision,
        since=() if everything else since,
        server_version=server_version,
    )


def _result(report: LintReport) -> Result:
    from rich.console import Group
    from rich.text import Text

    counts = {
        "errors": sum(one.counts and one.severity.value == "error" for one in report.findings),
        "warnings": sum(one.severity.value == "warning" for one in report.findings),
        "unknown": sum(one.counts and one.severity.value == "could not check" for one in report.findings),
        "allowed": sum(one.allowed_because is not None for one in report.findings),
    }
    parts: list[RenderableType] = [_shown(one) for one in report.findings]
    summary = (
        f"{report.statements} statements: {counts['errors']} errors, {counts['warnings']} warnings, "
        f"{counts['allowed']} allowed, {counts['unknown']} could not be checked."
    )
    parts.append(Text(summary, style="red" if report.exit_code else "green"))
    data = {**report.model_dump(mode="json"), **counts}
    if report.exit_code:
        data["error"] = summary
    return Result(report.exit_code, data, Group(*parts), _OUTCOMES[report.exit_code])


def _shown(finding: LintFinding) -> RenderableType:
    from rich.text import Text

    from lockkeeper.reports import plain

    text = Text()
    allowed = finding.allowed_because
    label = "allowed" if allowed is not None else finding.severity.value
    text.append(label, style="dim" if allowed is not None else _STYLES[finding.severity.value])
    text.append(plain(f" {finding.revision or ''} {finding.rule}\n".replace("  ", " ")))
    if finding.statement:
        text.append(plain(f"  {finding.statement}\n"), style="bold")
    text.append(plain(f"  {finding.message}\n"))
    if allowed is not None:
        text.append(plain(f"  because {allowed}\n"), style="dim")
    else:
        text.append(plain("".join(f"    {line}\n" for line in finding.advice.splitlines())), style="cyan")
    return text
