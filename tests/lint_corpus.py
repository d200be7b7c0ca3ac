# ruff: noqa: E501 - a statement is easier to compare on one line
"""SQL with the judgement that the field's documentation gives it, and what a server does with it.

Sources: sq = squawk's rules, dl = django-migration-linter's, sm = strong_migrations' README, eu = eugene's hints, pr = pgroll's documentation,
pg = the PostgreSQL manual (ALTER TABLE, Notes; Explicit Locking), lk = Lockkeeper's own mission.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN label AS text;
CREATE TABLE teams (id bigint PRIMARY KEY, name text);
CREATE TABLE users (
    id bigint PRIMARY KEY, email varchar(100) NOT NULL, name text, age integer, price numeric(10, 2),
    status varchar(20), seen timestamp, seen_at timestamptz, team_id bigint, feeling mood, address cidr,
    checked text CONSTRAINT checked_not_null CHECK (checked IS NOT NULL), quantity integer NOT NULL,
    bits varbit(8), at3 timestamptz(3)
);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, total numeric(10, 2), note text, amount positive);
CREATE INDEX orders_note ON orders (note);
CREATE UNIQUE INDEX orders_total ON orders (total);
CREATE TABLE logs (id bigint NOT NULL, line text);
CREATE UNIQUE INDEX logs_id ON logs (id);
CREATE TABLE events (id bigint, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2025 (id bigint, at date NOT NULL);
CREATE TABLE "Odd Table" (id bigint PRIMARY KEY, "User" bigint);
CREATE VIEW team_names AS SELECT name FROM teams;
CREATE MATERIALIZED VIEW team_count AS SELECT count(*) AS teams FROM teams;
CREATE UNIQUE INDEX team_count_key ON team_count (teams);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER logs_touch BEFORE UPDATE ON logs FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SEQUENCE tickets;
INSERT INTO teams SELECT n, 'team ' || n FROM generate_series(1, 50) AS n;
INSERT INTO users SELECT n, n || '@example.org', 'user', n, n, 'active', now(), now(), n % 50 + 1, 'ok',
    '10.0.0.0/8', 'x', n, B'1', now() FROM generate_series(1, 200) AS n;
INSERT INTO orders SELECT n, n, n, 'note', n FROM generate_series(1, 200) AS n;
INSERT INTO logs SELECT n, 'line' FROM generate_series(1, 200) AS n;
INSERT INTO events_2024 SELECT n, DATE '2024-05-01' FROM generate_series(1, 200) AS n;
INSERT INTO events_2025 SELECT n, DATE '2025-05-01' FROM generate_series(1, 200) AS n;
INSERT INTO "Odd Table" SELECT n, n FROM generate_series(1, 200) AS n;
"""

Kind = Literal["safe", "blocks", "locks", "breaks", "fails", "other"]


@dataclass(frozen=True)
class Case:
    """One labelled text.

    ``kind``: safe; or dangerous because it *blocks* (reads, rewrites or indexes an existing table under a lock
    that writers wait for), *locks* (holds such a lock without need), *breaks* (``victim``, a statement of the
    running application, fails afterwards), *fails* (the server refuses it), or *other* (not to be seen so).
    """

    name: str
    sql: str
    kind: Kind
    rule: str = ""
    source: str = "pg"
    in_transaction: bool = True
    knows_columns: bool = False
    victim: str = ""
    since: int = 14
    observed: bool = True

    @property
    def dangerous(self) -> bool:
        return self.kind != "safe"


def safe(name: str, sql: str, source: str = "pg", **more: object) -> Case:
    return Case(name, sql, "safe", source=source, **more)  # type: ignore[arg-type]


def blocks(name: str, sql: str, rule: str, source: str = "pg", **more: object) -> Case:
    return Case(name, sql, "blocks", rule, source, **more)  # type: ignore[arg-type]


def breaks(name: str, sql: str, rule: str, victim: str, source: str = "sq", **more: object) -> Case:
    return Case(name, sql, "breaks", rule, source, victim=victim, **more)  # type: ignore[arg-type]


def dangerous(kind: Kind, name: str, sql: str, rule: str, source: str = "pg", **more: object) -> Case:
    return Case(name, sql, kind, rule, source, **more)  # type: ignore[arg-type]


OUTSIDE = {"in_transaction": False, "observed": False}

COLUMNS = (
    safe("nullable column", "ALTER TABLE users ADD COLUMN nick text", "sm"),
    safe("column with a constant default", "ALTER TABLE users ADD COLUMN flag boolean DEFAULT false", "sq"),
    safe("required column with a constant default",
         "ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free'", "sq"),
    safe("column with a stable default", "ALTER TABLE users ADD COLUMN made timestamptz DEFAULT now()"),
    safe("column with a computed constant",
         "ALTER TABLE users ADD COLUMN due timestamptz NOT NULL DEFAULT now() + interval '1 day'"),
    safe("column with an empty jsonb", "ALTER TABLE users ADD COLUMN s jsonb NOT NULL DEFAULT '{}'::jsonb", "sm"),
    safe("array column", "ALTER TABLE users ADD COLUMN tags text[] NOT NULL DEFAULT '{}'"),
    safe("column of an enum", "ALTER TABLE users ADD COLUMN m mood DEFAULT 'ok'"),
    safe("column of a free domain", "ALTER TABLE users ADD COLUMN l label", knows_columns=True),
    safe("column if not there", "ALTER TABLE users ADD COLUMN IF NOT EXISTS nick varchar(50)", "sq"),
    safe("current_timestamp", "ALTER TABLE users ADD COLUMN c timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP"),
    safe("virtual column", "ALTER TABLE users ADD COLUMN v integer GENERATED ALWAYS AS (age * 2) VIRTUAL",
         since=18),
    blocks("random default", "ALTER TABLE users ADD COLUMN r float DEFAULT random()", "add-column-rewrite", "sm"),
    blocks("uuid default", "ALTER TABLE users ADD COLUMN u uuid DEFAULT gen_random_uuid()",
           "add-column-rewrite", "sq"),
    blocks("required uuid default", "ALTER TABLE users ADD COLUMN u uuid NOT NULL DEFAULT gen_random_uuid()",
           "add-column-rewrite", "sq"),
    blocks("clock default", "ALTER TABLE users ADD COLUMN c timestamptz DEFAULT clock_timestamp()",
           "add-column-rewrite", "sm"),
    blocks("nextval default", "ALTER TABLE users ADD COLUMN n bigint DEFAULT nextval('tickets')",
           "add-column-rewrite"),
    blocks("bigserial column", "ALTER TABLE users ADD COLUMN n bigserial", "add-column-rewrite", "sm"),
    blocks("identity column", "ALTER TABLE users ADD COLUMN n bigint GENERATED BY DEFAULT AS IDENTITY",
           "add-column-rewrite", "eu"),
    blocks("stored column", "ALTER TABLE users ADD COLUMN g integer GENERATED ALWAYS AS (age * 2) STORED",
           "add-column-rewrite", "sm"),
    blocks("column of a checked domain", "ALTER TABLE users ADD COLUMN p positive", "add-column-rewrite", "pg",
           knows_columns=True),
    blocks("serial primary key column", "ALTER TABLE logs ADD COLUMN n serial PRIMARY KEY",
           "add-column-rewrite", "sq"),
    blocks("unique column", "ALTER TABLE users ADD COLUMN nick text UNIQUE", "unique-without-index", "sq"),
    blocks("checked column", "ALTER TABLE users ADD COLUMN rank integer CHECK (rank > 0)",
           "check-without-not-valid", "sq"),
    dangerous("locks", "referring column", "ALTER TABLE users ADD COLUMN boss bigint REFERENCES teams (id)",
              "add-column-with-foreign-key", "sq"),
    dangerous("fails", "required column", "ALTER TABLE users ADD COLUMN must text NOT NULL",
              "add-required-column", "sq"),
    breaks("json column", "ALTER TABLE users ADD COLUMN j json", "add-json-column",
           "SELECT DISTINCT * FROM users", "sm"),
    blocks("SET NOT NULL", "ALTER TABLE users ALTER COLUMN name SET NOT NULL", "set-not-null-without-check", "sq"),
    safe("SET NOT NULL with a validated check", "ALTER TABLE users ALTER COLUMN checked SET NOT NULL", "sq",
         knows_columns=True),
    safe("SET NOT NULL again", "ALTER TABLE users ALTER COLUMN email SET NOT NULL", "pg", knows_columns=True),
    safe("SET DEFAULT", "ALTER TABLE users ALTER COLUMN status SET DEFAULT 'active'", "sm"),
    safe("volatile SET DEFAULT", "ALTER TABLE users ALTER COLUMN name SET DEFAULT gen_random_uuid()::text", "sq"),
    safe("DROP DEFAULT", "ALTER TABLE users ALTER COLUMN status DROP DEFAULT", "pg"),
    dangerous("fails", "DROP DEFAULT of a new required column",
              "ALTER TABLE users ADD COLUMN must text NOT NULL DEFAULT 'x'; "
              "ALTER TABLE users ALTER COLUMN must DROP DEFAULT", "add-required-column", "dl", observed=False),
    safe("DROP DEFAULT of a new column", "ALTER TABLE users ADD COLUMN may text DEFAULT 'x'; "
         "ALTER TABLE users ALTER COLUMN may DROP DEFAULT", "dl"),
    safe("SET DEFAULT of a new required column", "ALTER TABLE users ADD COLUMN must text NOT NULL DEFAULT 'x'; "
         "ALTER TABLE users ALTER COLUMN must SET DEFAULT 'y'", "dl"),
    safe("SET STATISTICS", "ALTER TABLE users ALTER COLUMN status SET STATISTICS 500"),
    safe("SET STORAGE", "ALTER TABLE users ALTER COLUMN name SET STORAGE EXTERNAL"),
    safe("identity of an existing column",
         "ALTER TABLE users ALTER COLUMN quantity ADD GENERATED BY DEFAULT AS IDENTITY"),
    breaks("DROP COLUMN", "ALTER TABLE users DROP COLUMN name", "drop-column", "SELECT name FROM users", "sm"),
    breaks("DROP COLUMN IF EXISTS", "ALTER TABLE users DROP COLUMN IF EXISTS age", "drop-column",
           "INSERT INTO users (id, email, age, quantity, checked) VALUES (0, '', 1, 1, '')"),
    dangerous("other", "DROP NOT NULL", "ALTER TABLE users ALTER COLUMN email DROP NOT NULL", "drop-not-null", "sq"),
    breaks("RENAME COLUMN", "ALTER TABLE users RENAME COLUMN name TO full_name", "rename-column",
           "SELECT name FROM users", "sm"),
)  # fmt: skip

TYPES = (
    blocks("integer to bigint", "ALTER TABLE users ALTER COLUMN age TYPE bigint", "column-type-change", "sm"),
    blocks("integer to text", "ALTER TABLE users ALTER COLUMN age TYPE text USING age::text",
           "column-type-change", "sm", knows_columns=True),
    blocks("narrower varchar", "ALTER TABLE users ALTER COLUMN status TYPE varchar(10)",
           "column-type-change", "sm", knows_columns=True),
    blocks("text to varchar(n)", "ALTER TABLE users ALTER COLUMN name TYPE varchar(50)",
           "column-type-change", "sm", knows_columns=True),
    blocks("other scale", "ALTER TABLE users ALTER COLUMN price TYPE numeric(12, 4)",
           "column-type-change", "sm", knows_columns=True),
    blocks("text to jsonb", "ALTER TABLE users ALTER COLUMN name TYPE jsonb USING to_jsonb(name)",
           "column-type-change", "eu", knows_columns=True),
    blocks("lower precision", "ALTER TABLE users ALTER COLUMN seen_at TYPE timestamptz(0)",
           "column-type-change", "sm", knows_columns=True),
    blocks("USING that computes", "ALTER TABLE users ALTER COLUMN name TYPE text USING upper(name)",
           "column-type-change", "pg", knows_columns=True),
    blocks("varchar to an enum", "ALTER TABLE users ALTER COLUMN name TYPE mood USING 'ok'::mood",
           "column-type-change", "sq"),
    safe("wider varchar", "ALTER TABLE users ALTER COLUMN status TYPE varchar(50)", "sm", knows_columns=True),
    safe("varchar to text", "ALTER TABLE users ALTER COLUMN status TYPE text", "sm", knows_columns=True),
    safe("varchar without length", "ALTER TABLE users ALTER COLUMN status TYPE varchar", "sm", knows_columns=True),
    safe("text to varchar", "ALTER TABLE users ALTER COLUMN name TYPE varchar", "sm", knows_columns=True),
    safe("higher precision, same scale", "ALTER TABLE users ALTER COLUMN price TYPE numeric(14, 2)", "sm",
         knows_columns=True),
    safe("numeric without precision", "ALTER TABLE users ALTER COLUMN price TYPE numeric", "sm",
         knows_columns=True),
    safe("more precise time", "ALTER TABLE users ALTER COLUMN at3 TYPE timestamptz(6)", "sm", knows_columns=True),
    safe("cidr to inet", "ALTER TABLE users ALTER COLUMN address TYPE inet", "sm", knows_columns=True),
    safe("wider varbit", "ALTER TABLE users ALTER COLUMN bits TYPE varbit(16)", "pg", knows_columns=True),
    safe("wider varchar with a plain USING",
         "ALTER TABLE users ALTER COLUMN status TYPE varchar(50) USING status::varchar(50)", "pg",
         knows_columns=True, observed=False),
)  # fmt: skip

CONSTRAINTS = (
    blocks("CHECK", "ALTER TABLE users ADD CONSTRAINT age_ok CHECK (age > 0)", "check-without-not-valid", "sm"),
    blocks("CHECK without a name", "ALTER TABLE users ADD CHECK (age > 0)", "check-without-not-valid", "sq"),
    safe("CHECK NOT VALID", "ALTER TABLE users ADD CONSTRAINT age_ok CHECK (age > 0) NOT VALID", "sm"),
    blocks("FOREIGN KEY",
           "ALTER TABLE users ADD CONSTRAINT team FOREIGN KEY (team_id) REFERENCES teams (id)",
           "foreign-key-without-not-valid", "sm"),
    safe("FOREIGN KEY NOT VALID",
         "ALTER TABLE users ADD CONSTRAINT team FOREIGN KEY (team_id) REFERENCES teams (id) NOT VALID", "sm"),
    blocks("FOREIGN KEY of an odd table",
           'ALTER TABLE "Odd Table" ADD FOREIGN KEY ("User") REFERENCES users (id)',
           "foreign-key-without-not-valid", "sm"),
    blocks("validated at once",
           "ALTER TABLE users ADD CONSTRAINT age_ok CHECK (age > 0) NOT VALID; "
           "ALTER TABLE users VALIDATE CONSTRAINT age_ok", "validate-in-same-transaction", "sq"),
    safe("VALIDATE", "ALTER TABLE users VALIDATE CONSTRAINT checked_not_null", "sm"),
    blocks("VALIDATE under another lock",
           "ALTER TABLE users ADD COLUMN nick text; ALTER TABLE users VALIDATE CONSTRAINT checked_not_null",
           "lock-held-while-scanning", "eu", observed=False),
    blocks("UNIQUE", "ALTER TABLE users ADD CONSTRAINT email_key UNIQUE (email)", "unique-without-index", "sm"),
    safe("UNIQUE USING INDEX", "ALTER TABLE orders ADD CONSTRAINT orders_u UNIQUE USING INDEX orders_total", "sm"),
    blocks("PRIMARY KEY", "ALTER TABLE logs ADD PRIMARY KEY (id)", "primary-key-without-index", "sq"),
    safe("PRIMARY KEY USING INDEX", "ALTER TABLE logs ADD CONSTRAINT logs_pk PRIMARY KEY USING INDEX logs_id",
         "sq"),
    blocks("EXCLUDE", "ALTER TABLE users ADD CONSTRAINT one EXCLUDE USING btree (email WITH =)",
           "exclusion-constraint", "eu"),
    safe("DROP CONSTRAINT", "ALTER TABLE users DROP CONSTRAINT checked_not_null", "sm"),
    dangerous("other", "drop a primary key", "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
              "drop-primary-key"),
    safe("RENAME CONSTRAINT", "ALTER TABLE users RENAME CONSTRAINT checked_not_null TO c2"),
    safe("NOT NULL NOT VALID", "ALTER TABLE users ADD CONSTRAINT n NOT NULL name NOT VALID", since=18),
    blocks("NOT NULL constraint", "ALTER TABLE users ADD CONSTRAINT n NOT NULL name",
           "set-not-null-without-check", since=18),
    safe("NOT ENFORCED", "ALTER TABLE users ADD CONSTRAINT a CHECK (age > 0) NOT ENFORCED", since=18),
    blocks("domain's CHECK", "ALTER DOMAIN label ADD CONSTRAINT short CHECK (length(VALUE) < 9)",
           "domain-constraint", "sq", observed=False),
    safe("domain's CHECK NOT VALID",
         "ALTER DOMAIN label ADD CONSTRAINT short CHECK (length(VALUE) < 9) NOT VALID"),
)  # fmt: skip

INDEXES = (
    blocks("CREATE INDEX", "CREATE INDEX i ON users (name)", "index-without-concurrently", "sm"),
    blocks("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX i ON users (email)", "index-without-concurrently", "sq"),
    blocks("partial index", "CREATE INDEX i ON users (name) WHERE age > 5", "index-without-concurrently", "sq"),
    blocks("index outside of a transaction", "CREATE INDEX i ON users (name)", "index-without-concurrently", "sq",
           **OUTSIDE),
    safe("CREATE INDEX CONCURRENTLY", "CREATE INDEX CONCURRENTLY i ON users (name)", "sm", **OUTSIDE),
    safe("CREATE UNIQUE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON users (email)",
         "sq", **OUTSIDE),
    dangerous("fails", "CONCURRENTLY in a transaction", "CREATE INDEX CONCURRENTLY i ON users (name)",
              "not-in-transaction", "sq"),
    dangerous("locks", "DROP INDEX", "DROP INDEX orders_note", "drop-index-without-concurrently", "sq"),
    safe("index of a partitioned table only", "CREATE INDEX i ON ONLY events (id)", "pg"),
    safe("DROP INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY IF EXISTS orders_note", "sq", **OUTSIDE),
    dangerous("fails", "DROP INDEX CONCURRENTLY in a transaction", "DROP INDEX CONCURRENTLY orders_note",
              "not-in-transaction", "sq"),
    blocks("REINDEX TABLE", "REINDEX TABLE users", "reindex-without-concurrently", "sq"),
    blocks("REINDEX INDEX", "REINDEX INDEX orders_note", "reindex-without-concurrently", "sq"),
    safe("REINDEX CONCURRENTLY", "REINDEX INDEX CONCURRENTLY orders_note", "sq", **OUTSIDE),
    safe("rename an index", "ALTER INDEX orders_note RENAME TO orders_note_2"),
    safe("statistics object", "CREATE STATISTICS st ON name, age FROM users"),
)  # fmt: skip

TABLES = (
    safe("CREATE TABLE", "CREATE TABLE fresh (id bigint PRIMARY KEY, name text NOT NULL UNIQUE)", "sm"),
    safe("CREATE TABLE with a foreign key",
         "CREATE TABLE fresh (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id))", "sm"),
    safe("all done to a new table",
         "CREATE TABLE fresh (id bigint, a text); CREATE INDEX ON fresh (a); "
         "ALTER TABLE fresh ADD CONSTRAINT a_ok CHECK (a <> ''); ALTER TABLE fresh ALTER COLUMN a SET NOT NULL; "
         "ALTER TABLE fresh ALTER COLUMN id TYPE integer; ALTER TABLE fresh RENAME COLUMN a TO b; "
         "ALTER TABLE fresh ADD PRIMARY KEY (id); UPDATE fresh SET b = ''", "sq"),
    safe("a new table, filled", "CREATE TABLE fresh AS SELECT * FROM teams; CREATE INDEX ON fresh (id)", "pg"),
    dangerous("locks", "PARTITION OF", "CREATE TABLE events_2026 PARTITION OF events "
              "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')", "partition-of-without-attach", "pg"),
    safe("new partition attached", "CREATE TABLE events_2026 (LIKE events); ALTER TABLE events ATTACH PARTITION "
         "events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')", "pg"),
    breaks("DROP TABLE", "DROP TABLE logs", "drop-table", "SELECT 1 FROM logs"),
    breaks("DROP TABLE CASCADE", "DROP TABLE teams CASCADE", "drop-table", "SELECT 1 FROM team_names"),
    breaks("RENAME TABLE", "ALTER TABLE users RENAME TO accounts", "rename-table", "SELECT 1 FROM users", "sm"),
    safe("RENAME TABLE under a view", "ALTER TABLE users RENAME TO accounts; "
         "CREATE VIEW users AS SELECT * FROM accounts", "sm"),
    breaks("SET SCHEMA", "CREATE SCHEMA s; ALTER TABLE users SET SCHEMA s", "rename-table",
           "SELECT 1 FROM users", "pg"),
    dangerous("other", "TRUNCATE", "TRUNCATE users", "truncate", "sq"),
    dangerous("other", "TRUNCATE CASCADE", "TRUNCATE TABLE users CASCADE", "truncate", "sq"),
    dangerous("locks", "LOCK TABLE", "LOCK TABLE users", "lock-table", "pg"),
    dangerous("locks", "LOCK TABLE IN SHARE MODE", "LOCK TABLE users IN SHARE MODE", "lock-table", "pg"),
    safe("weak LOCK TABLE", "LOCK TABLE users IN ROW SHARE MODE", "pg"),
    blocks("SET UNLOGGED", "ALTER TABLE logs SET UNLOGGED", "table-rewrite", "pg"),
    blocks("CLUSTER", "CLUSTER orders USING orders_note", "table-rewrite", "pg"),
    dangerous("other", "SET TABLESPACE", "ALTER TABLE users SET TABLESPACE pg_default", "table-rewrite", "pg"),
    dangerous("other", "VACUUM FULL", "VACUUM FULL users", "table-rewrite", "sq", **OUTSIDE),
    safe("VACUUM", "VACUUM (ANALYZE) users", "pg", **OUTSIDE),
    safe("ANALYZE", "ANALYZE users", "pg"),
    safe("fillfactor", "ALTER TABLE users SET (fillfactor = 80)", "pg"),
    safe("autovacuum settings", "ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.01)", "pg"),
    safe("REPLICA IDENTITY of an index", "ALTER TABLE logs REPLICA IDENTITY USING INDEX logs_id", "pg"),
    blocks("ATTACH PARTITION", "ALTER TABLE events ATTACH PARTITION events_2025 "
           "FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')", "attach-partition-without-check", "pg"),
    dangerous("locks", "DETACH PARTITION", "ALTER TABLE events DETACH PARTITION events_2024",
              "detach-partition-without-concurrently", "sq"),
    safe("DETACH PARTITION CONCURRENTLY", "ALTER TABLE events DETACH PARTITION events_2024 CONCURRENTLY", "sq",
         **OUTSIDE),
    dangerous("locks", "REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW team_count",
              "refresh-without-concurrently", "pg"),
    safe("REFRESH CONCURRENTLY", "REFRESH MATERIALIZED VIEW CONCURRENTLY team_count", "pg", observed=False),
    dangerous("locks", "DISABLE TRIGGER", "ALTER TABLE logs DISABLE TRIGGER ALL", "disable-trigger", "lk"),
    dangerous("other", "row security without a policy", "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
              "row-security", "pg"),
    safe("row security with a policy", "CREATE POLICY p ON users USING (true); "
         "ALTER TABLE users ENABLE ROW LEVEL SECURITY", "pg"),
)  # fmt: skip

DATA = (
    dangerous("other", "UPDATE of all", "UPDATE users SET name = 'x'", "whole-table-write", "sm"),
    dangerous("other", "UPDATE of all that are NULL", "UPDATE users SET name = 'x' WHERE name IS NULL",
              "whole-table-write", "sm"),
    dangerous("other", "DELETE of all", "DELETE FROM logs", "whole-table-write", "sm"),
    dangerous("other", "UPDATE beside DDL",
              "ALTER TABLE users ADD COLUMN plan text; UPDATE users SET plan = 'free'", "write-with-ddl", "sm"),
    dangerous("other", "read beside DDL",
              "ALTER TABLE users ADD COLUMN plan text; SELECT count(*) FROM users",
              "lock-held-while-scanning", "eu"),
    dangerous("other", "UPDATE of all in disguise", "UPDATE users SET name = 'x' WHERE 1 = 1", "whole-table-write", "sm"),
    safe("one row read beside DDL", "ALTER TABLE users ADD COLUMN plan text; SELECT 1 FROM users LIMIT 1", "lk", observed=False),
    safe("UPDATE of one", "UPDATE users SET name = 'x' WHERE id = 5", "sm"),
    safe("UPDATE of a batch", "UPDATE users SET name = 'x' WHERE id BETWEEN 1 AND 1000", "sm"),
    safe("UPDATE of a limited batch",
         "UPDATE users SET name = 'x' WHERE id IN (SELECT id FROM users WHERE name IS NULL LIMIT 1000)", "sm"),
    safe("UPDATE of a batch by CTE", "WITH b AS (SELECT id FROM users WHERE name IS NULL LIMIT 100) UPDATE users SET name = '' FROM b WHERE users.id = b.id", "sm"),
    safe("INSERT", "INSERT INTO teams (id, name) VALUES (1000, 'new')", "pg"),
    safe("INSERT beside DDL", "ALTER TABLE users ADD COLUMN plan text; INSERT INTO teams (id) VALUES (2000)", "pg"),
)  # fmt: skip

OBJECTS = (
    dangerous("other", "domain with a CHECK", "CREATE DOMAIN tall AS integer CHECK (VALUE > 180)", "domain-constraint", "sq"),
    safe("domain without a CHECK", "CREATE DOMAIN words AS text", "sq"),
    safe("transaction as text", "BEGIN; ALTER TABLE users ADD COLUMN nick text; COMMIT", "sq", **OUTSIDE),
    safe("enum value", "ALTER TYPE mood ADD VALUE 'happy'", "pg"),
    dangerous("fails", "enum value used at once",
              "ALTER TYPE mood ADD VALUE 'happy'; UPDATE users SET feeling = 'happy' WHERE id = 1",
              "enum-value-in-same-transaction", "pg"),
    safe("enum made and used", "CREATE TYPE size AS ENUM ('s'); ALTER TYPE size ADD VALUE 'm'; "
         "CREATE TABLE fresh (s size DEFAULT 's')", "pg"),
    breaks("rename an enum value", "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", "rename-object",
           "SELECT 1 FROM users WHERE feeling = 'ok'", "pg"),
    breaks("rename a type", "ALTER TYPE mood RENAME TO spirit", "rename-object", "SELECT 'ok'::mood", "pg"),
    breaks("DROP VIEW", "DROP VIEW team_names", "drop-object", "SELECT 1 FROM team_names", "lk"),
    safe("DROP and CREATE VIEW", "DROP VIEW team_names; CREATE VIEW team_names AS SELECT name, id FROM teams", "pg"),
    safe("CREATE OR REPLACE VIEW", "CREATE OR REPLACE VIEW team_names AS SELECT name, id FROM teams", "pg"),
    breaks("DROP SCHEMA CASCADE", "DROP SCHEMA public CASCADE", "drop-object", "SELECT 1 FROM users", "pg"),
    safe("CREATE FUNCTION", "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "pg"),
    safe("CREATE SEQUENCE", "CREATE SEQUENCE s", "pg"),
    safe("CREATE SCHEMA", "CREATE SCHEMA s", "pg"),
    safe("COMMENT", "COMMENT ON TABLE users IS 'people; -- who pay'", "pg"),
    safe("GRANT", "GRANT SELECT ON users TO CURRENT_USER", "pg"),
    safe("set_config", "SET LOCAL lock_timeout = '1s'", "sq"),
    dangerous("other", "replica role", "SET session_replication_role = replica", "session-replication-role", "lk"),
    dangerous("other", "DROP DATABASE", "DROP DATABASE shop", "drop-object", "sq", **OUTSIDE),
    dangerous("other", "COMMIT as text", "ALTER TABLE users ADD COLUMN n text; COMMIT", "explicit-commit", "lk",
              observed=False),
    blocks("hidden in DO", "DO $$ BEGIN IF true THEN ALTER TABLE users ALTER COLUMN name SET NOT NULL; END IF; "
           "END $$", "set-not-null-without-check", "lk"),
    safe("harmless DO", "DO $$ BEGIN ALTER TABLE users ADD COLUMN n text; END $$", "lk"),
    dangerous("other", "several statements in one",
              "ALTER TABLE users ADD COLUMN status2 varchar(20); UPDATE users SET status2 = 'active' "
              "WHERE status2 IS NULL; ALTER TABLE users ALTER COLUMN status2 SET NOT NULL; "
              "CREATE INDEX i ON users (status2)", "write-with-ddl", "lk"),
)  # fmt: skip

CASES = (*COLUMNS, *TYPES, *CONSTRAINTS, *INDEXES, *TABLES, *DATA, *OBJECTS)
