-- Tables of every kind; those in the second half take no row, each for a reason of its own.
CREATE TYPE mood AS ENUM ('fine', 'bad');
CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@ ]+@[^@ ]+$');
CREATE DOMAIN percent AS int CHECK (VALUE >= 0 AND VALUE <= 100);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE alembic_version (version_num varchar(32));

CREATE TABLE players (
    id serial PRIMARY KEY, team_id int NOT NULL, nick varchar(5) NOT NULL UNIQUE CHECK (nick <> ''),
    mood mood NOT NULL, address email NOT NULL, score percent NOT NULL
);
CREATE TABLE teams (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, captain int REFERENCES players);
ALTER TABLE players ADD FOREIGN KEY (team_id) REFERENCES teams;
CREATE TABLE yin (id int PRIMARY KEY, other int NOT NULL);
CREATE TABLE yang (id int PRIMARY KEY, other int NOT NULL REFERENCES yin DEFERRABLE);
ALTER TABLE yin ADD FOREIGN KEY (other) REFERENCES yang DEFERRABLE;
CREATE TABLE tree (id uuid PRIMARY KEY, parent uuid REFERENCES tree);
CREATE TABLE memberships (
    player int NOT NULL REFERENCES players, team int NOT NULL REFERENCES teams, PRIMARY KEY (player, team)
);
CREATE TABLE profiles (player int PRIMARY KEY REFERENCES players);
CREATE TABLE accounts (tenant int, id int, PRIMARY KEY (tenant, id));
CREATE TABLE transfers (
    tenant int NOT NULL, source int NOT NULL, sink int NOT NULL,
    FOREIGN KEY (tenant, source) REFERENCES accounts, FOREIGN KEY (tenant, sink) REFERENCES accounts
);
CREATE TABLE orders (
    status text NOT NULL CHECK (status IN ('new', 'paid')), quantity int NOT NULL CHECK (quantity BETWEEN 5 AND 9),
    code char(2) NOT NULL CHECK (code = upper(code)), begins date NOT NULL, ends date NOT NULL,
    price numeric(8, 2) CHECK (price > 0), CHECK (begins < ends)
);
CREATE TABLE sales (id int, day date NOT NULL, region text NOT NULL, PRIMARY KEY (id, day, region))
    PARTITION BY LIST (region);
CREATE TABLE sales_eu PARTITION OF sales FOR VALUES IN ('eu') PARTITION BY RANGE (day);
CREATE TABLE sales_eu_2025 PARTITION OF sales_eu FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE sales_america PARTITION OF sales FOR VALUES IN ('us', 'ca');
CREATE TABLE bookings (room int NOT NULL, during tstzrange NOT NULL, EXCLUDE USING gist (during WITH &&));
CREATE SCHEMA "Mixed Case";
CREATE TABLE "Mixed Case"."T %s" ("a b" int NOT NULL UNIQUE, "Straße" text, "q""%s" mood NOT NULL);
CREATE TABLE without_columns ();
CREATE TABLE every_type (
    i2 smallint, i4 int, i8 bigint, n numeric(6, 2), n0 numeric, f real, d double precision, t text, v varchar(3),
    ch char(4), b bool, dt date, ts timestamp, tz timestamptz, tm time, tmz timetz, iv interval, u uuid, by bytea,
    j json, jb jsonb, ip inet, ci cidr, ma macaddr, m8 macaddr8, bi bit(3), vb bit varying(5), mo money, o oid,
    po point, li line, ls lseg, bx box, pa path, pg polygon, cr circle, tv tsvector, tq tsquery, pl pg_lsn,
    r4 int4range, r8 int8range, rn numrange, rd daterange, rt tsrange, rz tstzrange, mr int4multirange,
    ar int[], at text[], am mood[], pr pair, g int GENERATED ALWAYS AS (i4 * 2) STORED, x xml
);

CREATE TABLE impossible (a int NOT NULL CHECK (a % 7 = 3 AND a > 1000000000));
CREATE TABLE nowhere (id int) PARTITION BY RANGE (id);
CREATE TABLE narcissus (id serial PRIMARY KEY, me int NOT NULL REFERENCES narcissus);
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
CREATE TABLE refusing (id int);
CREATE TRIGGER never BEFORE INSERT ON refusing FOR EACH ROW EXECUTE FUNCTION never();
