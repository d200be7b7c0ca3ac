"""Two tables, a revision with every online operation, and what the catalog says of both."""

from __future__ import annotations

TABLES = """
CREATE TABLE groups (id integer PRIMARY KEY);
INSERT INTO groups VALUES (1), (2);
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, group_id integer);
INSERT INTO users (email, group_id) SELECT 'user' || n, 1 + n % 2 FROM generate_series(1, 1500) AS n;
"""

ALL = """
op.add_column_online("users", sa.Column("status", sa.String(20), nullable=False, server_default="active",
                                        comment="what's up"))
op.add_column_online("users", sa.Column("token", sa.Uuid, nullable=False,
                                        server_default=sa.text("gen_random_uuid()")))
op.add_column_online("users", sa.Column("handle", sa.Text), backfill="lower(email) || ' 100%:x'")
op.set_not_null_online("users", "group_id")
op.add_foreign_key_online("users_group_fk", "users", "groups", ["group_id"], ["id"], ondelete="CASCADE")
op.add_check_online("users_status_allowed", "users", "status IN ('active', 'gone') AND email NOT LIKE '%:x'")
op.add_unique_online("users_email_key", "users", ["email"], deferrable=True, initially="DEFERRED")
op.create_index_online("users_lower", "users", [sa.text("lower(email)")],
                       postgresql_where=sa.text("status <> 'a'"))
op.create_index_online("users_status", "users", ["status", "id"], postgresql_include=["email"])
op.backfill_online("users", {"status": "'gone'"}, "id <= 10 AND status <> 'gone'")
"""
UNDO = """
op.drop_index_online("users_status", "users")
op.drop_index_online("users_lower")
op.drop_constraint_online("users_email_key", "users", type_="unique")
op.drop_constraint_online("users_status_allowed", "users")
op.drop_constraint_online("users_group_fk", "users")
op.drop_not_null_online("users", "group_id")
for column in ("handle", "token", "status"):
    op.drop_column_online("users", column)
"""
SCHEMA = """
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull::text,
       pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid IN ('users'::regclass, 'groups'::regclass) AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid),
       convalidated::text, '', ''
FROM pg_constraint WHERE conrelid IN ('users'::regclass, 'groups'::regclass)
UNION ALL
SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid),
       indisvalid::text, '', '' FROM pg_index WHERE indrelid IN ('users'::regclass, 'groups'::regclass)
ORDER BY 1, 2, 3
"""
