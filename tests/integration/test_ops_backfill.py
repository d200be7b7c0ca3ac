"""`backfill_online` goes by any key or by pages, and names the row that it cannot fill."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_project import Project, query
from ops_tables import TABLES
from sqlalchemy.engine import URL

from lockkeeper.ops import InvalidDataError


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


def test_a_backfill_that_never_ends_is_stopped(project: Project) -> None:
    project.revision("a1", 'op.backfill_online("users", {"email": "email"}, "id <= 5", batch_rows=2)')
    with pytest.raises(InvalidDataError, match="15 rows written"):
        project.upgrade()


def test_a_backfill_of_a_table_without_a_key_goes_by_pages(project: Project) -> None:
    query(project.url, "CREATE TABLE loose AS SELECT n, NULL::int AS v FROM generate_series(1, 3000) AS n")
    project.revision("a1", 'op.backfill_online("loose", {"v": "n"}, "v IS NULL")')
    project.upgrade()
    assert query(project.url, "SELECT count(*), count(*) FILTER (WHERE v = n) FROM loose") == [(3000, 3000)]


def test_a_backfill_names_the_row_that_fails(project: Project) -> None:
    query(project.url, "ALTER TABLE users ADD v int")
    project.revision("a1", 'op.backfill_online("users", {"v": "100 / (id - 7)"}, "v IS NULL")')
    with pytest.raises(InvalidDataError, match="row with id = 7: division by zero"):
        project.upgrade()


def test_backfill_goes_by_any_key(project: Project) -> None:
    query(
        project.url,
        """CREATE TABLE pairs (a text COLLATE "C", b timestamptz, v int, UNIQUE (b, a));
        ALTER TABLE pairs ALTER a SET NOT NULL, ALTER b SET NOT NULL;
        INSERT INTO pairs SELECT E'it''s \\\\ ' || n, now() + n * interval '1.000001 s'
        FROM generate_series(1, 100) AS n""",
    )
    project.revision("a1", 'op.backfill_online("pairs", {"v": sa.literal(3) + 4}, "v IS NULL", batch_rows=7)')
    project.upgrade()
    assert query(project.url, "SELECT v, count(*) FROM pairs GROUP BY 1") == [(7, 100)]
