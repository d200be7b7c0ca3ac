"""An abort in each stage: schema and data are those of a database in which nobody ever began the change.

A twin without the change gets the same writes, under the old name. What the two databases show afterwards
must be the same to the last row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from ops_project import query
from sqlalchemy.engine import URL

from lockkeeper.errors import BackfillStoppedError, LockTimeoutError
from lockkeeper.models import DataFingerprint, SchemaFingerprint
from lockkeeper.online.session import LockPolicy
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.rename import ColumnChange, Stage, switching
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
CREATE VIEW cheap AS SELECT id, description FROM products WHERE description <> 'x';
COMMENT ON COLUMN products.description IS 'what it is';
GRANT SELECT (description), UPDATE (description) ON products TO PUBLIC;
INSERT INTO products (description, stock) SELECT 'd' || n, n FROM generate_series(1, 1000) AS n;
ANALYZE products;
"""
CHANGE = ColumnChange("products", "description", "full_description")


def stay_planned(rename: ColumnRename) -> None:
    impatient = ColumnRename(rename.url, rename.change, lock_policy=LockPolicy(lock_timeout_ms=5, attempts=1))
    with connect(rename.url, "tests", autocommit=False) as reader:
        execute(reader, "SELECT count(*) FROM products")
        with pytest.raises(LockTimeoutError):
            impatient.expand()


def fill_a_part(rename: ColumnRename) -> None:
    rename.tune(batch_rows=100)
    stop = threading.Event()
    stop.set()
    with pytest.raises(BackfillStoppedError):
        rename.backfill(stop=stop)


def fill(rename: ColumnRename) -> None:
    rename.backfill()


def hide(rename: ColumnRename) -> None:
    """Leave the old column hidden, as a scream test does whose process was killed."""
    with rename._session() as session, rename._claimed(session, rename._entry(session), "") as claim:
        switching.hide(claim, 600)


def scream(rename: ColumnRename) -> None:
    rename.scream(0)


def contract(rename: ColumnRename) -> None:
    rename.contract()


WAYS: dict[Stage, tuple[Callable[[ColumnRename], object], ...]] = {
    Stage.PLANNED: (stay_planned,),
    Stage.EXPANDED: (ColumnRename.expand,),
    Stage.BACKFILLING: (ColumnRename.expand, fill_a_part),
    Stage.BACKFILLED: (ColumnRename.expand, fill),
    Stage.VALIDATED: (ColumnRename.expand, fill, ColumnRename.validate),
}
WAYS[Stage.FLIPPED] = (*WAYS[Stage.VALIDATED], ColumnRename.flip)
WAYS[Stage.OBSERVING] = (*WAYS[Stage.FLIPPED], ColumnRename.observe)
WAYS[Stage.SCREAMING] = (*WAYS[Stage.OBSERVING], hide)
WAYS[Stage.SCREAMED] = (*WAYS[Stage.OBSERVING], scream)
WAYS[Stage.CONTRACTED] = (*WAYS[Stage.SCREAMED], contract)
WITHOUT_OLD = (Stage.SCREAMING, Stage.CONTRACTED)
WITHOUT_NEW = (Stage.PLANNED,)


def write(url: URL, column: str, who: str, key: int) -> None:
    """What an application does that calls the column so."""
    query(url, f"INSERT INTO products ({column}, stock) VALUES ('inserted by {who}', 1)")
    query(url, f"UPDATE products SET {column} = 'updated by {who}' WHERE id IN ({key}, {key + 900})")
    query(url, f"UPDATE products SET {column} = 'both by {who}', stock = stock + 1 WHERE id = {key + 1}")
    query(url, f"DELETE FROM products WHERE id = {key + 2}")
    query(url, f"UPDATE products SET stock = stock + 1 WHERE id BETWEEN {key} AND {key + 9}")
    query(url, "INSERT INTO products (stock) VALUES (2)")


def looks(url: URL) -> tuple[SchemaFingerprint, DataFingerprint]:
    with connect(url, "tests") as connection:
        return schema_fingerprint(connection), data_fingerprint(url)


def differences(url: URL, twin: URL) -> list[str]:
    """How a database looks different from another; the ledger has a schema of its own."""
    (schema, data), (wanted_schema, wanted_data) = looks(url), looks(twin)
    found = compare_schemas(wanted_schema, schema) + compare_data(wanted_data, data)
    return [line for line in found if "lockkeeper" not in line]


@pytest.mark.parametrize("stage", [*WAYS], ids=str)
def test_after_an_abort_everything_is_as_if_nobody_had_begun(server, make_database, stage: Stage) -> None:
    url, twin = make_database(server), make_database(server)
    for each in (url, twin):
        query(each, SCHEMA)
    rename = ColumnRename(url, CHANGE)
    for number, step in enumerate(WAYS[stage]):
        step(rename)
        here = rename.status().stage
        if here not in WITHOUT_OLD:
            write(url, "description", f"old {number}", 20 * number)
            write(twin, "description", f"old {number}", 20 * number)
        if here not in WITHOUT_NEW:
            write(url, "full_description", f"new {number}", 20 * number + 10)
            write(twin, "description", f"new {number}", 20 * number + 10)
    assert rename.status().stage is stage
    if stage is Stage.CONTRACTED:
        rename.undo(by="ada")
    assert rename.abort(by="ada", reason="not this year").stage is Stage.ABORTED
    assert differences(url, twin) == []
    write(url, "description", "old again", 300)
    write(twin, "description", "old again", 300)
    assert differences(url, twin) == []
