"""What Lockkeeper keeps in a database does not count as a difference that a migration has made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import ops

from lockkeeper.alembic_project.runner.differences import _derived, _without_quarantine
from lockkeeper.models import DataFingerprint, SchemaFingerprint, TableFingerprint
from lockkeeper.online import ddl
from lockkeeper.ops.quarantine import without_quarantine
from lockkeeper.postgres.own_objects import without_objects, without_own, without_own_tables

OF_TABLE = {"of": "table public.products"}
SCHEMA = SchemaFingerprint(
    objects={
        "schema": {"public": {}, "lockkeeper": {}},
        "table": {
            "public.products": {"of": "schema public"},
            "lockkeeper.ledger": {"of": "schema lockkeeper"},
        },
        "column": {"public.products.id": OF_TABLE, "lockkeeper.ledger.id": {"of": "table lockkeeper.ledger"}},
        "trigger": {"zzz_lockkeeper_2 on public.products": OF_TABLE, "audit on public.products": OF_TABLE},
    }
)


def test_lockkeepers_schema_goes_with_all_that_is_in_it_and_its_triggers() -> None:
    kept = {(kind, name) for kind, objects in without_own(SCHEMA).objects.items() for name in objects}
    assert kept == {
        ("schema", "public"),
        ("table", "public.products"),
        ("column", "public.products.id"),
        ("trigger", "audit on public.products"),
    }


def test_what_belongs_to_a_hidden_table_is_hidden_with_it() -> None:
    kept = without_objects(SCHEMA, {"table public.products"}).objects
    assert (list(kept["table"]), list(kept["column"])) == (["lockkeeper.ledger"], ["lockkeeper.ledger.id"])


def test_the_ledgers_rows_do_not_count_and_a_users_do() -> None:
    tables = {
        name: TableFingerprint(table=name, rows=1, digest="1")
        for name in ("lockkeeper.ledger", "public.lockkeeper")
    }
    data = DataFingerprint(tables=tables, sequences={"lockkeeper.ledger_id_seq": "1 t", "public.s": "1 t"})
    kept = without_own_tables(data)
    assert (list(kept.tables), list(kept.sequences)) == (["public.lockkeeper"], ["public.s"])


def column(name: str) -> tuple[object, ...]:
    return None, "products", sa.Column(name)


def index(name: str, *columns: str) -> sa.Index:
    return sa.Index(name, *map(sa.Column, columns))


def test_a_column_in_quarantine_and_what_is_on_it_are_no_difference_from_the_models() -> None:
    modified = [("modify_type", None, "products", "a", {}, "x", "y")]
    key = sa.ForeignKeyConstraint(["total_lockkeeper_old"], ["totals.id"])
    sa.Table("products", sa.MetaData(), sa.Column("total_lockkeeper_old"), key)
    told = [
        ("remove_column", *column("description")),
        ("add_column", *column("total_lockkeeper_old")),
        ("remove_index", index("products_other", "total")),
        ("remove_table", sa.Table("products_old", sa.MetaData(), sa.Column("total_lockkeeper_old"))),
        modified,
    ]
    of_the_change = [
        ("remove_column", *column("total_lockkeeper_old")),
        ("remove_index", index("products_total", "total_lockkeeper_old", "stock")),
        ("remove_fk", key),
        ("remove_index", index("products_total_lockkeeper_new", "total", "stock")),
        ("add_index", index("products_total", "total", "stock")),
    ]
    assert _without_quarantine([*of_the_change, *told]) == told


def on(table: str, *things: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(table, sa.MetaData(), *things)


def test_a_change_of_one_table_hides_nothing_that_another_lacks() -> None:
    (carried,) = on("t", sa.Column("a"), sa.Index("ix_lockkeeper_new", "a")).indexes
    (missing,) = on("u", sa.Column("a"), sa.Index("ix", "a")).indexes
    told = [("add_column", None, "u", sa.Column("status")), ("add_index", missing)]
    hidden = [("remove_column", None, "t", sa.Column("status_lockkeeper_new")), ("remove_index", carried)]
    assert _without_quarantine([*hidden, *told]) == told


def test_names_too_long_for_a_suffix_are_known_by_the_models_names() -> None:
    for name in ("x", "x" * 48, "x" * 49, "\u00e9" * 30, "x" * 63):
        assert _derived(name, "_lockkeeper_old") == ddl.derived_name(name, "lockkeeper_old")
    long = "a_column_whose_name_is_really_quite_a_bit_too_long_for_it"
    hidden = [("remove_column", None, "t", sa.Column(ddl.derived_name(long, "lockkeeper_old")))]
    assert _without_quarantine(hidden, on("t", sa.Column(long)).metadata) == []
    assert _without_quarantine(hidden, on("u", sa.Column(long)).metadata) == hidden


def test_an_index_that_the_models_dropped_meanwhile_is_told_under_both_names() -> None:
    left = [
        ("remove_index", index("ix", "a_lockkeeper_old")),
        ("remove_index", index("ix_lockkeeper_new", "a")),
    ]
    assert _without_quarantine(left) == left


def test_a_constraint_that_another_directive_drops_without_its_columns_stays() -> None:
    dropped = ops.DropConstraintOp("ck", "t", type_="check")
    assert without_quarantine([dropped]) == [dropped]


def test_an_index_that_is_missing_stays_a_difference() -> None:
    missing = [("add_index", index("products_total", "total"))]
    assert _without_quarantine(missing) == missing
