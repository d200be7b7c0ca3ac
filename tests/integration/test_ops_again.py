"""Killed anywhere, or run again: online operations end the same, and build nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_project import Project, query
from ops_tables import ALL, SCHEMA, TABLES
from sqlalchemy.engine import URL


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


def test_killed_before_any_statement_the_next_run_ends_the_same(project: Project) -> None:
    project.revision("a1", ALL)
    project.upgrade()
    complete = query(project.url, SCHEMA)
    kills = 0
    while True:
        query(project.url, "DROP TABLE users, groups, alembic_version CASCADE;" + TABLES)
        if not project.upgrade_killed_at(kills + 1):
            break
        kills += 1
        project.upgrade()
        assert query(project.url, SCHEMA) == complete, f"killed before changing statement {kills}"
        assert query(project.url, "SELECT count(*) FROM users WHERE handle IS NULL OR token IS NULL") == [
            (0,)
        ]
    assert kills > 20


def test_run_again_after_a_later_failure_nothing_is_built_twice(project: Project) -> None:
    project.revision("a1", ALL)
    project.upgrade()
    built = query(project.url, "SELECT oid FROM pg_class WHERE relname LIKE 'users%' ORDER BY oid")
    project.stamp("base")
    project.upgrade()
    assert query(project.url, "SELECT oid FROM pg_class WHERE relname LIKE 'users%' ORDER BY oid") == built


def test_an_invalid_leftover_is_built_again(project: Project) -> None:
    query(project.url, "CREATE INDEX i ON users (email)")
    query(project.url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass")
    project.revision("a1", 'op.create_index_online("i", "users", ["email", "id"])')
    project.upgrade()
    rows = query(project.url, "SELECT indisvalid, indnatts FROM pg_index WHERE indexrelid = 'i'::regclass")
    assert rows == [(True, 2)]
