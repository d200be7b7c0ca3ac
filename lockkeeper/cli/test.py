"""``lockkeeper test``: every revision of a project, up, down and up again, on scratch databases."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.progress import showing_progress
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import ConfigurationError
from lockkeeper.redaction import redact

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from lockkeeper.config import Target
    from lockkeeper.proving import Baseline, MigrationTestReport, SampleData

_NO_DATABASE = "postgresql:///lockkeeper_test"
"""Stands for the target's database, which a test never connects to."""


@with_options
def prove_revisions(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    server_url_env: Annotated[
        str | None,
        typer.Option("--server-url-env", metavar="VAR", help="Server for scratch databases. Default: ours."),
    ] = None,
    server_version: Annotated[
        int, typer.Option("--server-version", metavar="MAJOR", help="Of our own scratch server.")
    ] = 16,
    sample_data: Annotated[
        Path | None,
        typer.Option("--sample-data", metavar="FILE", help="Default: sample_data.sql beside alembic.ini."),
    ] = None,
    sample_data_after: Annotated[
        str | None,
        typer.Option("--sample-data-after", metavar="REVISION", help="Default: the first where it fits."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="FILE", help="Schema before the first revision. Default: baseline.sql."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="REVISION", help="Go no further. Default: every head.")
    ] = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make rows up from each revision's schema, too.")
    ] = False,
    generated_rows: Annotated[
        int, typer.Option("--generated-rows", metavar="N", min=1, help="For each table and form of it.")
    ] = 8,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Other seeds make up other rows.")] = 1,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there, too.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report-file", metavar="FILE", help="Write Markdown there, too.")
    ] = None,
) -> Result:
    """Prove every revision up, down and up again; never touches the target's database.

    Names what a downgrade leaves or loses. Exit code 0 all proven or declared irreversible with a reason, 1
    findings, 2 something could not be checked.
    """
    session: Session = context.obj
    session.checking = True
    from lockkeeper.proving import GeneratedData, run_migration_test
    from lockkeeper.proving.reports import junit_report, markdown_report

    with _told_in(junit):
        chosen = _target(target, options)
        settings = chosen.require_alembic()
        data = _sample_data(sample_data, sample_data_after, settings.config_file)
        with showing_progress(session, f"testing {settings.config_file}") as progress:
            report = run_migration_test(
                settings,
                _server_url(server_url_env),
                sample_data=data,
                generated=GeneratedData(generated_rows, seed) if generate else None,
                baseline=_baseline(baseline, settings.config_file),
                to=to,
                policies=chosen.policies,
                major=server_version,
                announce=lambda text: progress.say("test", text),
            )
        _write(report_file, markdown_report(report))
        _write(junit, junit_report(report))
    return _result(report)


@contextlib.contextmanager
def _told_in(junit: Path | None) -> Iterator[None]:
    """Put whatever ends the test early into the JUnit file, too: a CI may read nothing else."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        from lockkeeper.proving.reports import junit_of_an_error

        _write(junit, junit_of_an_error(redact(str(error)) or "interrupted", type(error).__name__))
        raise


def _target(name: str | None, options: TargetOptions) -> Target:
    if options.definition():
        options = dataclasses.replace(
            options,
            storage=options.storage or ".",  # no backup is made, so none is asked for
            database_url=None if options.database_url_env else options.database_url or _NO_DATABASE,
        )
    return select_target(name, options)


def _sample_data(file: Path | None, after: str | None, config_file: Path) -> SampleData | None:
    from lockkeeper.proving.sample_data import SampleData, beside

    file = file or beside(config_file)
    if file is None and after is not None:
        raise ConfigurationError("--sample-data-after needs --sample-data FILE.")
    return None if file is None else SampleData(file, after)


def _baseline(file: Path | None, config_file: Path) -> Baseline | None:
    from lockkeeper.proving.sample_data import Baseline, baseline_beside

    file = file or baseline_beside(config_file)
    return None if file is None else Baseline(file)


def _server_url(variable: str | None) -> URL | None:
    from lockkeeper.config import parse_postgresql_url

    if variable is None:
        return None
    text = os.environ.get(variable)
    if not text:
        raise ConfigurationError(f"The environment variable {variable} (--server-url-env) is not set.")
    try:
        return parse_postgresql_url(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is {error}") from None


def _write(file: Path | None, text: str) -> None:
    if file is None:
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The report could not be written: {error}") from error


def _result(report: MigrationTestReport) -> Result:
    from lockkeeper.proving.reports import OUTCOMES, summary, terminal_report

    facts = {"tested": report.tested, "declared_irreversible": report.declared, "coverage": report.coverage}
    data = {**report.model_dump(mode="json"), **facts, "summary": summary(report)}
    if report.exit_code:
        data["error"] = summary(report)
    code = report.exit_code
    return Result(code, data, terminal_report(report), OUTCOMES[code])
