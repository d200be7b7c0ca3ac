"""A copy cut down to a sample: bounded, with every reference met; what was measured on it is scaled."""

from __future__ import annotations

import pytest

from lockkeeper.errors import DatabaseError
from lockkeeper.measured import LockHold, RevisionCost, RowHold
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.proving.sampling import Sample, sample_rows

SCHEMA = """
CREATE TABLE countries (code char(2) PRIMARY KEY);
INSERT INTO countries SELECT chr(65 + n / 26) || chr(65 + n % 26) FROM generate_series(0, 499) AS n;
CREATE TABLE "Users" (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, boss int REFERENCES "Users",
    "in" char(2) REFERENCES countries, name text, shout text GENERATED ALWAYS AS (upper(name)) STORED
);
INSERT INTO "Users" (boss, "in", name)
    SELECT CASE WHEN n > 1 THEN n / 2 END, (SELECT code FROM countries OFFSET n % 500 LIMIT 1), 'n' || n
    FROM generate_series(1, 2000) AS n;
CREATE TABLE orders (id int, day date, user_id int NOT NULL REFERENCES "Users", PRIMARY KEY (id, day))
    PARTITION BY RANGE (day);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO orders SELECT n, '2026-01-01'::date + n % 59, 1 + n % 2000 FROM generate_series(1, 6000) AS n;
CREATE TABLE ring_a (id int PRIMARY KEY, b int);
CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a);
INSERT INTO ring_a SELECT n, n FROM generate_series(1, 300) AS n;
INSERT INTO ring_b SELECT n, n FROM generate_series(1, 300) AS n;
ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b;
CREATE TABLE few (id serial PRIMARY KEY); INSERT INTO few DEFAULT VALUES;
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trigger has fired'; END $$;
CREATE TRIGGER never BEFORE INSERT OR TRUNCATE ON few EXECUTE FUNCTION never();
CREATE MATERIALIZED VIEW busy AS SELECT user_id, count(*) FROM orders GROUP BY 1;
"""


@pytest.fixture
def copy(server, make_database):
    def make():
        url = make_database(server)
        with connect(url, "tests") as connection:
            execute(connection, SCHEMA)
        return url

    return make


def schema_of(url):
    with connect(url, "tests") as connection:
        return schema_fingerprint(connection)


def test_a_sample_is_bounded_and_every_row_in_it_has_its_parents(copy) -> None:
    url = copy()
    schema = schema_of(url)
    sample = sample_rows(url, 100)
    assert compare_schemas(schema, schema_of(url)) == []
    assert sample.before['public."Users"'] == 2000
    assert 50 <= sample.after["public.orders"] <= 100
    # At most a user for each order, and the bosses above them; a country for each user.
    assert sample.after['public."Users"'] <= 1500
    assert sample.after["public.few"] == 1
    with connect(url, "tests") as connection:
        keys = fetch_all(
            connection,
            "SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint "
            "WHERE contype = 'f' AND conparentid = 0",
        )
        assert len(keys) == 5
        for table, key in keys:  # a check from the beginning: nothing is taken on trust
            definition = fetch_value(
                connection,
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE quote_ident(conname) = %s "
                "AND conrelid = %s::regclass",
                (key, table),
            )
            execute(connection, f"ALTER TABLE {table} DROP CONSTRAINT {key}")
            execute(connection, f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}")
        assert fetch_value(connection, "SELECT sum(count) FROM busy") == sample.after["public.orders"]
        assert fetch_value(connection, 'SELECT count(*) FROM "Users" WHERE shout <> upper(name)') == 0
        assert fetch_value(connection, "SELECT nextval(pg_get_serial_sequence('\"Users\"', 'id'))") == 2001


def test_the_same_copy_gives_the_same_sample(copy) -> None:
    first, second = copy(), copy()
    assert sample_rows(first, 100) == sample_rows(second, 100)
    assert compare_data(data_fingerprint(first), data_fingerprint(second)) == []


def test_a_role_that_may_not_leaves_the_copy_whole(copy) -> None:
    url = copy()
    before = data_fingerprint(url)
    name = f"plain_{url.database}"
    with connect(url, "tests") as connection:
        execute(connection, f"CREATE ROLE {name} LOGIN PASSWORD 'canary-plain'")
    try:
        with pytest.raises(DatabaseError, match="permission denied"):
            sample_rows(url.set(username=name, password="canary-plain"), 100)
    finally:
        with connect(url, "tests") as connection:
            execute(connection, f"DROP ROLE {name}")
    assert compare_data(before, data_fingerprint(url)) == []


def test_a_sample_of_small_tables_is_whole_and_changes_nothing(copy) -> None:
    url = copy()
    before = data_fingerprint(url)
    assert sample_rows(url, 1_000_000).is_whole
    assert compare_data(before, data_fingerprint(url)) == []
    assert not sample_rows(url, 1999).is_whole


def test_what_went_over_rows_is_scaled_and_what_did_not_is_not() -> None:
    sample = Sample({"public.t": 1_000_000, "public.u": 10}, {"public.t": 10_000, "public.u": 10})
    hold = LockHold(table="public.t", mode="SHARE", held_s=0.02, rows=10_000)
    built = RevisionCost(locks=(hold,), indexes_built=("public.i",))
    cost, duration_s = sample.scaled(built, 0.05)
    assert cost is not None
    assert (cost.locks[0].held_s, cost.locks[0].rows, duration_s) == (2.0, 1_000_000, 5.0)
    written = RevisionCost(written=(RowHold(table="public.t", rows=10_000, held_s=0.02),))
    cost, _ = sample.scaled(written, 0.05)
    assert cost is not None
    assert cost.written == (RowHold(table="public.t", rows=1_000_000, held_s=2.0),)
    catalogue_only = RevisionCost(locks=(hold,))
    assert sample.scaled(catalogue_only, 0.05) == (catalogue_only, 0.05)
    assert sample.scaled(None, 0.05) == (None, 0.05)
