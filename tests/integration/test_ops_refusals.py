"""What online operations refuse, they leave as it was, and say why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ops_project import Project, query
from ops_tables import SCHEMA, TABLES
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.ops import DefinitionConflictError, InvalidDataError, NotOnlineError


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


@pytest.mark.parametrize(
    ("taken", "operation"),
    [
        ("CREATE INDEX i ON users (id)", 'op.create_index_online("i", "users", ["email"])'),
        ("CREATE INDEX i ON users (email)", 'op.create_index_online("i", "users", ["email"], unique=True)'),
        ("CREATE INDEX i ON groups (id)", 'op.create_index_online("i", "users", ["id"])'),
        ("CREATE VIEW i AS SELECT 1", 'op.create_index_online("i", "users", ["id"])'),
        (
            "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0)",
            'op.add_check_online("c", "users", "id > 1")',
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT c FOREIGN KEY (group_id) REFERENCES groups ON DELETE CASCADE",
            'op.add_foreign_key_online("c", "users", "groups", ["group_id"], ["id"])',
        ),
        (
            "ALTER TABLE users ADD status text",
            'op.add_column_online("users", sa.Column("status", sa.Integer))',
        ),
    ],
)
def test_something_else_under_the_name_is_refused(project: Project, taken: str, operation: str) -> None:
    query(project.url, taken)
    before = query(project.url, SCHEMA)
    project.revision("a1", operation)
    with pytest.raises(DefinitionConflictError, match="already there, and different"):
        project.upgrade()
    assert query(project.url, SCHEMA) == before


@pytest.mark.parametrize(
    ("spoil", "operation", "finds"),
    [
        ("UPDATE users SET email = 'user1' WHERE id < 3",
         'op.add_unique_online("u", "users", ["email"])', 1),
        ("UPDATE users SET group_id = 7 WHERE id < 3",
         'op.add_foreign_key_online("f", "users", "groups", ["group_id"], ["id"])', 2),
        ("UPDATE users SET group_id = 7 WHERE id < 3",
         'op.add_check_online("c", "users", "group_id < 7")', 2),
        ("UPDATE users SET group_id = NULL WHERE id < 3", 'op.set_not_null_online("users", "group_id")', 2),
    ],
)  # fmt: skip
def test_rows_that_contradict_leave_everything_as_it_was(
    tmp_path: Path, every_server: EmbeddedPostgres, make_database: Callable[..., URL],
    spoil: str, operation: str, finds: int,
) -> None:  # fmt: skip
    url = make_database(every_server)
    query(url, TABLES)
    query(url, spoil)
    before = query(url, SCHEMA)
    project = Project(tmp_path, url)
    project.revision("a1", operation)
    with pytest.raises(InvalidDataError) as caught:
        project.upgrade()
    assert query(url, SCHEMA) == before
    assert len(query(url, caught.value.query)) == finds


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ('op.add_column_online("users", sa.Column("c", sa.Text, nullable=False))', "server_default=..."),
        (
            'op.add_column_online("users", sa.Column("c", sa.Text, sa.Computed("email", persisted=True)))',
            "rewrite",
        ),
        ('op.add_column_online("users", sa.Column("c", sa.Integer, sa.ForeignKey("groups.id")))', "bare"),
        ('op.backfill_online("loose", {"a": "1"}, "a IS NULL")', "no primary key"),
    ],
)
def test_what_cannot_be_done_online_is_refused_with_the_way_out(
    project: Project, operation: str, message: str
) -> None:
    query(project.url, "CREATE TABLE loose (a int) PARTITION BY RANGE (a)")
    project.revision("a1", operation)
    with pytest.raises(NotOnlineError, match=message):
        project.upgrade()
