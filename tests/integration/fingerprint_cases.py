"""What must be told of the data of copies of ``fingerprint_data/rich_schema.sql``.

Name -> (statement that corrupts, what one of the differences must say). And what must not be told, of data or schema:
name -> statements.
"""
# ruff: noqa: E501 - SQL of one line reads better in a table

from __future__ import annotations

THINGS = "table shop.things: content of column {} differs"
DATA_CORRUPTIONS: dict[str, tuple[str, str]] = {
    "one value": ("UPDATE shop.things SET t = 'texT 7' WHERE id = 7", THINGS.format("t")),
    "one row gone": (
        "DELETE FROM shop.things WHERE id = 12",
        "table shop.things: 303 rows before, 302 rows after",
    ),
    "duplicate row": ("INSERT INTO shop.child VALUES (1, 2)", "table shop.child: 1 row before, 2 rows after"),
    "one duplicate instead of another": (
        'UPDATE "Mixed Case"."Table ""q""" SET "select" = \'x\' WHERE ctid = \'(0,4)\'',
        'table "Mixed Case"."Table ""q""": content of column select differs (4 rows',
    ),
    "values exchanged between two rows": (
        "UPDATE shop.things SET v = CASE id WHEN 5 THEN 'v6' ELSE 'v5' END WHERE id IN (5, 6)",
        "every column by itself holds the same values: they were exchanged between rows",
    ),
    "values exchanged between two columns": (
        "UPDATE shop.scratch SET a = b, b = a WHERE b = 2",
        "table shop.scratch: content of columns a, b differs (50 rows on both sides)",
    ),
    "NULL for empty": ("UPDATE shop.things SET t = NULL WHERE id = 1002", THINGS.format("t")),
    "minus zero": ("UPDATE shop.things SET f8 = 0 WHERE id = 1002", THINGS.format("f8")),
    "minus zero in real": ("UPDATE shop.things SET f4 = 0 WHERE id = 1002", THINGS.format("f4")),
    "minus zero in point": ("UPDATE shop.things SET geo = point(9, 0) WHERE id = 9", THINGS.format("geo")),
    "last bit of a float": (
        "UPDATE shop.things SET f8 = f8 * 1.0000000000000002 WHERE id = 8",
        THINGS.format("f8"),
    ),
    "NaN": ("UPDATE shop.things SET n = 'Infinity' WHERE id = 1002", THINGS.format("n")),
    "numeric scale": ("UPDATE shop.things SET n = 1.0 WHERE id = 1003", THINGS.format("n")),
    "numeric sign": ("UPDATE shop.things SET n2 = -n2 WHERE id = 7", THINGS.format("n2")),
    "scale within jsonb": (
        'UPDATE shop.things SET jb = \'{"a": 7, "b": 1.5}\' WHERE id = 7',
        THINGS.format("jb"),
    ),
    "blanks within json": (
        'UPDATE shop.things SET j = \'{"a": 7, "a": 1}\' WHERE id = 7',
        THINGS.format("j"),
    ),
    "infinity": ("UPDATE shop.things SET ts = '-infinity' WHERE id = 1002", THINGS.format("ts")),
    "a microsecond": (
        "UPDATE shop.things SET ts = ts + interval '1 microsecond' WHERE id = 7",
        THINGS.format("ts"),
    ),
    "a microsecond long ago": (
        "UPDATE shop.things SET ts = ts + interval '1 microsecond' WHERE id = 1003",
        THINGS.format("ts"),
    ),
    "a day before Christ": ("UPDATE shop.things SET d = d + 1 WHERE id = 1003", THINGS.format("d")),
    "24 hours for a day": ("UPDATE shop.things SET iv = '1 day' WHERE id = 1003", THINGS.format("iv")),
    "trailing blank": ("UPDATE shop.things SET bc = 'bc' WHERE id = 7", THINGS.format("bc")),
    "bounds of an array": ("UPDATE shop.things SET ai = '{1,2}' WHERE id = 1002", THINGS.format("ai")),
    "empty array for NULL": ("UPDATE shop.things SET ai = '{}' WHERE id = 1001", THINGS.format("ai")),
    "NULL in quotes in an array": (
        "UPDATE shop.things SET at[3] = 'NULL' WHERE id = 7",
        THINGS.format("at"),
    ),
    "minus zero in an array": ("UPDATE shop.things SET af = '{-0,NaN}' WHERE id = 1002", THINGS.format("af")),
    "NaN in an array": ("UPDATE shop.things SET af = '{-0,1}' WHERE id = 1002", THINGS.format("af")),
    "NaN in real": ("UPDATE shop.things SET f4 = 'Infinity' WHERE id = 1003", THINGS.format("f4")),
    "NaN for infinity": ("UPDATE shop.things SET f8 = 'NaN' WHERE id = 1003", THINGS.format("f8")),
    "a cent": ("UPDATE shop.things SET m = m + 0.01::money WHERE id = 7", THINGS.format("m")),
    "end of a range": ("UPDATE shop.things SET r = int4range(7, 13) WHERE id = 7", THINGS.format("r")),
    "empty range for NULL": ("UPDATE shop.things SET r = 'empty' WHERE id = 1001", THINGS.format("r")),
    "gap in a multirange": (
        "UPDATE shop.things SET mr = '{[7,9),[10,12)}' WHERE id = 7",
        THINGS.format("mr"),
    ),
    "weight in a tsvector": (
        "UPDATE shop.things SET tv = setweight(tv, 'A') WHERE id = 7",
        THINGS.format("tv"),
    ),
    "position in a tsvector": (
        "UPDATE shop.things SET tv = to_tsvector('simple', 'word the 8') WHERE id = 8",
        THINGS.format("tv"),
    ),
    "a high bit of bigint": (
        "UPDATE shop.things SET i8 = i8 # (1::bigint << 45) WHERE id = 7",
        THINGS.format("i8"),
    ),
    "folded bits of bigint": (
        "UPDATE shop.things SET i8 = i8 # ((1::bigint << 41) + (1::bigint << 9)) WHERE id = 7",
        THINGS.format("i8"),
    ),
    "one byte": ("UPDATE shop.things SET b = set_byte(b, 15, 0) WHERE id = 7", THINGS.format("b")),
    "one toasted character": (
        "UPDATE shop.things SET big = overlay(big placing '_' from 6000) WHERE id = 7",
        THINGS.format("big"),
    ),
    "enum value": ("UPDATE shop.things SET mood = 'ok' WHERE id = 7", THINGS.format("mood")),
    "row of NULLs for NULL": (
        "UPDATE shop.things SET pt = ROW(NULL, NULL, NULL) WHERE id = 1001",
        THINGS.format("pt"),
    ),
    "netmask": ("UPDATE shop.things SET ip = '10.0.0.1/9' WHERE id = 7", THINGS.format("ip")),
    "partition's row moved": (
        "UPDATE shop.orders SET at = '2024-02-01' WHERE id = 1",
        "table shop.orders_2023: 213 rows before, 212 rows after",
    ),
    "materialized view emptied": (
        "REFRESH MATERIALIZED VIEW shop.counts WITH NO DATA",
        "materialized view shop.counts (1 row) is missing",
    ),
    "table dropped": ("DROP TABLE shop.child", "table shop.child (2 rows) is missing"),
    "sequence behind": (
        "SELECT setval('shop.ticket', 200)",
        "sequence shop.ticket is behind: at 200 (used), expected 345 (used)",
    ),
    "large object changed": (
        "SELECT lo_put(4711, 5000, 'x')",
        "large objects: content of column content differs",
    ),
    "large object longer by a zero": (
        "SELECT lo_put(4711, 9000, '\\x00')",
        "large objects: content of column length differs",
    ),
    "large object gone": ("SELECT lo_unlink(4712)", "large objects: 2 rows before, 1 row after"),
    "large object's owner": (
        "ALTER LARGE OBJECT 4711 OWNER TO lk_owner",
        "large objects: content of columns owner, grants differs",
    ),
}

HARMLESS = {
    "nothing": "SELECT 1",
    "VACUUM FULL": "VACUUM FULL shop.things",
    "ANALYZE": "ANALYZE",
    "VACUUM FREEZE": "VACUUM FREEZE",
    "CLUSTER": "CLUSTER shop.users USING users_pkey;\nALTER TABLE shop.users SET WITHOUT CLUSTER",
    "physical order": "UPDATE shop.things SET id = id",
    "rows written again": "CREATE TEMP TABLE k AS SELECT * FROM shop.child;\nTRUNCATE shop.child;\n"
    "INSERT INTO shop.child SELECT * FROM k",
    "index rebuilt": "REINDEX TABLE shop.users",
    "index dropped and made again": "DROP INDEX shop.users_status;\n"
    "CREATE INDEX users_status ON shop.users (status) WHERE status <> 'gone'",
    "column dropped and added again": "ALTER TABLE shop.scratch ADD COLUMN c int;\n"
    "UPDATE shop.scratch SET c = a;\nALTER TABLE shop.scratch DROP COLUMN a;\n"
    "ALTER TABLE shop.scratch RENAME c TO a;\nALTER TABLE shop.scratch ALTER a SET DEFAULT nextval('shop.ticket')",
    "column added and dropped": "ALTER TABLE shop.users ADD COLUMN x int DEFAULT 5;\nALTER TABLE shop.users DROP COLUMN x",
    "explicit default grants": "GRANT ALL ON shop.child TO CURRENT_USER;\n"
    "GRANT EXECUTE ON FUNCTION shop.touch() TO PUBLIC",
    "grant given and taken": "GRANT SELECT ON shop.child TO lk_reader;\nREVOKE SELECT ON shop.child FROM lk_reader",
    "columns' grant given and taken": "GRANT SELECT (a) ON shop.child TO lk_reader;\n"
    "REVOKE SELECT (a) ON shop.child FROM lk_reader",
    "trigger disabled and enabled": "ALTER TABLE shop.users DISABLE TRIGGER USER;\nALTER TABLE shop.users ENABLE TRIGGER USER",
    "constraint validated later": "ALTER TABLE shop.users DROP CONSTRAINT users_status_known;\n"
    "ALTER TABLE shop.users ADD CONSTRAINT users_status_known CHECK (status IN ('active', 'gone')) NOT VALID;\n"
    "ALTER TABLE shop.users VALIDATE CONSTRAINT users_status_known",
    "other compression": "ALTER TABLE shop.things ALTER big SET STORAGE EXTENDED;\n"
    "UPDATE shop.things SET big = big || '';\nALTER TABLE shop.things ALTER big SET STORAGE EXTERNAL",
    "partition detached and attached": "ALTER TABLE shop.orders DETACH PARTITION shop.orders_2024;\n"
    "ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "materialized view refreshed": "REFRESH MATERIALIZED VIEW shop.counts",
    "table made again": "CREATE TABLE x (b int) INHERITS (shop.parent);\nINSERT INTO x SELECT * FROM shop.child;\n"
    "DROP TABLE shop.child;\nALTER TABLE x SET SCHEMA shop;\n"
    "ALTER TABLE shop.x RENAME TO child;\nGRANT ALL ON shop.child TO postgres;\nREVOKE SELECT ON shop.child FROM lk_reader",
    "other session defaults": "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = german', current_database()); "
    "EXECUTE format('ALTER DATABASE %I SET search_path = shop', current_database()); "
    "EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); "
    "EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database()); "
    "EXECUTE format('ALTER DATABASE %I SET bytea_output = escape', current_database()); "
    "EXECUTE format('ALTER DATABASE %I SET intervalstyle = iso_8601', current_database()); END $$",
    "temporary table": "CREATE TEMP TABLE t AS SELECT 1",
    "large object written again": "SELECT lo_unlink(4711);\n"
    "SELECT lo_from_bytea(4711, decode(repeat('00ff10', 3000), 'hex'))",
    "hole in a large object filled with zeros": "SELECT lo_put(4712, 0, decode(repeat('00', 10000), 'hex'))",
}
