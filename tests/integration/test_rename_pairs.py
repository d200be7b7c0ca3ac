"""Two renames of one table: at the same time, of other columns, and one after the other, of the same one."""

from __future__ import annotations

import threading

import pytest
from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.errors import PlanRefusedError, RefusedError
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename

TABLE = """
CREATE TABLE items (id bigint PRIMARY KEY, title text NOT NULL, price int CHECK (price >= 0));
CREATE UNIQUE INDEX items_title ON items (title);
CREATE INDEX items_price ON items (price) WHERE price > 3;
CREATE VIEW shown AS SELECT id, title, price FROM items;
INSERT INTO items SELECT n, 't' || n, n FROM generate_series(1, 600) AS n;
"""
TITLE, PRICE = ColumnChange("items", "title", "name"), ColumnChange("items", "price", "cents")
DEADLINE_S = 60.0


def at_once(*renames: ColumnRename) -> None:
    """Fill several at the same time, each by its own worker."""
    failed: list[BaseException] = []

    def fill(rename: ColumnRename) -> None:
        try:
            rename.backfill()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=fill, args=(rename,)) for rename in renames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert failed == []


def through(rename: ColumnRename) -> None:
    for step in (rename.validate, rename.flip, rename.observe):
        step()


def whole(url: URL, change: ColumnChange) -> ColumnRename:
    rename = ColumnRename(url, change)
    for step in (rename.expand, rename.backfill):
        step()
    through(rename)
    rename.contract(without_scream_test=True)
    return rename


@pytest.fixture
def shop(database: URL) -> URL:
    query(database, TABLE)
    return database


def test_two_columns_of_one_table_are_renamed_at_once_and_each_goes_its_own_way(shop: URL) -> None:
    title, price = ColumnRename(shop, TITLE), ColumnRename(shop, PRICE)
    title.expand()
    price.expand()
    query(shop, "INSERT INTO items (id, title, price) VALUES (1001, 'old both', 1)")
    query(shop, "INSERT INTO items (id, name, cents) VALUES (1002, 'new both', 2)")
    query(shop, "INSERT INTO items (id, title, cents) VALUES (1003, 'mixed', 3)")
    query(shop, "UPDATE items SET name = 'early', price = 77 WHERE id = 5")
    at_once(title, price)
    for rename in (title, price):
        rename.tune(batch_rows=50)
        through(rename)
    query(shop, "UPDATE items SET title = 'late', cents = 78 WHERE id = 6")
    title.contract(without_scream_test=True)
    query(shop, "INSERT INTO items (id, name, price) VALUES (1004, 'one of each', 4)")
    assert price.abort().stage is Stage.ABORTED
    assert title.drop(force=True).stage is Stage.DROPPED
    rows = "SELECT id, name, price FROM items WHERE id IN (5, 6, 7) OR id > 1000 ORDER BY id"
    assert query(shop, rows) == [
        (5, "early", 77), (6, "late", 78), (7, "t7", 7),
        (1001, "old both", 1), (1002, "new both", 2), (1003, "mixed", 3), (1004, "one of each", 4),
    ]  # fmt: skip
    assert query(shop, "SELECT count(*) FROM items") == [(604,)]
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'items'::regclass AND attnum > 0"
    assert sorted(query(shop, columns + " AND NOT attisdropped")) == [("id",), ("name",), ("price",)]
    indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'items'::regclass ORDER BY 1"
    assert query(shop, indexes) == [("items_name",), ("items_pkey",), ("items_price",)]
    assert query(shop, "SELECT title, price FROM shown WHERE id = 5") == [("early", 77)]
    assert query(shop, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'items'::regclass") == [(0,)]


def test_both_of_two_are_aborted_and_nothing_is_left_of_them(shop: URL) -> None:
    with connect(shop, "tests") as connection:
        before = schema_fingerprint(connection)
    title, price = ColumnRename(shop, TITLE), ColumnRename(shop, PRICE)
    title.expand()
    price.expand()
    at_once(price, title)
    through(title)
    through(price)
    title.abort()
    price.abort()
    with connect(shop, "tests") as connection:
        found = compare_schemas(before, schema_fingerprint(connection))
    assert [line for line in found if "lockkeeper" not in line] == []


def test_a_column_is_renamed_again_and_back_once_the_former_rename_is_over(shop: URL) -> None:
    whole(shop, TITLE).drop(force=True)
    whole(shop, ColumnChange("items", "name", "caption")).drop(force=True)
    query(shop, "UPDATE items SET caption = 'third name' WHERE id = 1")
    whole(shop, ColumnChange("items", "caption", "title")).drop(force=True)
    query(shop, "INSERT INTO items (id, title, price) VALUES (1001, 'as at first', 1)")
    assert query(shop, "SELECT title FROM items WHERE id IN (1, 2, 1001) ORDER BY id") == [
        ("third name",), ("t2",), ("as at first",),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "shared",
    [
        "CREATE INDEX shared ON items (title, price)",
        "ALTER TABLE items ADD CONSTRAINT shared CHECK (length(title) > 0 OR price > 0)",
        "CREATE STATISTICS shared ON title, price FROM items",
    ],
)
def test_what_is_on_both_columns_lets_them_be_renamed_only_one_after_the_other(
    shop: URL, shared: str
) -> None:
    query(shop, shared)
    title, price = ColumnRename(shop, TITLE), ColumnRename(shop, PRICE)
    title.expand()
    with pytest.raises(PlanRefusedError, match=r"shared.* is on the columns of items.title -> name"):
        price.expand()
    title.abort()
    assert price.expand().stage is Stage.EXPANDED


def test_a_second_rename_of_a_column_that_is_being_renamed_is_refused_by_name(shop: URL) -> None:
    ColumnRename(shop, TITLE).expand()
    with pytest.raises(RefusedError, match="title -> name"):
        ColumnRename(shop, ColumnChange("items", "title", "caption")).expand()
    with pytest.raises(PlanRefusedError, match=r"name belongs to items.title -> name"):
        ColumnRename(shop, ColumnChange("items", "name", "caption")).expand()
