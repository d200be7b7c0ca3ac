"""Online operations commit on their own: what that means for transactions around them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_project import Project, query
from ops_tables import TABLES
from sqlalchemy.engine import URL

from lockkeeper.ops import UncommittedWorkError


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


def test_ordinary_operations_come_after_online_ones_or_are_refused(project: Project) -> None:
    project.revision(
        "a1", 'op.execute("CREATE TABLE early (id int)")\nop.create_index_online("i", "users", ["email"])'
    )
    for per_migration in (True, False):
        project.per_migration = per_migration
        with pytest.raises(UncommittedWorkError, match="first in upgrade"):
            project.upgrade()
        assert query(project.url, "SELECT to_regclass('early'), to_regclass('i')") == [(None, None)]


def test_in_a_chained_transaction_earlier_revisions_are_committed_whole(project: Project) -> None:
    project.per_migration = False
    project.revision("a1", 'op.execute("CREATE TABLE early (id int)")')
    project.revision("a2", 'op.create_index_online("i", "users", ["email"])\nop.execute("SELECT 1/0")')
    with pytest.raises(Exception, match="division by zero"):
        project.upgrade()
    assert query(project.url, "SELECT to_regclass('early')::text, to_regclass('i')::text") == [("early", "i")]
    assert project.current() == "a1"
    project.revision("a3", 'op.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$")\n'
                     'op.create_index_online("j", "users", ["email"])')  # fmt: skip
    (project.folder / "versions" / "a2.py").write_text(
        (project.folder / "versions" / "a2.py").read_text().replace("1/0", "1")
    )
    with pytest.raises(UncommittedWorkError):
        project.upgrade()
    assert query(project.url, "SELECT to_regclass('j')") == [(None,)]


def test_a_transaction_that_alembic_did_not_begin_is_refused(project: Project) -> None:
    project.foreign_transaction = True
    project.revision("a1", 'op.create_index_online("i", "users", ["email"])')
    with pytest.raises(UncommittedWorkError, match="begun outside of Alembic"):
        project.upgrade()


def test_inside_the_users_own_autocommit_block(project: Project) -> None:
    project.revision(
        "a1", 'with op.get_context().autocommit_block():\n    op.create_index_online("i", "users", ["email"])'
    )
    project.upgrade()
    assert query(project.url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]
