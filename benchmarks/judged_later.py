# ruff: noqa: E501 - a statement is easier to compare on one line
"""A second set for the judgement benchmark, written down after the first had changed how we judge.

By tools that neither the first set nor tests/lint_corpus.py has used, and before ours had seen any of it:

eu = eugene, docs/src/hints; ps = pgsafe 0.11, changelog, rules and their tests;
sm = safe-migrate, README and live_tests; sl = safemigrate-lint, README.
"""

from __future__ import annotations

from benchmarks.judged_statements import danger, safe

JUDGED_LATER = (
    danger("check", "eu E1", "ALTER TABLE orders ADD CONSTRAINT status_not_null CHECK (status IS NOT NULL)"),
    danger("foreign key", "sl constraint-not-valid-required", "ALTER TABLE projects ADD CONSTRAINT creator FOREIGN KEY (creator_id) REFERENCES users"),
    danger("set not null", "eu E2", "ALTER TABLE orders ALTER amount SET NOT NULL"),
    danger("json column", "eu E3", "ALTER TABLE projects ADD COLUMN meta json"),
    danger("statement after a lock", "eu E4", "ALTER TABLE badges ADD COLUMN meta jsonb", "SELECT count(*), sum(length(label)) FROM badges"),
    danger("numeric to float", "eu E5", "ALTER TABLE orders ALTER amount SET DATA TYPE double precision"),
    danger("integer to numeric", "eu E5", "ALTER TABLE users ALTER age TYPE numeric"),
    danger("index", "eu E6", "CREATE INDEX projects_title ON projects (title)"),
    danger("unique index", "eu E6", "CREATE UNIQUE INDEX orders_twice ON orders (id, status)"),
    danger("unique", "eu E7", "ALTER TABLE orders ADD CONSTRAINT once UNIQUE (id, user_id)"),
    danger("exclusion", "eu E8", "ALTER TABLE rooms ADD CONSTRAINT single EXCLUDE (room_id WITH =)"),
    danger("rewrite beside another lock", "eu E10", "ALTER TABLE users ADD COLUMN meta jsonb", "ALTER TABLE badges ALTER id SET DATA TYPE numeric"),
    danger("serial", "eu E11", "ALTER TABLE projects ADD COLUMN number serial"),
    danger("stored column", "eu E11", "ALTER TABLE orders ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED"),
    danger("unlogged", "ps set-logged-unlogged", "ALTER TABLE badges SET UNLOGGED"),
    danger("attach as default", "ps attach-partition", "ALTER TABLE events ATTACH PARTITION events_2026_09 DEFAULT"),
    danger("domain not null", "ps add-domain-not-null", "ALTER DOMAIN positive_int SET NOT NULL"),
    danger("check of a domain", "ps add-domain-constraint-without-not-valid", "ALTER DOMAIN positive_int ADD CONSTRAINT small CHECK (VALUE < 1000000)"),
    danger("drop table", "ps drop-table", "DROP TABLE rooms"),
    danger("truncate", "ps truncate", "TRUNCATE badges"),
    danger("drop table with others", "sm destructive-cascade", "DROP TABLE projects CASCADE"),
    danger("detach", "sm blocking-partition-mutation", "ALTER TABLE events DETACH PARTITION events_2026_08"),
    danger("disable triggers", "sm disable-trigger", "ALTER TABLE orders DISABLE TRIGGER ALL"),
    danger("concurrently in a transaction", "sm concurrent-in-transaction", "REINDEX INDEX CONCURRENTLY users_email_idx"),
    danger("vacuum full", "sm vacuum-full", "VACUUM FULL badges", outside=True),
    danger("volatile default", "sm volatile-default", "ALTER TABLE projects ADD COLUMN seen timestamptz DEFAULT clock_timestamp()"),
    danger("drop column", "sl drop-column-restricted", "ALTER TABLE orders DROP COLUMN status"),
    safe("check not valid", "eu E1", "ALTER TABLE orders ADD CONSTRAINT status_not_null CHECK (status IS NOT NULL) NOT VALID"),
    safe("check in two steps", "eu E1", "ALTER TABLE badges ADD CONSTRAINT labelled CHECK (label IS NOT NULL) NOT VALID", "ALTER TABLE badges VALIDATE CONSTRAINT labelled", outside=True),
    safe("not null in three steps", "eu E2", "ALTER TABLE users ADD CONSTRAINT mailed CHECK (email IS NOT NULL) NOT VALID", "ALTER TABLE users VALIDATE CONSTRAINT mailed", "ALTER TABLE users ALTER email SET NOT NULL", outside=True),
    safe("jsonb column", "eu E3", "ALTER TABLE orders ADD COLUMN meta jsonb"),
    safe("column alone", "eu E4", "SET LOCAL lock_timeout = '2s'", "ALTER TABLE badges ADD COLUMN meta text"),
    safe("column of the new type", "eu E5", "ALTER TABLE orders ADD COLUMN new_amount double precision"),
    safe("index concurrently", "eu E6", "CREATE INDEX CONCURRENTLY projects_title ON projects (title)", outside=True),
    safe("unique by an index", "eu E7", "CREATE UNIQUE INDEX CONCURRENTLY projects_once ON projects (id, title)", "ALTER TABLE projects ADD CONSTRAINT once UNIQUE USING INDEX projects_once", outside=True),
    safe("several columns at once", "eu W12", "ALTER TABLE badges ADD COLUMN a integer, ADD COLUMN b integer"),
    safe("new table dropped", "ps drop-table", "CREATE TABLE t (id integer)", "DROP TABLE t"),
    safe("new table emptied", "ps truncate", "CREATE TABLE t (id integer)", "TRUNCATE public.t"),
    safe("new table with key and index", "ps fk-without-covering-index", "CREATE TABLE child (project_id bigint REFERENCES projects)", "CREATE INDEX ON child (project_id)"),
    safe("check of a domain not valid", "ps add-domain-constraint-without-not-valid", "ALTER DOMAIN positive_int ADD CONSTRAINT small CHECK (VALUE < 1000000) NOT VALID"),
    safe("attach after a validated check", "ps attach-partition", "ALTER TABLE events_2026_09 ADD CONSTRAINT bound CHECK (created_at IS NOT NULL AND created_at >= '2026-09-01' AND created_at < '2026-10-01') NOT VALID", "ALTER TABLE events_2026_09 VALIDATE CONSTRAINT bound", "ALTER TABLE events ATTACH PARTITION events_2026_09 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01')", outside=True),
    safe("stable default", "sm 0.4.0", "ALTER TABLE projects ADD COLUMN seen_at timestamptz DEFAULT now()"),
    safe("key to a new table", "sl README", "CREATE TABLE teams (id bigint PRIMARY KEY)", "CREATE TABLE members (id bigint PRIMARY KEY, team_id bigint REFERENCES teams)"),
    safe("foreign key not valid", "sl constraint-not-valid-required", "ALTER TABLE projects ADD CONSTRAINT creator FOREIGN KEY (creator_id) REFERENCES users NOT VALID"),
)  # fmt: skip
