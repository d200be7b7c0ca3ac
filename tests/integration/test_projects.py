"""What the migration test says of each project in tests/projects: exactly what its expected.json has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lockkeeper.config import Policies
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import CheckState
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.proving import Baseline, MigrationTestReport, ProofState, SampleData, run_migration_test
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
            proof.revision: [f"{one.kind.value}: {one.subject}" for one in proof.findings]
            for proof in report.proofs
            if proof.findings
        },
        "checks": [
            f"{check.state.value}: {check.message}"
            for check in report.checks
            if check.state is not CheckState.OK
        ],
    }


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.parent.name)
def test_exactly_what_is_wrong_with_a_project_is_reported(
    file: Path, project: MakeProject, server: EmbeddedPostgres
) -> None:
    expected = json.loads(file.read_text(encoding="utf-8"))
    settings = project(file.parent.name, **expected.pop("settings", {}))
    data = beside(settings.config_file)
    schema = baseline_beside(settings.config_file)
    report = run_migration_test(
        settings,
        server.url(),
        sample_data=SampleData(data) if data else None,
        baseline=Baseline(schema) if schema else None,
        policies=Policies(**expected.pop("policies", {})),
    )
    assert told(report) == expected
    assert list_leftovers(server.url(), "migration_test") == []


def test_every_kind_of_project_that_users_have_is_among_them() -> None:
    wanted = {"sync_template", "async_asyncpg", "several_heads", "depends_on_and_merge", "branch_labels"}
    wanted |= {"version_locations", "version_table_elsewhere", "names_and_schemas", "types_and_columns"}
    wanted |= {"partitions", "rights_and_views", "large_objects", "data_migration", "autocommit_block"}
    wanted |= {"irreversible", "lossy_downgrade", "residue", "models_differ", "baseline"}
    assert wanted <= {file.parent.name for file in EXPECTED}
