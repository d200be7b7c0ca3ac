"""Everything that an application can write arrives in the copy, once and as it was written."""

from __future__ import annotations

from collections.abc import Callable

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.recovery.replay.constraints import check_constraints
from tests.integration.captured import Line, run

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
