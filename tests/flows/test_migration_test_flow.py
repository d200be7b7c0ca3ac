"""The migration test as a flow: only what is proven completes."""

from __future__ import annotations

from pathlib import Path

from flows.migration_test import migration_test
from tests.flows.observing import artifact_of

PROJECTS = Path(__file__).parents[1] / "projects"


def test_a_healthy_project_completes_and_its_report_is_published(api, server, monkeypatch) -> None:
    monkeypatch.setenv("SCRATCH", server.url().render_as_string(hide_password=False))
    path = str(PROJECTS / "sync_template" / "alembic.ini")
    state = migration_test(project=path, server_url_env="SCRATCH", return_state=True)
    assert state.is_completed()
    assert "2 of 2 revisions" in state.message
    assert "2 of 2 revisions" in artifact_of(api, state, "migration-test-report-sync-template")


def test_findings_and_what_could_not_be_checked_end_as_failed(api, server, monkeypatch) -> None:
    monkeypatch.setenv("SCRATCH", server.url().render_as_string(hide_password=False))
    path = str(PROJECTS / "irreversible")
    state = migration_test(project=path, server_url_env="SCRATCH", return_state=True)
    assert (state.is_failed(), state.name) == (True, "Findings")
    state = migration_test(project=path, server_url_env="NOT_SET", return_state=True)
    assert (state.is_failed(), state.name) == (True, "CouldNotCheck")
