"""Which changes of type autogenerate takes for harmless, and which it makes through a second column."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.dialects import postgresql as pg

from lockkeeper.online import ddl, types
from lockkeeper.ops.directives import _rewrites

HARMLESS = [
    (sa.String(10), sa.String(20)),
    (sa.String(10), sa.Text()),
    (sa.Text(), sa.String()),
    (sa.Numeric(8, 2), sa.Numeric(10, 2)),
    (pg.TIMESTAMP(precision=3), pg.TIMESTAMP()),
    (pg.BIT(3), pg.BIT(5, varying=True)),
    (pg.CIDR(), pg.INET()),
]
REWRITING = [
    (sa.Integer(), sa.BigInteger()),
    (sa.Numeric(10, 2), sa.Numeric(10, 3)),
    (sa.Date(), sa.DateTime()),
    (sa.Text(), pg.JSONB()),
    (sa.String(10), pg.ARRAY(sa.Text())),
    (sa.Integer(), sa.Enum("a", "b", name="Mood", schema="shop")),
]
OF_THE_SESSION = [
    (sa.DateTime(), sa.DateTime(timezone=True)),
    (sa.Date(), sa.DateTime(timezone=True)),
    (sa.Time(), sa.Time(timezone=True)),
    (sa.DateTime(timezone=True), sa.Time(timezone=True)),
    (sa.DateTime(timezone=True), sa.Text()),
    (sa.Text(), sa.Date()),
    (pg.INTERVAL(), sa.Text()),
    (sa.Numeric(10, 2), pg.MONEY()),
]
CUTTING_OFF = [
    (sa.String(20), sa.String(10)),
    (sa.Text(), sa.String(10)),
    (sa.Integer(), sa.CHAR(3)),
    (sa.Text(), pg.BIT(3)),
    (pg.ARRAY(sa.Text()), pg.ARRAY(sa.String(3))),
]


def change(old: sa.types.TypeEngine, new: sa.types.TypeEngine, **kw: str) -> ops.AlterColumnOp:
    return ops.AlterColumnOp("t", "c", existing_type=old, modify_type=new, **kw)


@pytest.mark.parametrize(("old", "new"), HARMLESS, ids=str)
def test_what_only_the_catalogue_notices_stays_alembics(old, new) -> None:
    assert types.keeps_rows(types.of_sqlalchemy(ddl.type_sql(old)), types.of_sqlalchemy(ddl.type_sql(new)))
    assert not _rewrites(change(old, new), back=False)
    assert not _rewrites(change(new, old), back=True), "its downgrade, too"


@pytest.mark.parametrize(("old", "new"), REWRITING, ids=str)
def test_what_rewrites_the_table_or_may_is_made_through_a_second_column(old, new) -> None:
    assert _rewrites(change(old, new), back=False)
    assert _rewrites(change(new, old), back=True)


@pytest.mark.parametrize(("old", "new"), CUTTING_OFF, ids=str)
def test_what_a_cast_would_cut_off_is_left_to_alter_type_which_fails(old, new) -> None:
    assert not _rewrites(change(old, new), back=False)


@pytest.mark.parametrize(("old", "new"), OF_THE_SESSION, ids=str)
def test_what_each_writers_session_casts_in_its_own_way_is_left_to_one_alter_type(old, new) -> None:
    assert not _rewrites(change(old, new), back=False)
    assert not _rewrites(change(new, old), back=False)
    assert not _rewrites(change(old, new), back=True)


def test_what_the_operations_cannot_name_stays_alembics() -> None:
    assert not _rewrites(change(sa.Integer(), sa.String(collation="C")), back=False)
    assert not _rewrites(change(sa.String(collation="C"), sa.Integer()), back=True)
    dotted = ops.AlterColumnOp("My.T", "c", existing_type=sa.Integer(), modify_type=sa.BigInteger())
    assert not _rewrites(dotted, back=False)


def test_a_conversion_of_the_users_own_and_a_type_that_has_no_sql_stay_alembics() -> None:
    assert not _rewrites(change(sa.Text(), sa.Integer(), postgresql_using="length(c)"), back=False)
    assert not _rewrites(change(sa.Integer(), sa.types.NullType()), back=False)
    assert not _rewrites(ops.AlterColumnOp("t", "c", modify_nullable=False), back=False)
