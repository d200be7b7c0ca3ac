"""A column's whole way to its new name, and back from each stage, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.errors import StageRefusedError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename

SCHEMA = """
CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    description text NOT NULL DEFAULT 'none' CONSTRAINT products_description_check CHECK (description <> ''),
    stock int
);
CREATE INDEX products_description ON products (lower(description));
CREATE UNIQUE INDEX products_key ON products (id, description) WHERE stock > 3;
CREATE STATISTICS products_stats ON description, stock FROM products;
CREATE VIEW cheap WITH (security_barrier = true) AS
    SELECT id, description FROM products WHERE description <> 'x';
COMMENT ON COLUMN products.description IS 'what it is';
GRANT SELECT (description), UPDATE (description) ON products TO PUBLIC;
INSERT INTO products (description, stock) SELECT 'd' || n, n FROM generate_series(1, 3000) AS n;
ANALYZE products;
"""
CHANGE = ColumnChange("products", "description", "full_description")


@pytest.fixture
def shop(every_server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    url = make_database(every_server)
    query(url, SCHEMA)
    return url


def schema_of(url: URL) -> Any:
    with connect(url, "tests") as connection:
        return schema_fingerprint(connection)


def differences(before: Any, after: Any) -> list[str]:
    """What is different, the ledger's own schema left out."""
    return [line for line in compare_schemas(before, after) if "lockkeeper" not in line]


STEPS: dict[Stage, Callable[[ColumnRename], Any]] = {
    Stage.EXPANDED: lambda rename: rename.expand(),
    Stage.BACKFILLED: lambda rename: rename.backfill(),
    Stage.VALIDATED: lambda rename: rename.validate(),
    Stage.FLIPPED: lambda rename: rename.flip(),
    Stage.OBSERVING: lambda rename: rename.observe(),
    Stage.SCREAMED: lambda rename: rename.scream(0),
}


def write_through_each_name(url: URL, old: bool = True, new: bool = True) -> None:
    if old:
        query(url, "INSERT INTO products (description, stock) VALUES ('by old', 1)")
        query(url, "UPDATE products SET description = 'by old' WHERE id = 11")
    if new:
        query(url, "INSERT INTO products (full_description, stock) VALUES ('by new', 1)")
        query(url, "UPDATE products SET full_description = 'by new' WHERE id = 12")
    query(url, "INSERT INTO products (stock) VALUES (1)")
    query(url, "UPDATE products SET stock = stock + 1 WHERE id < 20")


def test_the_whole_way_with_writers_of_both_names_in_each_stage(shop: URL) -> None:
    rename = ColumnRename(shop, CHANGE)
    before = schema_of(shop)
    for stage, step in STEPS.items():
        assert step(rename).stage is stage
        write_through_each_name(shop)
        assert query(
            shop, "SELECT count(*) FROM products WHERE id < 20 AND description <> full_description"
        ) == [(0,)]
    assert rename.contract().stage is Stage.CONTRACTED
    write_through_each_name(shop, old=False)
    assert query(shop, "SELECT description FROM cheap WHERE id = 12") == [("by new",)]
    assert rename.drop(force=True).stage is Stage.DROPPED
    inserted = "SELECT full_description, count(*) FROM products WHERE id > 3000 GROUP BY 1 ORDER BY 1"
    assert query(shop, inserted) == [
        ("by new", 7), ("by old", 6), ("none", 7),
    ]  # fmt: skip
    told = [line.replace("full_description", "description") for line in differences(before, schema_of(shop))]
    assert all("description" in line for line in told), told


def test_an_undo_after_the_contract_brings_the_schema_of_before_with_the_writes_since(shop: URL) -> None:
    rename, before = ColumnRename(shop, CHANGE), schema_of(shop)
    for step in STEPS.values():
        step(rename)
    rename.contract()
    write_through_each_name(shop, old=False)
    approved = rename.status().round
    undone = rename.undo(by="somebody")
    assert undone.stage is Stage.BACKFILLED
    assert undone.round != approved, "what was approved before the undo is not approved after it"
    write_through_each_name(shop)
    assert query(
        shop, "SELECT count(*) FROM products WHERE description IS DISTINCT FROM full_description"
    ) == [(0,)]
    rename.abort()
    assert differences(before, schema_of(shop)) == []


def test_nothing_is_flipped_without_a_proof_and_no_stage_is_skipped(database: URL) -> None:
    query(database, SCHEMA)
    rename = ColumnRename(database, CHANGE)
    rename.expand()
    for step in (rename.validate, rename.flip, rename.contract, rename.undo, lambda: rename.drop(force=True)):
        with pytest.raises(StageRefusedError, match="expanded"):
            step()
    assert rename.status().stage is Stage.EXPANDED
