"""Every revision of a project, up, down and up again; its story as an artifact."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings, Policies, parse_postgresql_url
from lockkeeper.errors import ConfigurationError
from lockkeeper.proving import Baseline, GeneratedData, MigrationTestReport, SampleData, run_migration_test
from lockkeeper.proving.reports import markdown_report, summary
from lockkeeper.proving.sample_data import baseline_beside, beside
from tasks.blocks import load_target
from tasks.logs import keep_secrets_out_of_logs, run_logger
from tasks.policies import once


@once(name="prove-revisions")
def prove_revisions(
    target: str | None,
    project: str | None,
    server_url_env: str | None,
    sample_data: str | None,
    generate: bool = False,
    baseline: str | None = None,
    to: str | None = None,
) -> MigrationTestReport:
    """Prove a target's project, or the one at a path of the worker; publishes the report.

    Raises:
        LockkeeperError: nothing could be tested; the message says why.
    """
    keep_secrets_out_of_logs()
    settings, policies = _project(target, project)
    file = Path(sample_data) if sample_data else beside(settings.config_file)
    schema = Path(baseline) if baseline else baseline_beside(settings.config_file)
    log = run_logger(get_run_logger())
    report = run_migration_test(
        settings,
        _server(server_url_env),
        sample_data=SampleData(file) if file else None,
        generated=GeneratedData() if generate else None,
        baseline=Baseline(schema) if schema else None,
        to=to,
        policies=policies,
        announce=lambda text: log.info("%s", text),
    )
    key = re.sub(r"[^a-z0-9]+", "-", (target or settings.folder.resolve().name).lower()).strip("-")
    _publish(report, f"migration-test-report-{key}")
    return report


def _publish(report: MigrationTestReport, key: str) -> None:
    try:
        create_markdown_artifact(markdown_report(report), key=key, description=summary(report))
    except Exception as error:
        get_run_logger().warning("The report could not be published: %s", error)


def _project(target: str | None, project: str | None) -> tuple[AlembicSettings, Policies]:
    if (target is None) == (project is None):
        raise ConfigurationError(
            "Name a target, or the path of a project's alembic.ini: exactly one of them."
        )
    if target is not None:
        chosen = load_target(target)
        return chosen.require_alembic(), chosen.policies
    path = Path(str(project))
    return AlembicSettings(config_file=path / "alembic.ini" if path.is_dir() else path), Policies()


def _server(variable: str | None) -> URL | None:
    """Return the URL in an environment variable of the worker; None for an embedded server."""
    if variable is None:
        return None
    text = os.environ.get(variable)
    if not text:
        raise ConfigurationError(f"The worker has no environment variable {variable}.")
    try:
        return parse_postgresql_url(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is {error}") from None
