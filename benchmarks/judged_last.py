# ruff: noqa: E501 - a statement is easier to compare on one line
"""A third set for the judgement benchmark, written down before ours had seen any of it.

By tools that neither the first sets nor tests/lint_corpus.py have used:

pf = pgfence, README and rules; at = Atlas, migration analyzers; dl = django-migration-linter,
incompatibilities; sp = safe-pg-migrations, README.

Left out: what these tools say of one another's safe forms as a matter of degree (DROP CONSTRAINT, DROP NOT
NULL, ADD COLUMN ... DEFAULT false), what an earlier set has word for word, and ALTER TABLE ... INHERIT, of
which pgfence says that it reads the table; PostgreSQL does not.
"""

from __future__ import annotations

from benchmarks.judged_statements import danger, safe

JUDGED_LAST = (
    danger("delete where true", "pf delete-without-where", "DELETE FROM badges WHERE 1 = 1"),
    danger("cluster", "pf cluster", "CLUSTER orders USING orders_status"),
    danger("replica identity full", "pf replica-identity-full", "ALTER TABLE users REPLICA IDENTITY FULL"),
    danger("row security without a policy", "pf enable-rls", "ALTER TABLE payments ENABLE ROW LEVEL SECURITY"),
    danger("row security switched off", "pf disable-rls", "ALTER TABLE projects DISABLE ROW LEVEL SECURITY"),
    danger("drop schema", "at DS101", "DROP SCHEMA archive CASCADE"),
    danger("truncate with others", "pf truncate-cascade", "TRUNCATE projects CASCADE"),
    danger("primary key of a nullable column", "at PG304", "ALTER TABLE events_2026_10 ADD PRIMARY KEY (id)"),
    danger("default only for the rows that are there", "dl NOT_NULL", "ALTER TABLE users ADD COLUMN plan varchar(20) DEFAULT 'free' NOT NULL", "ALTER TABLE users ALTER COLUMN plan DROP DEFAULT"),
    danger("shorter varchar", "pf alter-column-type", "ALTER TABLE users ALTER COLUMN email TYPE varchar(60)"),
    danger("another scale", "at PG301", "ALTER TABLE payments ALTER COLUMN amount TYPE numeric(12, 4)"),
    danger("integer to text", "pf alter-column-type", "ALTER TABLE users ALTER COLUMN age TYPE text"),
    danger("check validated in its own transaction", "pf 25", "ALTER TABLE orders ADD CONSTRAINT amount_known CHECK (amount >= 0) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT amount_known"),
    danger("partial index", "at PG101", "CREATE INDEX orders_new ON orders (user_id) WHERE status = 'new'"),
    danger("unique", "dl ADD_UNIQUE", "ALTER TABLE payments ADD CONSTRAINT payments_amount_uniq UNIQUE (amount, id)"),
    danger("reindex table", "dl REINDEX", "REINDEX TABLE projects"),
    safe("table renamed beside a view of the old name", "at BC101", "ALTER TABLE payments RENAME TO paid", "CREATE VIEW payments AS SELECT * FROM paid"),
    safe("not null by part of a check", "at PG303", "ALTER TABLE orders ADD CONSTRAINT amount_set CHECK (amount > 0 AND amount IS NOT NULL) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT amount_set", "ALTER TABLE orders ALTER COLUMN amount SET NOT NULL", outside=True),
    safe("column, then its default", "sp safe add_column", "SET lock_timeout TO '5s'", "ALTER TABLE users ADD COLUMN admin boolean", "ALTER TABLE users ALTER COLUMN admin SET DEFAULT false", outside=True),
    safe("varchar without a length", "pf alter-column-type", "ALTER TABLE users ALTER COLUMN email TYPE varchar"),
    safe("policy, then row security", "pf enable-rls", "CREATE POLICY everybody ON projects USING (true) WITH CHECK (true)", "ALTER TABLE projects ENABLE ROW LEVEL SECURITY"),
    safe("new table changed", "pf visibility", "CREATE TABLE audits (id bigint PRIMARY KEY, user_id bigint, note text)", "ALTER TABLE audits ALTER COLUMN user_id SET NOT NULL", "CREATE INDEX audits_user ON audits (user_id)", "ALTER TABLE audits DROP COLUMN note"),
    safe("replica identity by an index", "pf replica-identity-full", "ALTER TABLE badges REPLICA IDENTITY USING INDEX badges_id"),
    safe("foreign key in two steps", "pf 9", "ALTER TABLE projects ADD CONSTRAINT creator FOREIGN KEY (creator_id) REFERENCES users (id) NOT VALID", "ALTER TABLE projects VALIDATE CONSTRAINT creator", outside=True),
    safe("a batch that skips what is locked", "pf backfill", "UPDATE orders SET checked = 'y' WHERE id IN (SELECT id FROM orders WHERE checked = 'x' LIMIT 1000 FOR UPDATE SKIP LOCKED)"),
    safe("primary key by an index", "at PG104", "CREATE UNIQUE INDEX CONCURRENTLY badges_pkey ON badges (id)", "ALTER TABLE badges ADD PRIMARY KEY USING INDEX badges_pkey", outside=True),
)  # fmt: skip
