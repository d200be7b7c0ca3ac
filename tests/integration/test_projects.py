"""What the migration test says of each project in tests/projects: exactly what its expected.json has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.errors import LockkeeperError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import CheckState
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.proving import (
    Baseline,
    Finding,
    MigrationTestReport,
    ProofState,
    SampleData,
    run_migration_test,
)
from lockkeeper.proving.sample_data import baseline_beside, beside
from tests.integration.conftest import PROJECTS, MakeProject

EXPECTED = sorted(PROJECTS.glob("*/expected.json"))


def told(report: MigrationTestReport) -> dict[str, Any]:
    """The report as a project's expected.json has it: what passed is left out."""
    return {
        "exit_code": report.exit_code,
        "revisions": len(report.proofs),
        "states": {
            proof.revision: proof.state.value
            for proof in report.proofs
            if proof.state is not ProofState.PASSED
        },
        "findings": {
            proof.revision: [f"{one.kind.value}: {one.subject}{counted(one)}" for one in proof.findings]
            for proof in report.proofs
            if proof.findings
        },
        "checks": [
            f"{check.state.value}: {check.message}"
            for check in report.checks
            if check.state is not CheckState.OK
        ],
    }


def counted(finding: Finding) -> str:
    """How many rows it is about, and which."""
    if finding.rows is None:
        return ""
    return f" ({', '.join([f'{finding.rows} rows', *finding.keys])})"


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.parent.name)
def test_exactly_what_is_wrong_with_a_project_is_reported(
    file: Path, project: MakeProject, server: EmbeddedPostgres
) -> None:
    expected = json.loads(file.read_text(encoding="utf-8"))
    settings = project(file.parent.name, **expected.pop("settings", {}))
    for name, text in expected.pop("files", {}).items():
        text = text.format(url=server.url().render_as_string(hide_password=False))
        (settings.config_file.parent / name).write_text(text)
    policies = Policies(**expected.pop("policies", {}))
    if "refused" in expected:
        with pytest.raises(LockkeeperError, match=expected["refused"]):
            proven(settings, server, policies)
    else:
        assert told(proven(settings, server, policies)) == expected
    assert list_leftovers(server.url(), "migration_test") == []


def proven(settings: AlembicSettings, server: EmbeddedPostgres, policies: Policies) -> MigrationTestReport:
    data = beside(settings.config_file)
    schema = baseline_beside(settings.config_file)
    return run_migration_test(
        settings,
        server.url(),
        sample_data=SampleData(data) if data else None,
        baseline=Baseline(schema) if schema else None,
        policies=policies,
    )


def test_what_must_be_reported_is_written_down_for_every_project() -> None:
    assert {file.parent for file in EXPECTED} == {file.parent for file in PROJECTS.glob("*/alembic.ini")}


def test_every_kind_of_project_that_users_have_is_among_them() -> None:
    wanted = {"sync_template", "async_asyncpg", "several_heads", "depends_on_and_merge", "branch_labels"}
    wanted |= {"version_locations", "version_table_elsewhere", "names_and_schemas", "types_and_columns"}
    wanted |= {"partitions", "rights_and_views", "large_objects", "data_migration", "autocommit_block"}
    wanted |= {"irreversible", "lossy_downgrade", "residue", "models_differ", "baseline"}
    assert wanted <= {file.parent.name for file in EXPECTED}
