"""A project's revisions, proven one by one on scratch databases before any of them is merged."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import LockkeeperError
from tasks.outcomes import tested_state, untested_state
from tasks.prove import prove_revisions


def _run_name() -> str:
    given = runtime.flow_run.parameters
    return str(given.get("target") or given.get("project"))


@flow(name="migration-test", flow_run_name=_run_name, persist_result=False)
def migration_test(
    target: TargetName | None = None,
    project: str | None = None,
    server_url_env: str | None = None,
    sample_data: str | None = None,
    generate: bool = False,
    baseline: str | None = None,
    to: str | None = None,
) -> State[Any]:
    """Apply every revision, revert it, compare schema and data with before, apply it again.

    Never touches the target's database. Ends as Failed with findings, and as *CouldNotCheck* where anything
    could not be tested.

    Args:
        target: Name of a Migration Target block, whose project is tested; or else project.
        project: Path of an alembic.ini (or its folder) on the worker.
        server_url_env: Environment variable of the worker with the URL of a server for scratch databases;
            default is an embedded one.
        sample_data: SQL file on the worker; default is sample_data.sql beside the alembic.ini.
        generate: Make rows up from each revision's schema, too.
        baseline: SQL file on the worker with the schema that the first revision finds; default is
            baseline.sql beside the alembic.ini.
        to: Revision to stop at; default is every head.
    """
    try:
        report = prove_revisions(target, project, server_url_env, sample_data, generate, baseline, to)
    except LockkeeperError as error:
        return untested_state(error)
    return tested_state(report)
