"""What the migration does meanwhile: its writes stay out, its changes of the schema are followed."""

from __future__ import annotations

from collections.abc import Callable

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.recovery.capture import tables_not_captured
from lockkeeper.recovery.capture.ending import tidy
from tests.integration.captured import Line, read


def test_the_migrations_own_writes_stay_out_and_the_applications_on_the_same_rows_arrive(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(
        every_server,
        "CREATE TABLE users (id int PRIMARY KEY, name text, status text, visits int)",
        "INSERT INTO users SELECT g, 'user ' || g, 'active', 0 FROM generate_series(1, 20) AS g",
    )
    shop.migrate(
        "UPDATE users SET status = 'corrupted', name = upper(name)",
        "DELETE FROM users WHERE id > 18",
        "INSERT INTO users VALUES (500, 'made by the migration', 'x', 0)",
    )
    shop.source(
        "UPDATE users SET visits = visits + 1 WHERE id <= 3",
        "UPDATE users SET name = 'renamed' WHERE id = 4",
        "DELETE FROM users WHERE id = 5",
        "INSERT INTO users VALUES (19, 'back again', 'new', 1)",
        "INSERT INTO users VALUES (30, 'thirty', 'new', 0)",
        "UPDATE users SET visits = 7 WHERE id = 500",
    )
    shop.carry()
    copy = {row[0]: row[1:] for row in read(shop.copy_url, "SELECT id, name, status, visits FROM users")}
    assert copy[1] == ("user 1", "active", 1)
    assert copy[4] == ("renamed", "active", 0)
    assert copy[19] == ("back again", "new", 1)
    assert copy[20] == ("user 20", "active", 0)
    assert copy[30] == ("thirty", "new", 0)
    assert 5 not in copy
    assert 500 not in copy
    parked = {(write.row_key["id"], write.carried) for write in shop.parked()}
    assert parked == {("4", True), ("19", True), ("500", False)}


def test_transactions_marked_by_a_message_are_the_migrations_too(line: Callable[..., Line]) -> None:
    shop = line("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)", marks="message")
    shop.migrate("UPDATE t SET n = -1", "INSERT INTO t VALUES (2, 2)")
    shop.source("INSERT INTO t VALUES (3, 3)")
    shop.carry()
    assert read(shop.copy_url, "SELECT * FROM t ORDER BY 1") == [(1, 1), (3, 3)]
    assert shop.receiver.own_transactions == 1


def test_columns_and_tables_are_followed_through_what_the_migration_did_to_them(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(
        every_server,
        "CREATE TABLE products (id int PRIMARY KEY, description text, price numeric(9,2))",
        "ALTER TABLE products ADD gone int DEFAULT 3, ADD w int",
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
        "INSERT INTO products SELECT g, 'd' || g, g FROM generate_series(1, 5) AS g",
    )
    shop.migrate(
        "ALTER TABLE products RENAME description TO body",
        "ALTER TABLE products DROP COLUMN gone",
        "ALTER TABLE products ADD COLUMN description int",
        "ALTER TABLE products ALTER price TYPE text",
        "ALTER TABLE products ALTER w TYPE bigint",
        "ALTER TABLE orders RENAME TO purchases",
        "CREATE TABLE fresh (id int PRIMARY KEY)",
    )
    shop.source(
        "INSERT INTO products (id, body, price, w) VALUES (10, 'ten', '10.00', 10)",
        "INSERT INTO products (id, body, description) VALUES (11, 'eleven', 77)",
        "INSERT INTO products (id, body, price) VALUES (12, 'twelve', 'a lot')",
        "INSERT INTO products (id, w) VALUES (13, 5000000000)",
        "UPDATE products SET body = 'changed' WHERE id = 1",
        "UPDATE products SET price = '1.234' WHERE id = 2",
        "UPDATE products SET price = '2.50' WHERE id = 3",
        "DELETE FROM products WHERE id = 4",
        "INSERT INTO purchases VALUES (1, 'bought')",
    )
    shop.carry()
    copy = {
        row[0]: row[1:] for row in read(shop.copy_url, "SELECT id, description, price, gone, w FROM products")
    }
    assert copy[10][0] == "ten"
    assert (str(copy[10][1]), copy[10][2:]) == ("10.00", (3, 10))
    assert copy[11][0] == "eleven"
    assert copy[12] == ("twelve", None, 3, None)
    assert copy[13] == (None, None, 3, None)
    assert copy[1][0] == "changed"
    assert [str(copy[n][1]) for n in (2, 3)] == ["2.00", "2.50"]
    assert 4 not in copy
    assert read(shop.copy_url, "SELECT * FROM orders") == [(1, "bought")]
    values = {(write.row_key["id"], *sorted(write.row_values.items())) for write in shop.parked()}
    assert ("11", ("description", "77")) in values
    assert any(key == "12" and ("price", "a lot") in rest for key, *rest in values)
    assert any(key == "13" and ("w", "5000000000") in rest for key, *rest in values)
    assert any(key == "2" and ("price", "1.234") in rest for key, *rest in values)


def test_a_table_that_the_migration_made_anew_is_captured_and_followed_by_its_name(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(
        every_server,
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE t (id int PRIMARY KEY, n int, m mood)",
        "CREATE TABLE refers (id int PRIMARY KEY, t int REFERENCES t)",
        "INSERT INTO t VALUES (1, 1, 'sad')",
    )
    shop.migrate(
        "CREATE TABLE t_new (id int PRIMARY KEY, n bigint, m mood, extra text)",
        "INSERT INTO t_new SELECT *, 'made' FROM t",
        "DROP TABLE t CASCADE",
        "ALTER TABLE t_new RENAME TO t",
        "CREATE TABLE entirely (id int PRIMARY KEY, t int REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO entirely VALUES (1, 1)",
        'CREATE TABLE "with ""quotes"" and 100%" (n int)',
    )
    shop.source(
        "INSERT INTO t VALUES (2, 2, 'happy', NULL)",
        "UPDATE t SET n = 9, m = 'happy' WHERE id = 1",
        "INSERT INTO entirely VALUES (2, 1)",
        'INSERT INTO "with ""quotes"" and 100%" VALUES (1)',
        'UPDATE "with ""quotes"" and 100%" SET n = 2',
    )
    shop.carry()
    assert read(shop.copy_url, "SELECT id, n, m::text FROM t ORDER BY 1") == [
        (1, 9, "happy"),
        (2, 2, "happy"),
    ]
    parked = [(write.table, write.operation, write.row_values) for write in shop.parked()]
    assert parked == [
        ("public.entirely", "insert", {"id": "2", "t": "1"}),
        ('public.with "quotes" and 100%', "insert", {"n": "1"}),
        ('public.with "quotes" and 100%', "update", {"n": "2"}),
    ]
    with connect(shop.source_url, "tests") as connection:
        assert tables_not_captured(connection, shop.record) == []
    assert tidy(shop.source_url, shop.record) == []
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relreplident = 'f' AND relname !~ '^pg_'"
    assert read(shop.source_url, query) == [], "every table has its own identity again"


def test_a_table_that_the_migration_partitions_or_renames_is_captured(line: Callable[..., Line]) -> None:
    shop = line(
        "CREATE TABLE events (id int PRIMARY KEY, note text)",
        "CREATE TABLE renamed (id int PRIMARY KEY, note text)",
        "INSERT INTO events VALUES (1, 'one'); INSERT INTO renamed VALUES (1, 'one')",
    )
    shop.migrate(
        "ALTER TABLE events RENAME TO events_old",
        "CREATE TABLE events (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (100)",
        "INSERT INTO events SELECT * FROM events_old",
        "ALTER TABLE renamed RENAME TO other_name",
    )
    shop.source(
        "INSERT INTO events VALUES (2, 'two')",
        "UPDATE events SET note = 'changed' WHERE id = 1",
        "CREATE TABLE events_high PARTITION OF events FOR VALUES FROM (100) TO (200)",
        "INSERT INTO events VALUES (150, 'high')",
        "UPDATE other_name SET note = 'changed' WHERE id = 1",
    )
    shop.carry()
    rows = [(1, "changed"), (2, "two"), (150, "high")]
    assert read(shop.copy_url, "SELECT * FROM events ORDER BY 1") == rows
    assert read(shop.copy_url, "SELECT * FROM renamed") == [(1, "changed")]
    assert shop.parked() == []
    assert tidy(shop.source_url, shop.record) == []
    query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relreplident = 'f' AND relname !~ '^pg_'"
    assert read(shop.source_url, query) == [], "the renamed ones too"


def test_what_cannot_be_adopted_is_named_and_does_not_fail_the_migration(line: Callable[..., Line]) -> None:
    shop = line("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    shop.source("CREATE TABLE foreign_made (id int)", "INSERT INTO foreign_made VALUES (1)")
    with connect(shop.source_url, "tests") as busy:
        execute(busy, "BEGIN; LOCK TABLE foreign_made IN ROW EXCLUSIVE MODE")
        shop.migrate("CREATE UNLOGGED TABLE unlogged (id int)", "INSERT INTO t VALUES (2)")
    with connect(shop.source_url, "tests") as connection:
        assert tables_not_captured(connection, shop.record) == ["public.foreign_made", "public.unlogged"]
    assert read(shop.source_url, "SELECT id FROM t ORDER BY 1") == [(1,), (2,)]


def test_a_virtual_column_that_the_migration_adds_does_not_make_updates_fail(
    servers: Callable[[int], EmbeddedPostgres], line_on: Callable[..., Line]
) -> None:
    shop = line_on(servers(18), "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)")
    shop.migrate("ALTER TABLE t ADD doubled int GENERATED ALWAYS AS (n * 2) VIRTUAL")
    shop.source("UPDATE t SET n = 5 WHERE id = 1")
    shop.carry()
    assert read(shop.copy_url, "SELECT id, n FROM t") == [(1, 5)]


def test_writes_that_break_a_constraint_of_the_copy_are_parked_alone(line: Callable[..., Line]) -> None:
    shop = line("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n < 10), email text UNIQUE)")
    shop.migrate(
        "ALTER TABLE t ALTER n DROP NOT NULL, DROP CONSTRAINT t_n_check, DROP CONSTRAINT t_email_key"
    )
    shop.source(
        "INSERT INTO t SELECT g, g, 'e' || g FROM generate_series(1, 9) AS g",
        "INSERT INTO t VALUES (20, NULL, 'x'), (21, 100, 'y'), (22, 2, 'e1')",
        "UPDATE t SET n = 50 WHERE id = 1",
        "UPDATE t SET n = 5 WHERE id = 2",
    )
    shop.carry()
    assert read(shop.copy_url, "SELECT id, n FROM t WHERE id IN (1, 2, 9, 20, 21, 22) ORDER BY 1") == [
        (1, 1), (2, 5), (9, 9)
    ]  # fmt: skip
    assert {write.row_key["id"] for write in shop.parked()} == {"20", "21", "22", "1"}


def test_a_column_that_the_migration_gave_a_type_of_its_own_is_brought_back(
    line: Callable[..., Line],
) -> None:
    shop = line(
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE t (id int PRIMARY KEY, state varchar(10), mood mood, n int)",
        "INSERT INTO t VALUES (1, 'new', 'sad', 1), (2, 'new', 'sad', 2)",
    )
    shop.migrate(
        "CREATE TYPE order_state AS ENUM ('new', 'paid', 'long overdue')",
        "ALTER TABLE t ALTER state TYPE order_state USING state::order_state",
        "CREATE DOMAIN small AS int CHECK (VALUE < 100)",
        "ALTER TABLE t ALTER n TYPE small",
    )
    shop.source(
        "UPDATE t SET state = 'paid', mood = 'happy' WHERE id = 1",
        "UPDATE t SET state = 'long overdue', n = 50 WHERE id = 2",
        "INSERT INTO t VALUES (3, 'paid', 'sad', 3)",
    )
    shop.carry()
    copy = {row[0]: row[1:] for row in read(shop.copy_url, "SELECT * FROM t")}
    assert copy == {1: ("paid", "happy", 1), 2: ("new", "sad", 2), 3: ("paid", "sad", 3)}
    assert [(write.row_key["id"], write.row_values, write.carried) for write in shop.parked()] == [
        ("2", {"state": "long overdue", "n": "50"}, True)
    ]
