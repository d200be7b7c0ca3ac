"""While a column's change goes on, autogenerate sees the models' schema, and drops what they drop."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from ops_project import Project, query
from sqlalchemy.engine import URL

from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename

LONG_INDEX = "ix_a_table_with_a_really_long_name_of_some_column_or_other"
LONG_COLUMN = "a_column_whose_name_is_really_quite_a_bit_too_long_for_it"
INDEXES = "SELECT indexname::text FROM pg_indexes WHERE tablename = 't' AND indexname <> 't_pkey' ORDER BY 1"


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    return Project(tmp_path, database)


def models(*columns: sa.Column | sa.Index | sa.ForeignKeyConstraint) -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    return metadata


def change_of(project: Project, column: str) -> ColumnRename:
    return ColumnRename(project.url, ColumnChange("t", column, column, new_type="BIGINT"))


def test_between_expand_and_contract_the_new_column_is_not_dropped(project: Project) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int); CREATE INDEX t_a ON t (a)")
    project.metadata = models(sa.Column("a", sa.Integer), sa.Index("t_a", "a"))
    project.revision("r1", "op.expand_rename_online('t', 'a', 'a', type_='bigint')")
    project.upgrade()
    project.check()


@pytest.mark.parametrize("column", ["qty", LONG_COLUMN])
def test_names_too_long_for_a_suffix_are_known_again(project: Project, column: str) -> None:
    query(project.url, f"CREATE TABLE t (id serial PRIMARY KEY, {column} int);"
          f"CREATE INDEX {LONG_INDEX} ON t ({column})")  # fmt: skip
    project.metadata = models(sa.Column(column, sa.Integer), sa.Index(LONG_INDEX, column))
    rename = change_of(project, column)
    for step in (rename.expand, rename.backfill, rename.validate):
        step()
    project.check()
    project.metadata = models(sa.Column(column, sa.BigInteger), sa.Index(LONG_INDEX, column))
    for step in (rename.flip, rename.observe, rename.contract):
        step()
    project.check()


KEYED = """
CREATE TABLE u (id int PRIMARY KEY);
CREATE TABLE t (id serial PRIMARY KEY, a int CONSTRAINT t_u REFERENCES u, b int);
CREATE INDEX t_ab ON t (a, b); CREATE INDEX t_low ON t (abs(a)); CREATE INDEX t_part ON t (b) WHERE a > 0;
INSERT INTO t (b) VALUES (1)
"""


@pytest.mark.parametrize("over", [False, True], ids=["in quarantine", "afterwards"])
def test_what_the_models_drop_meanwhile_is_dropped_and_its_downgrade_makes_it_again(
    project: Project, over: bool
) -> None:
    query(project.url, KEYED)
    other = sa.Table("u", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    columns = (sa.Column("a", sa.BigInteger), sa.Column("b", sa.Integer))
    low, part = (
        sa.Index("t_low", sa.text("abs(a)")),
        sa.Index("t_part", "b", postgresql_where=sa.text("a > 0")),
    )
    key = sa.ForeignKeyConstraint(["a"], ["u.id"], name="t_u")
    project.metadata = models(*columns, key, sa.Index("t_ab", "a", "b"), low, part)
    other.to_metadata(project.metadata)
    project.autogenerate("type")
    project.upgrade()
    project.check()
    before = project.current()
    project.metadata = models(*(column._copy() for column in columns))
    other.to_metadata(project.metadata)
    (script,) = project.autogenerate("drop")
    upgrade, downgrade = script.split("def downgrade")
    assert upgrade.count("op.drop_index_online(") == 6
    assert upgrade.count("op.drop_constraint_online(") == 2
    assert "lockkeeper_" not in downgrade
    if over:
        change_of(project, "a").drop(force=True)
    project.upgrade()
    project.check()
    assert query(project.url, INDEXES) == []
    assert before is not None
    project.downgrade(before)
    assert query(project.url, INDEXES) == [("t_ab",), ("t_low",), ("t_part",)]
    if not over:
        change_of(project, "a").drop(force=True)
    assert query(project.url, INDEXES) == [("t_ab",), ("t_low",), ("t_part",)]
    keys = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'"
    )
    assert query(project.url, keys) == [("FOREIGN KEY (a) REFERENCES u(id)",)]


def test_of_another_table_the_same_name_is_another_thing(project: Project) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int CONSTRAINT to_t REFERENCES t);"
          "CREATE TABLE u (id serial PRIMARY KEY, a int)")  # fmt: skip
    change = change_of(project, "a")
    for step in (change.expand, change.backfill, change.validate, change.flip, change.observe):
        step()
    change.contract()
    project.metadata = models(sa.Column("a", sa.BigInteger))
    columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer)
    sa.Table("u", project.metadata, *columns, sa.ForeignKeyConstraint(["a"], ["t.id"], name="to_t"))
    (script,) = project.autogenerate("the key moves")
    upgrade, downgrade = script.split("def downgrade")
    assert "op.add_foreign_key_online('to_t', 'u'" in upgrade
    assert "op.drop_constraint_online('to_t', 'u'" in downgrade
    project.upgrade()
    project.check()
