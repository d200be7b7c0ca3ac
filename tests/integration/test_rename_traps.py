"""What has gone wrong elsewhere when two columns were kept in step, each as a test that it does not here."""

from __future__ import annotations

import io
import threading
import time
from typing import Any

import psycopg2
import pytest
from ops_project import connect, query
from sqlalchemy.engine import URL

from lockkeeper.errors import BackfillError, DatabaseError, PlanRefusedError, RenameError
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename

TABLE = """
CREATE TABLE items (id bigint PRIMARY KEY, a text, other int);
INSERT INTO items SELECT n, 'v' || n, n FROM generate_series(1, 200) AS n;
"""
CHANGE = ColumnChange("items", "a", "b")


def both(url: URL, row: int) -> tuple[Any, ...]:
    return query(url, f"SELECT a, b FROM items WHERE id = {row}")[0]


@pytest.fixture
def rename(database: URL) -> ColumnRename:
    """A table in the middle of its backfill: no row that was there before is filled."""
    query(database, TABLE)
    rename = ColumnRename(database, CHANGE)
    rename.expand()
    return rename


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("INSERT INTO items (id, a) VALUES (1000, 'x')", ("x", "x")),
        ("INSERT INTO items (id, b) VALUES (1000, 'x')", ("x", "x")),
        ("INSERT INTO items (id, a, b) VALUES (1000, 'x', 'x')", ("x", "x")),
        ("INSERT INTO items (id) VALUES (1000)", (None, None)),
        ("UPDATE items SET other = 1 WHERE id = 1", ("v1", "v1")),
        ("UPDATE items SET a = 'x' WHERE id = 1", ("x", "x")),
        ("UPDATE items SET b = 'x' WHERE id = 1", ("x", "x")),
        ("UPDATE items SET a = 'x', b = 'x' WHERE id = 1", ("x", "x")),
        ("UPDATE items SET a = NULL WHERE id = 1", (None, None)),
        ("UPDATE items SET a = a WHERE id = 1", ("v1", "v1")),
        ("UPDATE items SET b = b WHERE id = 1", ("v1", "v1")),
        ("UPDATE items SET a = 'x'; UPDATE items SET b = NULL WHERE id = 1", (None, None)),
        ("UPDATE items SET b = 'x'; UPDATE items SET other = 1 WHERE id = 1", ("x", "x")),
        ("INSERT INTO items (id, a) VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET b = 'x'", ("x", "x")),
        (
            "INSERT INTO items (id, b) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a",
            ("x", "x"),
        ),
        ("SET session_replication_role = replica; UPDATE items SET a = 'x' WHERE id = 1", ("x", "x")),
        ("SET search_path = pg_temp; UPDATE public.items SET b = 'x' WHERE id = 1", ("x", "x")),
    ],
)  # fmt: skip
def test_a_write_through_either_name_on_a_row_not_yet_filled(
    rename: ColumnRename, statement: str, wanted: tuple[Any, ...]
) -> None:
    query(rename.url, statement)
    row = 1000 if "1000" in statement else 1
    assert both(rename.url, row) == wanted
    rename.backfill()
    assert both(rename.url, row) == wanted
    assert rename.validate().parity.differing == 0


def test_copy_into_either_name_fills_both(rename: ColumnRename) -> None:
    connection = connect(rename.url)
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY items (id, a) FROM STDIN", io.StringIO("1001\tx\n"))
        cursor.copy_expert("COPY items (id, b) FROM STDIN", io.StringIO("1002\ty\n"))
    connection.close()
    assert (both(rename.url, 1001), both(rename.url, 1002)) == (("x", "x"), ("y", "y"))


@pytest.mark.parametrize(("conflict", "wanted"), [("new", ("y", "y")), ("old", ("x", "x"))])
def test_two_values_in_one_statement_follow_the_declared_policy(
    database: URL, conflict: Any, wanted: tuple[str, str]
) -> None:
    query(database, TABLE)
    ColumnRename(database, ColumnChange("items", "a", "b", conflict=conflict)).expand()
    query(database, "INSERT INTO items (id, a, b) VALUES (1000, 'x', 'y')")
    query(database, "UPDATE items SET a = 'x', b = 'y' WHERE id = 1")
    assert both(database, 1000) == both(database, 1) == wanted


def test_two_values_in_one_statement_are_refused_by_default(rename: ColumnRename) -> None:
    with pytest.raises(psycopg2.IntegrityError, match="two values"):
        query(rename.url, "UPDATE items SET a = 'x', b = 'y' WHERE id = 1")


@pytest.mark.parametrize(
    ("default", "statement", "wanted"),
    [
        ("'d'", "INSERT INTO items (id, a) VALUES (1000, 'x')", ("x", "x")),
        ("'d'", "INSERT INTO items (id, b) VALUES (1000, 'x')", ("x", "x")),
        ("'d'", "INSERT INTO items (id) VALUES (1000)", ("d", "d")),
        ("'d'", "INSERT INTO items (id, a) VALUES (1000, NULL)", (None, None)),
        ("'d'", "INSERT INTO items (id, b) VALUES (1000, NULL)", (None, None)),
        ("gen_random_uuid()::text", "INSERT INTO items (id, a) VALUES (1000, 'x')", ("x", "x")),
        ("gen_random_uuid()::text", "INSERT INTO items (id, b) VALUES (1000, 'x')", ("x", "x")),
    ],
)
def test_a_default_is_no_write_of_either_column(
    database: URL, default: str, statement: str, wanted: tuple[Any, ...]
) -> None:
    query(database, TABLE + f"ALTER TABLE items ALTER a SET DEFAULT {default}")
    rename = ColumnRename(database, CHANGE)
    rename.expand()
    query(database, statement)
    assert both(database, 1000) == wanted
    query(database, "INSERT INTO items (id) VALUES (1001)")
    assert len(set(both(database, 1001))) == 1
    assert both(database, 1001)[0] is not None


def test_after_the_contract_the_default_is_the_new_columns(database: URL) -> None:
    query(database, TABLE + "ALTER TABLE items ALTER a SET DEFAULT gen_random_uuid()::text")
    rename = ColumnRename(database, CHANGE)
    for step in (rename.expand, rename.backfill, rename.validate, rename.flip, rename.observe):
        step()
    rename.contract(without_scream_test=True)
    query(database, "INSERT INTO items (id) VALUES (1000)")
    assert query(database, "SELECT count(*) FROM items WHERE id = 1000 AND b = a_lockkeeper_old") == [(1,)]
    rename.drop(force=True)
    query(database, "INSERT INTO items (id) VALUES (1001)")
    assert query(database, "SELECT count(*) FROM items WHERE id = 1001 AND b IS NOT NULL") == [(1,)]


@pytest.mark.parametrize(
    ("type_", "before", "after"),
    [
        ("numeric", "1.0", "1.00"),
        ("jsonb", '{"a": 1.0}', '{"a": 1.00}'),
        ("json", "{}", "{ }"),
        ("float8", "0", "-0"),
    ],
)
def test_equal_values_that_look_different_are_carried_over_too(
    database: URL, type_: str, before: str, after: str
) -> None:
    query(
        database,
        f"CREATE TABLE items (id bigint PRIMARY KEY, a {type_}); INSERT INTO items VALUES (1, '{before}')",
    )
    rename = ColumnRename(database, CHANGE)
    rename.expand()
    rename.backfill()
    query(database, f"UPDATE items SET a = '{after}'")
    assert query(database, "SELECT a::text = b::text, b::text FROM items") == [(True, after)]


def test_an_expression_that_is_wrong_is_refused_and_nothing_touched(database: URL) -> None:
    query(database, TABLE)
    with pytest.raises(DatabaseError, match="no_such"):
        ColumnRename(database, ColumnChange("items", "a", "b", up="no_such(a)", down="b")).expand()
    assert query(database, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attnum > 3"
    assert query(database, columns) == [(0,)]
    assert ColumnRename(
        database, ColumnChange("items", "a", "b", up="upper(a)", down="b")
    ).expand().stage is (Stage.EXPANDED)
    query(database, "UPDATE items SET other = 1 WHERE id = 1")
    assert both(database, 1) == ("v1", "V1")


@pytest.mark.parametrize("type_", ["varchar(3)", "char(3)", "short"])
def test_a_cast_that_would_cut_values_off_is_refused_and_its_way_out_names_the_rows(
    database: URL, type_: str
) -> None:
    query(
        database,
        "CREATE DOMAIN short AS varchar(3); CREATE TABLE items (id bigint PRIMARY KEY, a varchar(5))",
    )
    query(database, "INSERT INTO items VALUES (1, 'abc'), (2, 'abcde')")
    with pytest.raises(PlanRefusedError, match=r"cuts off what is too long .* --up a --down b"):
        ColumnRename(database, ColumnChange("items", "a", "b", new_type=type_)).expand()
    assert query(database, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") == [(0,)]
    rename = ColumnRename(database, ColumnChange("items", "a", "b", new_type=type_, up="a", down="b"))
    rename.expand()
    with pytest.raises(BackfillError, match="id = 2"):
        rename.backfill()
    assert query(database, "SELECT a FROM items WHERE id = 2") == [("abcde",)]


def test_a_longer_type_is_no_cast_that_cuts_off(database: URL) -> None:
    query(
        database,
        "CREATE TABLE items (id bigint PRIMARY KEY, a varchar(5)); INSERT INTO items VALUES (1, 'abc')",
    )
    rename = ColumnRename(database, ColumnChange("items", "a", "b", new_type="varchar(6)"))
    rename.expand()
    assert rename.backfill().stage is Stage.BACKFILLED


def test_a_row_that_cannot_be_converted_is_named_the_others_are_filled_and_mending_it_is_enough(
    database: URL,
) -> None:
    query(database, TABLE + "UPDATE items SET a = id; UPDATE items SET a = 'no number' WHERE id = 77")
    rename = ColumnRename(database, ColumnChange("items", "a", "b", new_type="int"))
    rename.expand()
    with pytest.raises(BackfillError, match=r"id = 77.*22P02"):
        rename.backfill()
    assert rename.status().rows_parked == 1
    assert query(database, "SELECT count(*) FROM items WHERE b IS NULL") == [(1,)]
    query(database, "UPDATE items SET a = '77' WHERE id = 77")
    assert rename.backfill().stage is Stage.BACKFILLED
    assert rename.validate().parity.holds


def test_a_locked_row_holds_up_nobody_else_and_is_filled_when_it_is_free(rename: ColumnRename) -> None:
    holder = connect(rename.url)
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("SELECT FROM items WHERE id = 3 FOR UPDATE")

    def release_when_the_rest_is_filled() -> None:
        deadline = time.monotonic() + 60
        while rename.status().rows_copied < 199 and time.monotonic() < deadline:
            time.sleep(0.05)
        holder.rollback()

    thread = threading.Thread(target=release_when_the_rest_is_filled)
    thread.start()
    assert rename.backfill().stage is Stage.BACKFILLED
    thread.join()
    holder.close()
    assert both(rename.url, 3) == ("v3", "v3")


def test_what_is_lossy_both_ways_keeps_what_the_new_version_wrote(database: URL) -> None:
    query(database, TABLE)
    change = ColumnChange("items", "a", "b", up="upper(a)", down="lower(b)")
    rename = ColumnRename(database, change)
    rename.expand()
    rename.backfill()
    query(database, "UPDATE items SET b = 'MiXed' WHERE id = 1; UPDATE items SET other = 5 WHERE id = 1")
    assert both(database, 1) == ("mixed", "MiXed")
    assert rename.validate().parity.holds


@pytest.mark.parametrize(
    ("setup", "name"),
    [
        ("CREATE MATERIALIZED VIEW m AS SELECT a FROM items", "materialized view m"),
        ("ALTER TABLE items ADD g text GENERATED ALWAYS AS (a || '!') STORED", "g"),
        ("ALTER TABLE items ADD CONSTRAINT ex EXCLUDE USING btree (a WITH =)", "ex"),
        ("CREATE POLICY p ON items USING (a <> '')", "p"),
        ("ALTER TABLE items ADD b text", "b"),
        ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
         "CREATE TRIGGER theirs BEFORE UPDATE OF a ON items FOR EACH ROW EXECUTE FUNCTION f()", "theirs"),
        ("CREATE PUBLICATION pub FOR TABLE items (id, a)", "pub"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_refused_by_name_before_anything_is_touched(
    database: URL, setup: str, name: str
) -> None:
    query(database, TABLE + setup)
    rename = ColumnRename(database, CHANGE)
    with pytest.raises(PlanRefusedError, match=rf"\b{name}\b"):
        rename.expand()
    assert query(database, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzz%'") == [(0,)]


def test_a_disabled_trigger_makes_the_flip_impossible(rename: ColumnRename) -> None:
    rename.backfill()
    rename.validate()
    query(rename.url, "ALTER TABLE items DISABLE TRIGGER ALL")
    with pytest.raises(RenameError, match="missing or disabled"):
        rename.flip()


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE items (id bigint, a text, other int, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF items FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE p2 PARTITION OF items DEFAULT;",
        "CREATE TABLE items (id bigint, a text, other int); CREATE TABLE child () INHERITS (items);"
        "INSERT INTO child SELECT n, 'v' || n, n FROM generate_series(2001, 2100) AS n;",
        "CREATE TABLE items (id uuid DEFAULT gen_random_uuid(), n int, a text, other int,"
        " PRIMARY KEY (n, id));",
        "CREATE TABLE items (id text PRIMARY KEY, a text, other int);",
    ],
    ids=["partitioned", "inherited without key", "composite key", "text key"],
)
def test_tables_of_every_kind_go_the_whole_way(database: URL, tables: str) -> None:
    composite = "n int" in tables
    query(database, tables)
    column = "n" if composite else "id"
    query(database, f"INSERT INTO items ({column}, a) SELECT n, 'v' || n FROM generate_series(1, 500) AS n")
    rename = ColumnRename(database, CHANGE)
    rename.expand()
    query(database, f"UPDATE items SET b = 'new' WHERE {column}::text = '7'")
    rename.backfill(workers=2)
    assert query(database, "SELECT count(*) FROM items WHERE a IS DISTINCT FROM b") == [(0,)]
    for step in (rename.validate, rename.flip, rename.observe, lambda: rename.scream(0), rename.contract):
        step()
    rename.drop(force=True)
    assert query(database, f"SELECT b FROM items WHERE {column}::text = '7'") == [("new",)]
