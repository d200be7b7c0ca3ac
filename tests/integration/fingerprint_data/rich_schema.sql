-- A schema with one of everything, for tests of fingerprints. PostgreSQL 15 and later.
CREATE SCHEMA shop;
CREATE SCHEMA "Mixed Case";
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN shop.email AS text CONSTRAINT has_at CHECK (VALUE LIKE '%@%');
CREATE TYPE shop.point AS (x int, y double precision, label text);
CREATE DOMAIN shop.code AS text DEFAULT 'none' NOT NULL;
CREATE TYPE shop.span AS RANGE (subtype = float8);
CREATE TYPE shop.raw;
CREATE FUNCTION shop.raw_in(cstring) RETURNS shop.raw LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION shop.raw_out(shop.raw) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE shop.raw (INPUT = shop.raw_in, OUTPUT = shop.raw_out, LIKE = text);
CREATE SEQUENCE shop.ticket START 100 INCREMENT 5 CACHE 10;

CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.note := COALESCE(NEW.note, 'new');
    RETURN NEW;
END
$$;
CREATE FUNCTION shop.double(n int, times int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * times';
CREATE FUNCTION shop.lines(n int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n + 1; END;
CREATE PROCEDURE shop.clean() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
ALTER PROCEDURE shop.clean() SET work_mem = '8MB';

CREATE TABLE shop.users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email shop.email,
    status varchar(20) DEFAULT 'active',
    feeling shop.mood DEFAULT 'ok',
    manager bigint,
    born date,
    note text,
    shout text GENERATED ALWAYS AS (upper(name)) STORED,
    obsolete int,
    CONSTRAINT users_status_known CHECK (status IN ('active', 'gone')),
    CONSTRAINT users_manager FOREIGN KEY (manager) REFERENCES shop.users (id) DEFERRABLE
);
ALTER TABLE shop.users DROP COLUMN obsolete;
CREATE INDEX users_status ON shop.users (status) WHERE status <> 'gone';
CREATE INDEX users_lower ON shop.users (lower(name) text_pattern_ops, id DESC);
CREATE UNIQUE INDEX users_email ON shop.users (email) INCLUDE (name);
CREATE STATISTICS shop.users_correlated (dependencies, ndistinct) ON status, feeling FROM shop.users;
CREATE TRIGGER users_touch BEFORE INSERT OR UPDATE OF name ON shop.users FOR EACH ROW EXECUTE FUNCTION shop.touch();
COMMENT ON TABLE shop.users IS 'Who buys';
COMMENT ON COLUMN shop.users.email IS 'Verified';

CREATE TABLE shop.things (
    id int PRIMARY KEY,
    i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(12, 2),
    t text, v varchar(30), c char(5), bc bpchar, b bytea, flag boolean, u uuid, j json, jb jsonb,
    d date, ts timestamp, tz timestamptz, tm time, iv interval, m money,
    ai int[], at text[], af float8[], r int4range, mr int4multirange, tv tsvector, pt shop.point, mood shop.mood,
    em shop.email, ip inet, mac macaddr, bits varbit, geo point, o oid, qc "char", big text
);
ALTER TABLE shop.things ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN t SET STATISTICS 500;
ALTER TABLE shop.things SET (fillfactor = 90, autovacuum_enabled = off);
INSERT INTO shop.things
SELECT
    i, i, (i::bigint << 40) + i, i / 3.0, i / 7.0, i * 1.10, i * 0.37,
    'text ' || i, 'v' || i, 'c', 'bc ', decode(md5(i::text), 'hex'), i % 2 = 0, md5(i::text)::uuid,
    format('{"a":  %s, "a": 1}', i)::json, jsonb_build_object('a', i, 'b', 1.50),
    date '2020-01-01' + i, timestamp '2020-01-01' + i * interval '1 hour 1 microsecond',
    timestamptz '2020-01-01 00:00+00' + i * interval '1 day', time '10:00' + i * interval '1 second',
    make_interval(days => i, secs => 0.5), i::money,
    ARRAY[i, NULL, i], ARRAY['a b', '', NULL, '"q"'], ARRAY[0.1, i], int4range(i, i + 5),
    int4multirange(int4range(i, i + 5)), to_tsvector('simple', 'word ' || i),
    ROW(i, i / 9.0, 'p')::shop.point, 'happy', 'a@b', '10.0.0.1/8'::inet, '08:00:2b:01:02:03', B'101', point(i, '-0'),
    i, 'q', repeat(md5(i::text), 200)
FROM generate_series(1, 300) AS i;
INSERT INTO shop.things (id) VALUES (1001);
INSERT INTO shop.things (id, f4, f8, n, d, ts, tz, t, ai, iv, af)
VALUES (1002, '-0', '-0', 'NaN', 'infinity', 'infinity', '-infinity', '', '[0:1]={1,2}', '1 mon -1 day', '{0,NaN}'),
    (1003, 'NaN', 'Infinity', '1.00', '4000-01-01 BC', '1500-01-01', '9999-12-31', 'ß', '{}', '24 hours', '{}');

INSERT INTO shop.users (name, email, born)
SELECT 'user ' || i, i || '@example.com', date '1970-01-01' + i FROM generate_series(1, 500) AS i;
UPDATE shop.users SET manager = id - 1 WHERE id % 10 = 0;

CREATE TABLE shop.orders (id bigint, at timestamptz NOT NULL, user_id bigint REFERENCES shop.users (id), amount numeric(10, 2),
    PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE shop.orders_2023 PARTITION OF shop.orders FOR VALUES FROM ('2023-01-01 00:00+00') TO ('2024-01-01 00:00+00');
CREATE TABLE shop.orders_2024 PARTITION OF shop.orders FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00');
CREATE INDEX orders_user ON shop.orders (user_id);
CREATE TRIGGER orders_note AFTER INSERT ON shop.orders FOR EACH ROW WHEN (false) EXECUTE FUNCTION shop.touch();
INSERT INTO shop.orders
SELECT i, timestamptz '2023-06-01 00:00+00' + i * interval '1 day', i, i * 1.25 FROM generate_series(1, 400) AS i;

CREATE TABLE "Mixed Case"."Table ""q""" ("Col A" int, "select" text, UNIQUE ("Col A"));
INSERT INTO "Mixed Case"."Table ""q""" VALUES (1, 'x'), (2, NULL), (NULL, 'y'), (NULL, 'y');
CREATE UNLOGGED TABLE shop.scratch (a int DEFAULT nextval('shop.ticket'), b int);
INSERT INTO shop.scratch (b) SELECT i % 3 FROM generate_series(1, 50) AS i;
CREATE TABLE shop.listed (a int, b int) PARTITION BY LIST (a);
CREATE TABLE shop.parent (a int CONSTRAINT a_positive CHECK (a > 0));
CREATE TABLE shop.child (b int) INHERITS (shop.parent);
INSERT INTO shop.child VALUES (1, 2);
CREATE TABLE shop.pinned (id serial, k text COLLATE "C" NOT NULL, CONSTRAINT pinned_k UNIQUE (k));
ALTER TABLE shop.pinned REPLICA IDENTITY USING INDEX pinned_k;
CREATE TABLE shop.empty ();

CREATE VIEW shop.active WITH (security_barrier) AS SELECT u.id, u.name FROM shop.users AS u WHERE u.status = 'active';
CREATE VIEW shop.chosen AS
SELECT u.id, a.n FROM shop.users AS u JOIN shop.things AS a USING (id)
WHERE u.status IN ('active', 'it''s, ]) "x"') AND a.c NOT IN ('a', 'b') AND u.note::varchar LIKE ANY (ARRAY['a%', 'b%']::varchar[])
    AND a.i8 IN (1, -2) AND u.feeling IN ('sad', 'ok') AND u.name || u.status IN ('x', upper('y'))
    AND EXISTS (SELECT FROM shop.orders AS o WHERE o.user_id = u.id AND NOT o.amount BETWEEN -1 AND 2.50);
CREATE INDEX users_known ON shop.users (born) WHERE status IN ('active', 'gone');
CREATE RULE active_no_delete AS ON DELETE TO shop.active DO INSTEAD NOTHING;
CREATE MATERIALIZED VIEW shop.counts AS SELECT status, count(*) AS users FROM shop.users GROUP BY status;
CREATE UNIQUE INDEX counts_status ON shop.counts (status);
CREATE MATERIALIZED VIEW shop.never AS SELECT 1 AS one WITH NO DATA;

ALTER TABLE shop.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.users FOR SELECT TO lk_reader USING (name = CURRENT_USER);
GRANT USAGE ON SCHEMA shop TO lk_reader;
GRANT SELECT ON shop.orders, shop.things TO lk_reader;
GRANT UPDATE (note) ON shop.users TO lk_reader;
GRANT EXECUTE ON FUNCTION shop.double(int, int) TO lk_reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION shop.lines(int) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO lk_reader;
ALTER TABLE shop.pinned OWNER TO lk_owner;
CREATE PUBLICATION changes FOR TABLE shop.users (id, name), shop.things WHERE (id > 0);
CREATE COLLATION shop.plain (LOCALE = 'C');
CREATE CAST (shop.mood AS shop.point) WITH INOUT;
CREATE OPERATOR shop.## (FUNCTION = shop.double, LEFTARG = int, RIGHTARG = int);
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = simple);
CREATE FUNCTION shop.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER log_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION shop.log_ddl();
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 3000), 'hex'));
SELECT lo_from_bytea(4712, '');
SELECT lo_put(4712, 10000, 'after a hole');
