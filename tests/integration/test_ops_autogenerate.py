"""Autogenerate with online_directives: what it writes runs, undoes itself, and leaves no difference."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from ops_project import Project, query
from sqlalchemy.engine import URL

TABLES = """
CREATE TABLE users (id bigserial PRIMARY KEY, email text, legacy text, note text NOT NULL);
CREATE INDEX users_legacy ON users (legacy);
CREATE TABLE bye (id int PRIMARY KEY, v int); CREATE INDEX bye_v ON bye (v);
INSERT INTO users (email, note) SELECT 'user' || n, '' FROM generate_series(1, 100) AS n
"""


def models(*, new_table: bool) -> sa.MetaData:
    metadata = sa.MetaData()
    group = [sa.ForeignKey("groups.id", name="users_group_fk")] if new_table else []
    sa.Table(
        "users", metadata,
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("status", sa.String(20), nullable=False, server_default="active", comment="how it's going"),
        sa.Column("group_id", sa.Integer, *group),
        sa.UniqueConstraint("email", name="users_email_key"),
        sa.Index("users_status", "status", postgresql_where=sa.text("status <> 'active'")),
        sa.Index("users_lower", sa.text("lower(email)"), postgresql_concurrently=True),
    )  # fmt: skip
    if new_table:
        columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Integer)]
        sa.Table("groups", metadata, *columns, sa.Index("groups_v", "v"))
    return metadata


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


SCHEMA = """
SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace = 'public'::regnamespace
AND c.relname <> 'alembic_version' AND c.relname <> 'alembic_version_pkc' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), ''
FROM pg_constraint WHERE conrelid > 16384 AND conname NOT LIKE 'alembic%'
ORDER BY 1, 2, 3
"""


def test_existing_tables_get_online_operations_first_and_others_stay_as_they_are(project: Project) -> None:
    before = query(project.url, SCHEMA)
    project.metadata = models(new_table=False)
    (script,) = project.autogenerate("change")
    upgrade, downgrade = script.split("def downgrade")
    for text in (
        "import lockkeeper.ops",
        "op.add_column_online('users', sa.Column('status', sa.String(length=20), server_default=",
        "op.create_index_online('users_status', 'users', ['status'], unique=False, postgresql_where=",
        "op.create_index_online('users_lower', 'users', [sa.",
        "op.add_unique_online('users_email_key', 'users', ['email'])",
        "op.set_not_null_online('users', 'email')",
        "op.drop_not_null_online('users', 'note')",
        "op.drop_index_online(",
        "op.drop_column_online('users', 'legacy')",
        "op.drop_index(",
    ):
        assert text in upgrade
    assert upgrade.rindex("_online(") < upgrade.index("op.drop_table('bye')")
    assert downgrade.rindex("_online(") < downgrade.index("op.create_table('bye'")
    project.upgrade()
    project.check()
    project.downgrade("base")
    assert query(project.url, SCHEMA) == before


def test_a_foreign_key_to_a_new_table_makes_two_revisions(project: Project) -> None:
    before = query(project.url, SCHEMA)
    project.metadata = models(new_table=True)
    first, second = project.autogenerate("change")
    assert "op.create_table('groups'" in first
    assert "op.create_index('groups_v'" in first
    assert "_online" not in first
    assert "op.add_foreign_key_online('users_group_fk', 'users', 'groups', ['group_id'], ['id'])" in second
    assert "create_table('groups'" not in second
    project.upgrade()
    project.check()
    project.downgrade("base")
    assert query(project.url, SCHEMA) == before


MEASURES = """
CREATE TABLE measures (
    id serial PRIMARY KEY, total int NOT NULL DEFAULT 7 CHECK (total > 0), code varchar(10),
    note varchar(10)
);
CREATE INDEX measures_total ON measures (total);
INSERT INTO measures (total, code) SELECT n, 'c' || n FROM generate_series(1, 100) AS n
"""


def measures() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "measures", metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("total", sa.Numeric(12, 2), nullable=False, server_default="7"),
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("note", sa.String(5)),
        sa.Index("measures_total", "total"),
    )  # fmt: skip
    return metadata


def of_measures(url: URL) -> list[tuple[str, ...]]:
    return [row for row in query(url, SCHEMA) if row[0] == "measures"]


def test_a_type_that_rewrites_is_changed_through_a_second_column_and_one_that_does_not_is_altered(
    tmp_path: Path, database: URL
) -> None:
    query(database, MEASURES)
    project = Project(tmp_path, database, metadata=measures())
    before = of_measures(database)
    (script,) = project.autogenerate("change")
    upgrade, downgrade = script.split("def downgrade")
    names = "'measures', 'total', 'total'"
    expand = f"op.expand_rename_online({names}, type_='NUMERIC(12, 2)')"
    assert upgrade.index(expand) < upgrade.index(f"op.contract_rename_online({names})")
    back = f"({names}, type_='NUMERIC(12, 2)')"
    assert downgrade.index(f"op.undo_contract_online{back}") < downgrade.index(
        f"op.abort_rename_online{back}"
    )
    assert "op.alter_column('measures', 'code'" in upgrade
    assert "op.alter_column('measures', 'note'" in upgrade, "a cast would cut off what is too long"
    assert "op.set_not_null_online('measures', 'code')" in upgrade
    project.upgrade()
    total = "SELECT data_type::text FROM information_schema.columns WHERE column_name = 'total'"
    assert query(database, total) == [("numeric",)]
    project.check()
    query(database, "INSERT INTO measures (total, code) VALUES (5, 'after')")
    project.downgrade("base")
    assert of_measures(database) == before
    assert query(database, "SELECT total FROM measures WHERE code = 'after'") == [(5,)]
