"""A rename as two revisions of the user's own project, and beside `lockkeeper rename` in one ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_project import Project, query
from sqlalchemy.engine import URL

from lockkeeper.ops import NotOnlineError
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename

TABLE = """
CREATE TABLE products (id bigint PRIMARY KEY, description text NOT NULL, stock int);
CREATE INDEX products_description ON products (description);
INSERT INTO products SELECT n, 'd' || n, n FROM generate_series(1, 500) AS n;
"""
NAMES = '"products", "description", "text"'


@pytest.fixture(params=["psycopg2", "psycopg", "asyncpg"])
def project(request: pytest.FixtureRequest, tmp_path: Path, database: URL) -> Project:
    query(database, TABLE)
    made = Project(tmp_path, database, driver=request.param)
    made.revision("a1", f"op.expand_rename_online({NAMES})", f"op.abort_rename_online({NAMES})")
    made.revision("a2", f"op.contract_rename_online({NAMES})", f"op.undo_contract_online({NAMES})")
    return made


def columns(url: URL) -> list[str]:
    found = query(
        url,
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'products'::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY 1",
    )
    return [name for (name,) in found]


def test_two_revisions_up_and_down_leave_the_schema_of_before(project: Project) -> None:
    with connect(project.url, "tests") as connection:
        before = schema_fingerprint(connection)
    project.upgrade("a1")
    assert columns(project.url) == ["description", "id", "stock", "text"]
    query(project.url, "UPDATE products SET text = 'written by new' WHERE id = 1")
    project.upgrade("a2")
    assert columns(project.url) == ["description_lockkeeper_old", "id", "stock", "text"]
    query(project.url, "UPDATE products SET text = 'after the contract' WHERE id = 2")
    project.downgrade("base")
    assert query(project.url, "SELECT description FROM products WHERE id < 4 ORDER BY id") == [
        ("written by new",), ("after the contract",), ("d3",),
    ]  # fmt: skip
    with connect(project.url, "tests") as connection:
        after = schema_fingerprint(connection)
    ours = ("lockkeeper", "alembic_version")
    left = [line for line in compare_schemas(before, after) if not any(name in line for name in ours)]
    assert left == []


def test_what_the_command_line_has_done_the_revisions_find_done_and_the_other_way_round(
    tmp_path: Path, database: URL
) -> None:
    query(database, TABLE)
    project = Project(tmp_path, database)
    project.revision("a1", f"op.expand_rename_online({NAMES})")
    project.revision("a2", f"op.contract_rename_online({NAMES})")
    rename = ColumnRename(database, ColumnChange("products", "description", "text"))
    rename.expand()
    project.upgrade("a1")
    assert rename.backfill().stage is Stage.VALIDATED
    for step in (rename.flip, rename.observe, lambda: rename.contract(without_scream_test=True)):
        step()
    rename.drop(force=True)
    project.upgrade("a2")
    project.stamp("base")
    project.upgrade("a2")
    assert columns(database) == ["id", "stock", "text"]


def test_a_change_of_type_goes_up_and_down_and_keeps_what_was_written_meanwhile(
    tmp_path: Path, database: URL
) -> None:
    query(database, TABLE)
    same = '"products", "stock", "stock"'
    project = Project(tmp_path, database)
    up = f'op.expand_rename_online({same}, type_="bigint")\nop.contract_rename_online({same})'
    project.revision("a1", up, f"op.undo_contract_online({same})\nop.abort_rename_online({same})")
    types = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attname = 'stock'"
    project.upgrade()
    assert query(database, types) == [("bigint",)]
    query(database, "UPDATE products SET stock = 77 WHERE id = 1")
    project.downgrade("base")
    assert query(database, types) == [("integer",)]
    assert query(database, "SELECT stock FROM products WHERE id < 3 ORDER BY id") == [(77,), (2,)]
    project.upgrade()
    query(database, "UPDATE products SET stock = 3000000000 WHERE id = 1")
    assert query(database, "SELECT stock FROM products WHERE id = 1") == [(3_000_000_000,)]


def test_a_rename_cannot_be_written_down_without_the_database(tmp_path: Path, database: URL) -> None:
    project = Project(tmp_path, database)
    for name in ("expand_rename", "contract_rename", "undo_contract", "abort_rename"):
        project.revision("a1", f"op.{name}_online({NAMES})")
        project.head = None
        with pytest.raises(NotOnlineError, match=f"{name}_online .* --sql|{name}_online(.|\n)*--sql"):
            project.sql()
