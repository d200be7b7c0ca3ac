"""Changes of a type as autogenerate writes them: exact both ways, refused before anything is half done."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from ops_project import Project, query
from sqlalchemy.engine import URL

from lockkeeper.errors import PlanRefusedError, StageRefusedError
from lockkeeper.ops import NotOnlineError
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename

COLUMNS = """
SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT LIKE '%lockkeeper%'
"""


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    return Project(tmp_path, database)


def models(*columns: sa.Column) -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    return metadata


def column(project: Project, name: str) -> tuple[str, bool]:
    return {row[0]: row[1:] for row in query(project.url, COLUMNS)}[name]


@pytest.mark.parametrize(
    ("second", "then"), [(sa.Numeric(20, 2), "numeric(20,2)"), (sa.Integer(), "integer")], ids=str
)
def test_a_second_change_before_the_first_is_over_is_refused_and_its_revision_not_recorded(
    project: Project, second: sa.types.TypeEngine, then: str
) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int)")
    project.metadata = models(sa.Column("a", sa.BigInteger))
    project.autogenerate("first")
    project.upgrade()
    recorded = project.current()
    project.metadata = models(sa.Column("a", second))
    project.autogenerate("second")
    with pytest.raises(PlanRefusedError, match=r"change \d+ of this column is not over \(contracted\)"):
        project.upgrade()
    assert project.current() == recorded
    assert column(project, "a") == ("bigint", False)
    ColumnRename(project.url, ColumnChange("t", "a", "a", new_type="bigint")).drop(force=True)
    project.upgrade()
    assert column(project, "a") == (then, False)


def test_the_way_back_of_a_change_that_is_over_is_refused_also_after_that_of_a_later_one(
    project: Project,
) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int)")
    project.metadata = models(sa.Column("a", sa.BigInteger))
    project.autogenerate("first")
    project.upgrade()
    first = project.current()
    assert first is not None
    ColumnRename(project.url, ColumnChange("t", "a", "a", new_type="bigint")).drop(force=True)
    project.metadata = models(sa.Column("a", sa.Numeric(20, 2)))
    project.autogenerate("second")
    project.upgrade()
    second = project.current()
    assert second is not None
    project.downgrade(first)
    project.stamp(second)
    project.downgrade(first)  # as after a crash before Alembic had recorded it
    assert column(project, "a") == ("bigint", False)
    with pytest.raises(StageRefusedError, match="dropped"):
        project.downgrade("base")
    assert project.current() == first


def test_the_same_change_goes_on_however_its_type_is_spelt(project: Project) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int)")
    ColumnRename(project.url, ColumnChange("t", "a", "a", new_type="numeric(20,2)")).expand()
    project.revision("r1", "op.expand_rename_online('t', 'a', 'a', type_='NUMERIC(20, 2)')")
    project.upgrade()
    project.revision("r2", "op.contract_rename_online('t', 'a', 'a')")
    project.upgrade()
    assert column(project, "a") == ("numeric(20,2)", False)


@pytest.mark.parametrize("way_back", ["abort_rename_online", "undo_contract_online"])
def test_a_way_back_that_names_another_type_than_the_change_that_goes_on_is_refused(
    project: Project, way_back: str
) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int)")
    project.revision(
        "r1",
        "op.expand_rename_online('t', 'a', 'a', type_='bigint')",
        f"op.{way_back}('t', 'a', 'a', type_='int8')",
    )
    project.upgrade()
    with pytest.raises(NotOnlineError, match="to bigint, not to int8"):
        project.downgrade("base")
    assert project.current() == "r1"


def test_an_aborted_change_does_not_stand_for_the_one_that_goes_on(project: Project) -> None:
    query(project.url, "CREATE TABLE t (id serial PRIMARY KEY, a int)")
    before = ColumnRename(project.url, ColumnChange("t", "a", "a", new_type="bigint"))
    before.expand()
    before.abort("tests", "begun anew with another type")
    project.revision(
        "r1",
        "op.expand_rename_online('t', 'a', 'a', type_='numeric')",
        "op.abort_rename_online('t', 'a', 'a', type_='bigint')",
    )
    project.upgrade()
    with pytest.raises(NotOnlineError, match="to numeric, not to bigint"):
        project.downgrade("base")


@pytest.mark.parametrize("required", [True, False])
def test_type_and_null_changed_in_one_revision_go_both_ways(project: Project, required: bool) -> None:
    query(
        project.url, f"CREATE TABLE t (id serial PRIMARY KEY, a int {'NOT NULL' if required else ''});"
        "INSERT INTO t (a) SELECT 1 FROM generate_series(1, 5)",
    )  # fmt: skip
    project.metadata = models(sa.Column("a", sa.BigInteger, nullable=required))
    project.autogenerate("both")
    project.upgrade()
    assert column(project, "a") == ("bigint", not required)
    project.check()
    project.downgrade("base")
    assert column(project, "a") == ("integer", required)


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b))",
        "CREATE TABLE t (a int NOT NULL, b int NOT NULL); CREATE INDEX t_ab ON t (a, b)",
    ],
    ids=["key", "index"],
)
def test_two_types_under_one_key_or_index_are_changed_together_or_not_at_all(
    project: Project, table: str
) -> None:
    query(project.url, f"{table}; INSERT INTO t VALUES (1, 1)")
    metadata = sa.MetaData()
    key = "PRIMARY" in table
    made = sa.Table(
        "t", metadata, *(sa.Column(name, sa.BigInteger, primary_key=key, nullable=False) for name in "ab")
    )
    if not key:
        sa.Index("t_ab", made.c.a, made.c.b)
    project.metadata = metadata
    (script,) = project.autogenerate("both")
    assert "_online(" not in script
    project.upgrade()
    assert (column(project, "a"), column(project, "b")) == (("bigint", True),) * 2
    project.check()
    project.downgrade("base")
    assert (column(project, "a"), column(project, "b")) == (("integer", True),) * 2


@pytest.mark.parametrize(
    ("models_type", "name"),
    [(sa.DateTime(timezone=True), "t"), (sa.String(collation="C"), "t"), (sa.Text(), "My.T")],
    ids=["time zone", "collation", "dot in the name"],
)
def test_what_two_columns_cannot_do_stays_alembics_and_runs(
    project: Project, models_type: sa.types.TypeEngine, name: str
) -> None:
    before = "timestamp" if isinstance(models_type, sa.DateTime) else "int"
    query(project.url, f'CREATE TABLE "{name}" (id serial PRIMARY KEY, a {before})')
    project.metadata = sa.MetaData()
    sa.Table(
        name, project.metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", models_type)
    )
    (script,) = project.autogenerate("change")
    assert "op.alter_column(" in script
    assert "_online(" not in script
    project.upgrade()
    project.check()


TEXTS = """
CREATE DOMAIN short AS varchar(3); CREATE DOMAIN shorter AS short;
CREATE TABLE t (
    id int PRIMARY KEY, many text[], one text, old_array varchar(3)[], old_char char(3), old_bit bit(3)
);
INSERT INTO t VALUES (1, '{abcdefgh}', 'abcdefgh', '{abc}', 'abc', B'101')
"""


@pytest.mark.parametrize(
    ("name", "type_"),
    [("many", "varchar(3)[]"), ("many", "short[]"), ("one", "shorter"), ("old_array", "varchar(8)")],
)
def test_a_cast_that_cuts_off_is_refused_in_arrays_and_domains_over_domains_too(
    database: URL, name: str, type_: str
) -> None:
    query(database, TEXTS)
    with pytest.raises(PlanRefusedError, match="cuts off what is too long"):
        ColumnRename(database, ColumnChange("t", name, name, new_type=type_)).expand()
    assert query(database, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("old_char", "varchar(10)"),
        ("old_bit", "varbit(8)"),
        ("old_array", "varchar(5)[]"),
        ("many", "text[]"),
    ],
)
def test_a_longer_type_of_the_same_kind_cuts_nothing_off(database: URL, name: str, type_: str) -> None:
    query(database, TEXTS)
    rename = ColumnRename(database, ColumnChange("t", name, name, new_type=type_))
    for step in (rename.expand, rename.backfill, rename.validate):
        step()
    assert query(database, f"SELECT {name}::text = {name}_lockkeeper_new::text FROM t") == [(True,)]
