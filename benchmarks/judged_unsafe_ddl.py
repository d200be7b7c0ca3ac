# ruff: noqa: E501 - a statement is easier to compare on one line
"""A fifth set for the judgement benchmark, written down after what may refute a danger had been decided anew.

By tools and guides that the other sets have not used, and before ours had seen any of it:

pm = pg-migration-lint, docs/rules.md; pv = pgvet, README; ex = excellent_migrations, README; ec = Safe Ecto
Migrations, of fly.io and of ecto_sql's documentation.

All that these judge and that is about a running application or its data, each kind of change once, by the first
that has it, but for what one of them tells apart. What pg-migration-lint's own scale calls "Info" is no judgement
and left out, and so are its rules of types, guards, design and names, statements of which it calls the fix of one
rule what another rule flags, and, of excellent_migrations, modify/3 with a default, whose SQL depends on Ecto.
"""

from __future__ import annotations

from benchmarks.judged_statements import danger, safe

JUDGED_UNSAFE_DDL = (
    danger("index", "pm PGM001", "CREATE INDEX idx_orders_level ON orders (level)"),
    danger("index dropped", "pm PGM002", "DROP INDEX orders_status"),
    danger("detach concurrently in a transaction", "pm PGM003", "ALTER TABLE events DETACH PARTITION events_2026_08 CONCURRENTLY"),
    danger("detach", "pm PGM004", "ALTER TABLE events DETACH PARTITION events_2026_07"),
    danger("attach", "pm PGM005", "ALTER TABLE events ATTACH PARTITION events_2026_09 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01')"),
    danger("volatile default", "pm PGM006", "ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()"),
    danger("type", "pm PGM007", "ALTER TABLE orders ALTER COLUMN amount TYPE bigint"),
    danger("required column", "pm PGM008", "ALTER TABLE orders ADD COLUMN state text NOT NULL"),
    danger("column with a unique index dropped", "pm PGM010", "ALTER TABLE users DROP COLUMN email"),
    danger("column of the primary key dropped", "pm PGM011", "ALTER TABLE payments DROP COLUMN id"),
    danger("column of a foreign key dropped", "pm PGM012", "ALTER TABLE orders DROP COLUMN project_id"),
    danger("not null", "pm PGM013", "ALTER TABLE orders ALTER COLUMN status SET NOT NULL"),
    danger("foreign key", "pm PGM014", "ALTER TABLE projects ADD CONSTRAINT fk_creator FOREIGN KEY (creator_id) REFERENCES users (id)"),
    danger("check", "pm PGM015", "ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN ('new', 'shipped', 'delivered'))"),
    danger("primary key", "pm PGM016", "ALTER TABLE badges ADD PRIMARY KEY (id)"),
    danger("primary key by an index of a nullable column", "pm PGM016", "CREATE UNIQUE INDEX CONCURRENTLY idx_events_pk ON events_2026_10 (id)", "ALTER TABLE events_2026_10 ADD PRIMARY KEY USING INDEX idx_events_pk", outside=True),
    danger("unique", "pm PGM017", "ALTER TABLE users ADD CONSTRAINT uq_email UNIQUE (email)"),
    danger("cluster", "pm PGM018", "CLUSTER orders USING orders_status"),
    danger("exclusion", "pm PGM019", "ALTER TABLE rooms ADD CONSTRAINT excl_overlap EXCLUDE USING gist (during WITH &&)"),
    danger("triggers disabled for a load", "pm PGM020", "ALTER TABLE orders DISABLE TRIGGER ALL", "INSERT INTO orders (id, user_id) VALUES (5000001, 5000001)"),
    danger("vacuum full", "pm PGM021", "VACUUM FULL orders", outside=True),
    danger("reindex", "pm PGM022", "REINDEX TABLE orders"),
    danger("partition dropped", "pm PGM024", "DROP TABLE events_2026_07"),
    danger("partition made in place", "pm PGM024", "CREATE TABLE events_2026_12 PARTITION OF events FOR VALUES FROM ('2026-12-01') TO ('2027-01-01')"),
    danger("table dropped", "pm PGM201", "DROP TABLE rooms"),
    danger("table dropped with others", "pm PGM202", "DROP TABLE projects CASCADE"),
    danger("table emptied", "pm PGM203", "TRUNCATE TABLE payments"),
    danger("table emptied with others", "pm PGM204", "TRUNCATE TABLE projects CASCADE"),
    danger("schema dropped", "pm PGM205", "DROP SCHEMA archive CASCADE"),
    danger("many rows updated", "pm PGM302", "UPDATE users SET deactivated_at = now() WHERE deactivated_at IS NULL"),
    danger("many rows deleted", "pm PGM303", "DELETE FROM events WHERE created_at < '2026-08-01'"),
    danger("column dropped", "pv drop-column", "ALTER TABLE users DROP COLUMN IF EXISTS age"),
    danger("column renamed", "pv rename-column", "ALTER TABLE users RENAME COLUMN name TO full_name"),
    danger("two tables in one transaction", "pv multiple-locks", "ALTER TABLE users ADD COLUMN value text", "ALTER TABLE orders ADD COLUMN value text"),
    danger("reference", "ex adding a reference", "ALTER TABLE projects ADD COLUMN group_id bigint REFERENCES users (id)"),
    danger("backfill beside its column", "ex backfilling data", "ALTER TABLE orders ADD COLUMN new_data text", "UPDATE orders SET new_data = 'some data' WHERE new_data IS NULL"),
    danger("table renamed", "ex renaming a table", "ALTER TABLE payments RENAME TO payouts"),
    danger("index concurrently in a transaction", "ex adding an index concurrently without disabling", "CREATE INDEX CONCURRENTLY users_name_age ON users (name, age)"),
    danger("json column", "ex adding a json column", "ALTER TABLE users ADD COLUMN extra_data json"),
    safe("index concurrently", "pm PGM001", "CREATE INDEX CONCURRENTLY idx_orders_level ON orders (level)", outside=True),
    safe("index of a new table", "pm PGM001", "CREATE TABLE invoices (id bigint PRIMARY KEY, status text)", "CREATE INDEX idx_invoices_status ON invoices (status)"),
    safe("index dropped concurrently", "pm PGM002", "DROP INDEX CONCURRENTLY orders_status", outside=True),
    safe("detach concurrently", "pm PGM004", "ALTER TABLE events DETACH PARTITION events_2026_07 CONCURRENTLY", outside=True),
    safe("attach in three steps", "pm PGM005", "ALTER TABLE events_2026_09 ADD CONSTRAINT events_2026_09_bound CHECK (created_at >= '2026-09-01' AND created_at < '2026-10-01') NOT VALID", "ALTER TABLE events_2026_09 VALIDATE CONSTRAINT events_2026_09_bound", "ALTER TABLE events ATTACH PARTITION events_2026_09 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01')", outside=True),
    safe("column first", "pm PGM006", "ALTER TABLE orders ADD COLUMN token uuid"),
    safe("stable default", "pm PGM006", "ALTER TABLE orders ADD COLUMN noted_at timestamptz DEFAULT statement_timestamp()"),
    safe("volatile default of a new table", "pm PGM006", "CREATE TABLE tokens (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text)"),
    safe("longer varchar", "pm PGM007", "ALTER TABLE users ALTER COLUMN email TYPE varchar(150)"),
    safe("varchar to text", "pm PGM007", "ALTER TABLE users ALTER COLUMN email TYPE text"),
    safe("wider numeric", "pm PGM007", "ALTER TABLE payments ALTER COLUMN amount TYPE numeric(14, 2)"),
    safe("required column with a default", "pm PGM008", "ALTER TABLE orders ADD COLUMN state text NOT NULL DEFAULT 'pending'"),
    safe("not null in four steps", "pm PGM013", "ALTER TABLE orders ADD CONSTRAINT orders_status_nn CHECK (status IS NOT NULL) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT orders_status_nn", "ALTER TABLE orders ALTER COLUMN status SET NOT NULL", "ALTER TABLE orders DROP CONSTRAINT orders_status_nn", outside=True),
    safe("foreign key in two steps", "pm PGM014", "ALTER TABLE projects ADD CONSTRAINT fk_creator FOREIGN KEY (creator_id) REFERENCES users (id) NOT VALID", "ALTER TABLE projects VALIDATE CONSTRAINT fk_creator", outside=True),
    safe("check in two steps", "pm PGM015", "ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN ('new', 'shipped', 'delivered')) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT orders_status_check", outside=True),
    safe("primary key by an index", "pm PGM016", "CREATE UNIQUE INDEX CONCURRENTLY idx_badges_pk ON badges (id)", "ALTER TABLE badges ADD PRIMARY KEY USING INDEX idx_badges_pk", outside=True),
    safe("primary key of a nullable column in six steps", "pm PGM016", "ALTER TABLE events_2026_10 ADD CONSTRAINT events_id_nn CHECK (id IS NOT NULL) NOT VALID", "ALTER TABLE events_2026_10 VALIDATE CONSTRAINT events_id_nn", "ALTER TABLE events_2026_10 ALTER COLUMN id SET NOT NULL", "ALTER TABLE events_2026_10 DROP CONSTRAINT events_id_nn", "CREATE UNIQUE INDEX CONCURRENTLY idx_events_pk ON events_2026_10 (id)", "ALTER TABLE events_2026_10 ADD PRIMARY KEY USING INDEX idx_events_pk", outside=True),
    safe("unique by an index", "pm PGM017", "CREATE UNIQUE INDEX CONCURRENTLY idx_users_email ON users (email)", "ALTER TABLE users ADD CONSTRAINT uq_email UNIQUE USING INDEX idx_users_email", outside=True),
    safe("new table clustered", "pm PGM018", "CREATE TABLE readings (id bigint PRIMARY KEY, value numeric)", "CLUSTER readings USING readings_pkey"),
    safe("new table with an exclusion", "pm PGM019", "CREATE TABLE reservations (id bigint PRIMARY KEY, period tstzrange, CONSTRAINT excl_period EXCLUDE USING gist (period WITH &&))"),
    safe("reindex concurrently", "pm PGM022", "REINDEX TABLE CONCURRENTLY orders", outside=True),
    safe("partition made beside and attached", "pm PGM024", "CREATE TABLE events_2026_12 (LIKE events INCLUDING ALL)", "ALTER TABLE events_2026_12 ADD CONSTRAINT events_2026_12_bound CHECK (created_at >= '2026-12-01' AND created_at < '2027-01-01') NOT VALID", "ALTER TABLE events_2026_12 VALIDATE CONSTRAINT events_2026_12_bound", "ALTER TABLE events ATTACH PARTITION events_2026_12 FOR VALUES FROM ('2026-12-01') TO ('2027-01-01')"),
    safe("table renamed under a view", "pm PGM504", "ALTER TABLE payments RENAME TO payments_v2", "CREATE VIEW payments AS SELECT * FROM payments_v2"),
    safe("nullable column with a default", "pv add-non-null-column", "ALTER TABLE users ADD COLUMN value text DEFAULT '1'"),
    safe("constraint validated later", "pv constraint-excessive-lock", "ALTER TABLE orders VALIDATE CONSTRAINT orders_user"),
    safe("reference not valid", "ex adding a reference", "ALTER TABLE projects ADD COLUMN group_id bigint, ADD CONSTRAINT projects_group_id_fkey FOREIGN KEY (group_id) REFERENCES users (id) NOT VALID"),
    safe("varchar without a length", "ex changing the type of a column", "ALTER TABLE users ALTER COLUMN name TYPE varchar"),
    safe("numeric without a precision", "ex changing the type of a column", "ALTER TABLE users ALTER COLUMN score TYPE numeric"),
    safe("timestamp to timestamptz in UTC", "ex changing the type of a column", "SET LOCAL TIME ZONE 'UTC'", "ALTER TABLE users ALTER COLUMN seen TYPE timestamptz(3)"),
    safe("jsonb column", "ex adding a json column", "ALTER TABLE users ADD COLUMN extra_data jsonb"),
    safe("only the default", "ec changing a column's default value", "ALTER TABLE users ALTER COLUMN active SET DEFAULT false"),
)  # fmt: skip
