"""Everything that an application can write arrives in the copy; nothing that the migration wrote does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.recovery.capture import tables_not_captured
from lockkeeper.recovery.capture.ending import tidy
from lockkeeper.recovery.replay.constraints import check_constraints
from tests.integration.captured import Line, captured_line, read, run

TYPES = r"""
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE everything (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    i2 smallint, i8 bigint, n numeric(20, 5), f4 real, f8 double precision, money money, b boolean,
    t text, v varchar(40), c char(6), "Quoted ""Name" text, ch "char", nm name,
    bytes bytea, d date, tm time, tz timestamptz, ts timestamp, iv interval,
    u uuid, j json, jb jsonb, ip inet, net cidr, mac macaddr, bits bit(4), vbits bit varying(9),
    p point, bx box, r int4range, tsv tsvector, lsn pg_lsn, reg regclass,
    ints int[], texts text[], grid int[][], boxes box[], m mood, moods mood[], pr pair, pos positive,
    doubled int GENERATED ALWAYS AS (i2 * 2) STORED
);
"""
ROW = r"""
INSERT INTO everything (
    i2, i8, n, f4, f8, money, b, t, v, c, "Quoted ""Name", ch, nm, bytes, d, tm, tz, ts, iv, u, j, jb, ip,
    net, mac, bits, vbits, p, bx, r, tsv, lsn, reg, ints, texts, grid, boxes, m, moods, pr, pos
) VALUES (
    {n}, 9007199254740993, 12345.67890, 1.1, 0.1::float8 + 0.2, '12.34', true,
    E'tab\t newline\n back\\slash \r quote'' "double" {{brace}}, ünï', '', 'ab', 'NULL', 'q', 'name',
    '\x00ff5c0a', '2024-02-29', '23:59:59.999999', '2024-06-01 12:00+05', '-infinity',
    '1 year 2 mons -3 days', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{{"a": [1, null]}}', '{{"k": "v\"q"}}',
    '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '1010', '1', '(1,2)', '(3,4),(1,2)', '[1,5)', 'fat & cat',
    '16/B374D848', 'pg_class', '{{1,NULL,3}}', '{{"a,b","c\"d",NULL,""}}', '{{{{1,2}},{{3,4}}}}',
    '{{(3,4),(1,2);(1,1),(0,0)}}', 'it''s "ok"', '{{happy,"it''s \"ok\""}}', '(1,"x,y")', 5
)
"""


@pytest.fixture
def line_on(make_database: Callable[..., URL], tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """Return a function: server, schema -> a line whose source has that schema."""
    contexts = []

    def make(server: EmbeddedPostgres, *schema: str, marks: str = "origin") -> Line:
        source = make_database(server)
        run(source, *schema)
        name = f"copy_{uuid.uuid4().hex[:8]}"
        context = captured_line(server.url(), source, name, tmp_path / name, marks=marks)
        contexts.append(context)
        return context.__enter__()

    yield make
    for context in reversed(contexts):
        context.__exit__(None, None, None)


@pytest.fixture
def line(server: EmbeddedPostgres, line_on: Callable[..., Line]) -> Callable[..., Line]:
    return lambda *schema, **more: line_on(server, *schema, **more)


def test_values_of_every_type_arrive_as_they_were_written(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(every_server, TYPES, ROW.format(n=1), "INSERT INTO everything (t) VALUES (NULL)")
    shop.source(
        ROW.format(n=2),
        ROW.format(n=3),
        "UPDATE everything SET bytes = '\\x5c', texts = '{}', m = 'sad', p = '(9,9)', pr = NULL WHERE id = 1",
        "UPDATE everything SET i2 = 7 WHERE id = 1",
        "UPDATE everything SET t = '', reg = 'pg_proc', boxes = '{(1,1),(0,0)}' WHERE id = 2",
        "DELETE FROM everything WHERE id = 3",
        "INSERT INTO everything (id, t) OVERRIDING SYSTEM VALUE VALUES (100, 'chosen')",
        "INSERT INTO everything DEFAULT VALUES",
    )
    shop.carry()
    shop.assert_equal("everything")
    assert shop.parked() == []


def test_values_out_of_line_that_an_update_leaves_alone_stay(line: Callable[..., Line]) -> None:
    shop = line(
        "CREATE TABLE big (id int PRIMARY KEY, body text, n int)",
        "ALTER TABLE big ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO big SELECT g, repeat('x', 50000), g FROM generate_series(1, 3) AS g",
    )
    shop.source(
        "UPDATE big SET n = 10 WHERE id = 1",
        "INSERT INTO big VALUES (4, repeat('y', 50000), 4)",
        "UPDATE big SET n = 40 WHERE id = 4",
        "UPDATE big SET id = 5 WHERE id = 2",
    )
    shop.carry()
    shop.assert_equal("big")


def test_keys_of_every_kind_find_their_rows(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(
        every_server,
        "CREATE TABLE composite (a int, b text, n int, PRIMARY KEY (b, a))",
        "CREATE TABLE only_unique (code varchar(9) NOT NULL UNIQUE, n int)",
        "CREATE TABLE no_key (n int, note text, doc json)",
        "CREATE TABLE nothing_identified (id int PRIMARY KEY, n int)",
        "ALTER TABLE nothing_identified REPLICA IDENTITY NOTHING",
        "INSERT INTO composite SELECT g, 'b' || g, 0 FROM generate_series(1, 9) AS g",
        "INSERT INTO only_unique SELECT 'c' || g, 0 FROM generate_series(1, 9) AS g",
        "INSERT INTO no_key SELECT 1, 'same', '{}' FROM generate_series(1, 3)",
        "INSERT INTO no_key VALUES (NULL, NULL, NULL)",
        "INSERT INTO nothing_identified VALUES (1, 1), (2, 2)",
    )
    shop.source(
        "UPDATE composite SET n = a WHERE a % 2 = 0",
        "UPDATE composite SET a = a + 100 WHERE a < 4",
        "DELETE FROM composite WHERE a = 9",
        "UPDATE only_unique SET n = 5 WHERE code < 'c4'",
        "DELETE FROM only_unique WHERE code = 'c8'",
        "DELETE FROM no_key WHERE ctid = (SELECT min(ctid) FROM no_key WHERE n = 1)",
        "UPDATE no_key SET note = 'found' WHERE n IS NULL",
        "INSERT INTO no_key VALUES (7, 'seven', '[1]')",
        "UPDATE nothing_identified SET n = 9 WHERE id = 1",
        "DELETE FROM nothing_identified WHERE id = 2",
    )
    shop.carry()
    shop.assert_equal("composite", "only_unique", "no_key", "nothing_identified")
    assert shop.parked() == []


def test_rows_that_hand_a_unique_value_to_each_other_arrive(line: Callable[..., Line]) -> None:
    shop = line(
        "CREATE TABLE seats (id int PRIMARY KEY, seat int UNIQUE)",
        "INSERT INTO seats VALUES (1, 1), (2, 2), (3, 3)",
    )
    shop.source(
        "UPDATE seats SET seat = 99 WHERE id = 1",
        "UPDATE seats SET seat = 1 WHERE id = 2",
        "UPDATE seats SET seat = 2 WHERE id = 1",
        "DELETE FROM seats WHERE id = 3",
        "INSERT INTO seats VALUES (4, 3)",
        "UPDATE seats SET id = 5 WHERE id = 4",
        "INSERT INTO seats VALUES (4, 4)",
        "DELETE FROM seats WHERE id = 4",
        "INSERT INTO seats VALUES (4, 44)",
    )
    shop.carry()
    shop.assert_equal("seats")
    assert shop.parked() == []


def test_partitions_inheritance_and_truncate_arrive(
    every_server: EmbeddedPostgres, line_on: Callable[..., Line]
) -> None:
    shop = line_on(
        every_server,
        "CREATE TABLE log (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')",
        "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')",
        "CREATE TABLE keyless (id int, day date) PARTITION BY LIST (day)",
        "CREATE TABLE keyless_1 PARTITION OF keyless DEFAULT",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (more text, PRIMARY KEY (id)) INHERITS (parent)",
        "CREATE TABLE emptied (id int PRIMARY KEY); CREATE TABLE refers (id int REFERENCES emptied)",
        "INSERT INTO emptied VALUES (1); INSERT INTO refers VALUES (1)",
        "INSERT INTO keyless VALUES (1, '2024-01-01')",
    )
    shop.source(
        "INSERT INTO log VALUES (1, '2024-01-05'), (2, '2024-02-05')",
        "UPDATE log SET day = '2024-02-06' WHERE id = 1",
        "UPDATE keyless SET id = 2",
        "INSERT INTO keyless VALUES (3, '2024-03-03')",
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'two')",
        "UPDATE child SET more = '2'",
        "TRUNCATE emptied CASCADE",
        "INSERT INTO emptied VALUES (5)",
    )
    shop.carry()
    shop.assert_equal("log", "keyless", "ONLY parent", "child", "emptied")
    assert shop.rows("SELECT count(*) FROM refers") == ([(0,)], [(0,)])


def test_what_triggers_and_foreign_keys_did_at_the_source_is_not_done_twice(
    line: Callable[..., Line],
) -> None:
    shop = line(
        "CREATE TABLE parent (id int PRIMARY KEY, n int DEFAULT 0)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)",
        """CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN UPDATE parent SET n = n + 1 WHERE id = NEW.parent; RETURN NEW; END $$""",
        "CREATE TRIGGER counts AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION count_up()",
        "CREATE TRIGGER always AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION count_up()",
        "ALTER TABLE child ENABLE ALWAYS TRIGGER always",
        "INSERT INTO parent (id) VALUES (1), (2); INSERT INTO child VALUES (1, 1)",
    )
    shop.source("INSERT INTO child VALUES (2, 1), (3, 2)", "DELETE FROM parent WHERE id = 2")
    shop.carry()
    shop.assert_equal("parent", "child")
    assert check_constraints(shop.copy_url, "t") == ([], [])


def test_broken_constraints_are_counted_and_those_without_time_are_named(line: Callable[..., Line]) -> None:
    shop = line(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, n int CHECK (n > 0))",
        "INSERT INTO parent VALUES (1); INSERT INTO child SELECT g, 1, 1 FROM generate_series(1, 10) AS g",
    )
    run(shop.copy_url, "SET session_replication_role = replica; DELETE FROM parent")
    findings, unchecked = check_constraints(shop.copy_url, "t", budget_s=30)
    assert (findings, unchecked) == (
        ["constraint child_parent_fkey of public.child: 10 rows do not satisfy it"],
        [],
    )
    late = check_constraints(shop.copy_url, "t", budget_s=0)
    assert (late.findings, {one.name for one in late.unchecked}) == (
        [],
        {"child_parent_fkey", "child_n_check"},
    )
    assert check_constraints(shop.copy_url, "t", only=late.unchecked).findings == findings


def test_large_transactions_arrive_whole(line: Callable[..., Line]) -> None:
    shop = line("CREATE TABLE many (id int PRIMARY KEY, n int)", "INSERT INTO many VALUES (0, 0)")
    shop.source(
        "INSERT INTO many SELECT g, g FROM generate_series(1, 25000) AS g",
        "BEGIN; UPDATE many SET n = n + 1; DELETE FROM many WHERE id % 10 = 0; COMMIT",
        "INSERT INTO many VALUES (0, 1)",
    )
    shop.carry()
    shop.assert_equal("many")


def test_a_replay_that_is_repeated_or_interrupted_applies_everything_once(line: Callable[..., Line]) -> None:
    shop = line("CREATE TABLE counters (id int PRIMARY KEY, n int)", "INSERT INTO counters VALUES (1, 0)")
    shop.source(*["UPDATE counters SET n = n + 1"] * 5)
    shop.carry()
    shop.replay()
    shop.source(*["UPDATE counters SET n = n + 1"] * 5)
    shop.carry()
    shop.carry()
    assert shop.rows("SELECT n FROM counters") == ([(10,)], [(10,)])


# -- beside a migration ------------------------------------------------------------------------------------


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
