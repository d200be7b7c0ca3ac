# ruff: noqa: E501 - a statement is easier to compare on one line
"""SQL that the documentation of other tools calls safe or dangerous, for the judgement benchmark.

Written down before our own lint had seen any of it; the tools are others than those of tests/lint_corpus.py:

dg = diesel-guard, pages "checks"; mp = MigrationPilot, handbook and rules; om = online_migrations, README;
ha = pg_ha_migrations, README; dz = django-pg-zero-downtime-migrations, README.

Where these disagree the majority counts; where there is none (DROP NOT NULL, CREATE DOMAIN with a CHECK,
timestamp to timestamptz) the statement is left out, and so is what is a matter of style.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = """
CREATE TYPE state AS ENUM ('active', 'gone');
CREATE DOMAIN positive_int AS integer;
CREATE TABLE users (
    id bigint PRIMARY KEY, email varchar(100), name text NOT NULL, age integer, active boolean,
    deactivated_at timestamptz, last_login timestamptz, net cidr, score numeric(10, 2), state state,
    seen timestamp(3), padding text
);
CREATE TABLE projects (id bigint PRIMARY KEY, title text, creator_id bigint, created_at timestamptz);
CREATE TABLE orders (
    id bigint PRIMARY KEY, user_id bigint, amount numeric(10, 2), status text, checked text, level positive_int,
    project_id bigint CONSTRAINT orders_project REFERENCES projects
);
CREATE TABLE payments (id bigint PRIMARY KEY, amount numeric(10, 2));
CREATE TABLE badges (id bigint NOT NULL, label text);
CREATE TABLE rooms (id bigint PRIMARY KEY, room_id int, during int8range);
CREATE TABLE events (id bigint, created_at date NOT NULL) PARTITION BY RANGE (created_at);
CREATE TABLE events_2026_07 PARTITION OF events FOR VALUES FROM ('2026-07-01') TO ('2026-08-01');
CREATE TABLE events_2026_08 PARTITION OF events FOR VALUES FROM ('2026-08-01') TO ('2026-09-01');
CREATE TABLE events_2026_09 (id bigint, created_at date NOT NULL);
CREATE TABLE events_2026_10 (id bigint, created_at date NOT NULL);
INSERT INTO users SELECT n, n || '@example.org', 'user', n % 90, true, NULL, '2026-01-01', '10.0.0.0/8', 1,
    'active', '2026-01-01', repeat('x', 40) FROM generate_series(1, {rows}) AS n;
INSERT INTO projects SELECT n, 'p', n, '2026-01-01' FROM generate_series(1, {rows} / 2) AS n;
INSERT INTO orders SELECT n, n % {rows} + 1, 5, 'new', 'x', 1, n % ({rows} / 2) + 1 FROM generate_series(1, {rows}) AS n;
INSERT INTO payments SELECT n, 1 FROM generate_series(1, {rows} / 2) AS n;
INSERT INTO badges SELECT n, 'b' FROM generate_series(1, {rows}) AS n;
INSERT INTO rooms SELECT n, n, int8range(n, n + 1) FROM generate_series(1, {rows} / 10) AS n;
INSERT INTO events SELECT n, '2026-07-15' FROM generate_series(1, {rows}) AS n;
INSERT INTO events_2026_09 SELECT n, '2026-09-15' FROM generate_series(1, {rows} * 2) AS n;
INSERT INTO events_2026_10 SELECT n, '2026-10-15' FROM generate_series(1, {rows} * 2) AS n;
ALTER TABLE events_2026_10 ADD CONSTRAINT bound CHECK (created_at >= '2026-10-01' AND created_at < '2026-11-01');
ALTER TABLE orders ADD CONSTRAINT orders_checked CHECK (checked IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT orders_amount CHECK (amount > 0) NOT VALID;
ALTER TABLE orders ADD CONSTRAINT orders_user FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID;
CREATE INDEX orders_status ON orders (status);
CREATE UNIQUE INDEX users_email_idx ON users (email);
CREATE UNIQUE INDEX badges_id ON badges (id);
CREATE MATERIALIZED VIEW totals AS SELECT user_id, sum(amount) AS total FROM orders GROUP BY user_id;
CREATE UNIQUE INDEX totals_user ON totals (user_id);
CREATE SCHEMA archive;
CREATE TABLE archive.orders (id bigint PRIMARY KEY);
"""


@dataclass(frozen=True)
class Judged:
    """One change; ``sql`` is sent statement by statement, in a transaction unless it is ``outside``."""

    name: str
    source: str
    dangerous: bool
    sql: tuple[str, ...]
    outside: bool = False


def safe(name: str, source: str, *sql: str, outside: bool = False) -> Judged:
    """Return a change that its documentation calls safe."""
    return Judged(name, source, False, sql, outside)


def danger(name: str, source: str, *sql: str, outside: bool = False) -> Judged:
    """Return a change that its documentation calls dangerous."""
    return Judged(name, source, True, sql, outside)


JUDGED = (
    danger("check", "dg add-check-constraint", "ALTER TABLE orders ADD CONSTRAINT check_amount CHECK (amount > 0)"),
    danger("foreign key", "dg add_foreign_key", "ALTER TABLE orders ADD CONSTRAINT fk_user_id FOREIGN KEY (user_id) REFERENCES users (id)"),
    danger("unique", "dg adding-unique-constraint", "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)"),
    danger("unnamed unique", "dg adding-unique-constraint", "ALTER TABLE badges ADD UNIQUE (id, label)"),
    danger("primary key", "dg adding-unique-constraint", "ALTER TABLE badges ADD CONSTRAINT badges_pkey PRIMARY KEY (id)"),
    danger("index", "dg adding-index", "CREATE INDEX idx_users_email ON users (email)"),
    danger("index of several columns", "om adding an index", "CREATE INDEX i ON projects (creator_id, created_at)"),
    danger("concurrently in a transaction", "dg adding-index", "CREATE INDEX CONCURRENTLY idx_users_name ON users (name)"),
    danger("drop index", "dg dropping-index", "DROP INDEX orders_status"),
    danger("drop index concurrently in a transaction", "dg dropping-index", "DROP INDEX CONCURRENTLY orders_status"),
    danger("drop column", "dg dropping-column", "ALTER TABLE users DROP COLUMN age"),
    danger("drop table", "dg dropping-table", "DROP TABLE payments"),
    danger("drop primary key", "dg dropping-primary-key", "ALTER TABLE payments DROP CONSTRAINT payments_pkey"),
    danger("rename column", "dg renaming-column", "ALTER TABLE users RENAME COLUMN email TO email_address"),
    danger("rename table", "dg renaming-table", "ALTER TABLE orders RENAME TO purchases"),
    danger("reindex", "dg reindexing", "REINDEX INDEX orders_status"),
    danger("reindex concurrently in a transaction", "dg reindexing", "REINDEX TABLE CONCURRENTLY orders"),
    danger("refresh", "dg refresh-materialized-view", "REFRESH MATERIALIZED VIEW totals"),
    danger("serial column", "dg serial-primary-key", "ALTER TABLE users ADD COLUMN number bigserial"),
    danger("identity column", "dg add-identity-column", "ALTER TABLE users ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY"),
    danger("stored column", "dg generated-column", "ALTER TABLE users ADD COLUMN lower_name text GENERATED ALWAYS AS (lower(name)) STORED"),
    danger("set not null", "dg set-not-null", "ALTER TABLE users ALTER COLUMN email SET NOT NULL"),
    danger("truncate", "dg truncating-table", "TRUNCATE TABLE payments"),
    danger("json column", "dg json-field", "ALTER TABLE users ADD COLUMN settings json"),
    danger("exclusion", "dg add-exclude-constraint", "ALTER TABLE rooms ADD CONSTRAINT once EXCLUDE USING gist (during WITH &&)"),
    danger("check of a domain", "dg add-domain-check-constraint", "ALTER DOMAIN positive_int ADD CONSTRAINT pos_check CHECK (VALUE > 0)"),
    danger("delete without where", "dg mutation-without-where", "DELETE FROM badges"),
    danger("update without where", "dg mutation-without-where", "UPDATE users SET active = false"),
    danger("int to bigint", "mp handbook 7", "ALTER TABLE users ALTER COLUMN age TYPE bigint"),
    danger("text to varchar", "mp handbook 7", "ALTER TABLE users ALTER COLUMN name TYPE varchar(200)"),
    danger("uuid default", "mp handbook 6", "ALTER TABLE orders ADD COLUMN public_id uuid NOT NULL DEFAULT gen_random_uuid()"),
    danger("random default", "om adding a column with a default", "ALTER TABLE users ADD COLUMN lot double precision DEFAULT random()"),
    danger("vacuum full", "mp MP006", "VACUUM FULL orders", outside=True),
    danger("enum value used at once", "mp MP054", "ALTER TYPE state ADD VALUE 'archived'", "UPDATE users SET state = 'archived' WHERE id = 1"),
    danger("rename enum value", "ha unsafe_rename_enum_value", "ALTER TYPE state RENAME VALUE 'active' TO 'enabled'"),
    danger("detach", "mp handbook 19", "ALTER TABLE events DETACH PARTITION events_2026_07"),
    danger("attach with a scan", "mp handbook 19", "ALTER TABLE events ATTACH PARTITION events_2026_09 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01')"),
    danger("several tables and an index", "mp handbook 20", "ALTER TABLE users ADD COLUMN last_seen_at timestamptz", "ALTER TABLE orders ADD COLUMN channel text", "ALTER TABLE payments ADD COLUMN processor text", "CREATE INDEX idx_orders_channel ON orders (channel)"),
    danger("backfill beside the column", "om backfilling data", "ALTER TABLE users ADD COLUMN admin boolean", "UPDATE users SET admin = false"),
    danger("reference with index and key", "om adding a reference", "ALTER TABLE projects ADD COLUMN user_id bigint", "CREATE INDEX i ON projects (user_id)", "ALTER TABLE projects ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id)"),
    danger("table made by force", "om creating a table with the force option", "DROP TABLE IF EXISTS payments CASCADE", "CREATE TABLE payments (id bigint PRIMARY KEY)"),
    danger("required column", "dz 9", "ALTER TABLE users ADD COLUMN plan text NOT NULL"),
    danger("unique column", "dz 11", "ALTER TABLE users ADD COLUMN nick text UNIQUE"),
    safe("column", "dz 7", "ALTER TABLE users ADD COLUMN nick text"),
    safe("column with a constant default", "mp handbook 6", "ALTER TABLE orders ADD COLUMN kind text NOT NULL DEFAULT 'pending'"),
    safe("column with now()", "mp handbook 6", "ALTER TABLE orders ADD COLUMN made_at timestamptz DEFAULT now()"),
    safe("several columns", "mp handbook 20", "ALTER TABLE orders ADD COLUMN channel text, ADD COLUMN source text"),
    safe("reference without a key", "om mismatched reference types", "ALTER TABLE projects ADD COLUMN user_id bigint"),
    safe("jsonb column", "om adding a json column", "ALTER TABLE projects ADD COLUMN settings jsonb"),
    safe("time-out and column", "mp handbook 6", "SET LOCAL lock_timeout = '2s'", "ALTER TABLE orders ADD COLUMN public_id uuid"),
    safe("volatile default for new rows", "mp handbook 6", "ALTER TABLE payments ALTER COLUMN id SET DEFAULT floor(random() * 1e9)"),
    safe("set default", "dz 15", "ALTER TABLE users ALTER COLUMN active SET DEFAULT true"),
    safe("drop default", "dz 16", "ALTER TABLE users ALTER COLUMN active DROP DEFAULT"),
    safe("check not valid", "dg add-check-constraint", "ALTER TABLE orders ADD CONSTRAINT check_amount CHECK (amount > 0) NOT VALID"),
    safe("validate a check", "dg add-check-constraint", "ALTER TABLE orders VALIDATE CONSTRAINT orders_amount"),
    safe("check, then validated outside", "om adding a check constraint", "ALTER TABLE users ADD CONSTRAINT name_check CHECK (char_length(name) >= 1) NOT VALID", "ALTER TABLE users VALIDATE CONSTRAINT name_check", outside=True),
    safe("foreign key not valid", "dg add_foreign_key", "ALTER TABLE orders ADD CONSTRAINT fk_user_id FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID"),
    safe("validate a foreign key", "dg add_foreign_key", "ALTER TABLE orders VALIDATE CONSTRAINT orders_user"),
    safe("drop a foreign key", "om removing a table with foreign keys", "ALTER TABLE orders DROP CONSTRAINT orders_project"),
    safe("drop a check", "dz 20", "ALTER TABLE orders DROP CONSTRAINT orders_amount"),
    safe("check of a domain not valid", "dg add-domain-check-constraint", "ALTER DOMAIN positive_int ADD CONSTRAINT pos_check CHECK (VALUE > 0) NOT VALID"),
    safe("not null by a validated check", "ha safe_make_column_not_nullable_from_check_constraint", "ALTER TABLE orders ALTER COLUMN checked SET NOT NULL"),
    safe("index concurrently", "dg adding-index", "CREATE INDEX CONCURRENTLY idx_users_name ON users (name)", outside=True),
    safe("unique index concurrently", "om adding an index", "CREATE UNIQUE INDEX CONCURRENTLY i ON projects (creator_id, created_at)", outside=True),
    safe("new index, then the old one dropped", "om replacing an index", "CREATE INDEX CONCURRENTLY i ON orders (status, user_id)", "DROP INDEX CONCURRENTLY orders_status", outside=True),
    safe("unique by an index", "dg adding-unique-constraint", "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE USING INDEX users_email_idx"),
    safe("primary key by an index", "dg adding-unique-constraint", "ALTER TABLE badges ADD CONSTRAINT badges_pkey PRIMARY KEY USING INDEX badges_id"),
    safe("index only on the parent", "ha safe_add_concurrent_partitioned_index", "CREATE INDEX events_id ON ONLY events (id)"),
    safe("drop index concurrently", "dg dropping-index", "DROP INDEX CONCURRENTLY orders_status", outside=True),
    safe("reindex concurrently", "dg reindexing", "REINDEX INDEX CONCURRENTLY orders_status", outside=True),
    safe("refresh concurrently", "dg refresh-materialized-view", "REFRESH MATERIALIZED VIEW CONCURRENTLY totals", outside=True),
    safe("new table with an index", "om adding an index", "CREATE TABLE notes (id bigint PRIMARY KEY, body text)", "CREATE INDEX notes_body ON notes (body)"),
    safe("new table with an exclusion", "dg add-exclude-constraint", "CREATE TABLE meetings (id bigint PRIMARY KEY, during tstzrange NOT NULL, CONSTRAINT once EXCLUDE USING gist (during WITH &&))"),
    safe("new sequence", "dz 1", "CREATE SEQUENCE tickets"),
    safe("new enum", "ha safe_create_enum_type", "CREATE TYPE colour AS ENUM ('red', 'blue')"),
    safe("enum value", "ha safe_add_enum_value", "ALTER TYPE state ADD VALUE 'archived'"),
    safe("enum value outside", "mp MP012", "ALTER TYPE state ADD VALUE 'archived'", outside=True),
    safe("detach concurrently", "mp handbook 19", "ALTER TABLE events DETACH PARTITION events_2026_07 CONCURRENTLY", outside=True),
    safe("partition prepared", "mp handbook 19", "CREATE TABLE events_2026_11 (LIKE events INCLUDING ALL)"),
    safe("attach with a validated check", "mp handbook 19", "ALTER TABLE events ATTACH PARTITION events_2026_10 FOR VALUES FROM ('2026-10-01') TO ('2026-11-01')"),
    safe("varchar to text", "mp handbook 7", "ALTER TABLE users ALTER COLUMN email TYPE text"),
    safe("longer varchar", "mp handbook 7", "ALTER TABLE users ALTER COLUMN email TYPE varchar(200)"),
    safe("wider numeric", "mp handbook 7", "ALTER TABLE users ALTER COLUMN score TYPE numeric(12, 2)"),
    safe("cidr to inet", "om changing the type", "ALTER TABLE users ALTER COLUMN net TYPE inet"),
    safe("finer timestamp", "om changing the type", "ALTER TABLE users ALTER COLUMN seen TYPE timestamp(6)"),
    safe("a batch", "mp handbook 6", "UPDATE orders SET status = 'x' WHERE id IN (SELECT id FROM orders WHERE status = 'new' ORDER BY id LIMIT 5000)"),
    safe("few rows deleted", "dg mutation-without-where", "DELETE FROM users WHERE deactivated_at < '2020-01-01'"),
    safe("few rows updated", "dg mutation-without-where", "UPDATE users SET active = false WHERE last_login < '2020-01-01'"),
    safe("trigger that keeps a column in step", "mp handbook 7", "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.padding := NEW.name; RETURN NEW; END'", "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep()"),
)  # fmt: skip
