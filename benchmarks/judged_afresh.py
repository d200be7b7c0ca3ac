# ruff: noqa: E501 - a statement is easier to compare on one line
"""A fourth set for the judgement benchmark, written down after the third had changed how we judge.

By tools and guides that the other sets have not used, and before ours had seen any of it:

na = nandi, README; zd = zero_downtime_migrations, README;
gl = GitLab, development/database: avoiding downtime in migrations, migration style guide.
"""

from __future__ import annotations

from benchmarks.judged_statements import danger, safe

JUDGED_AFRESH = (
    danger("reference with its key", "na what does it do", "ALTER TABLE orders ADD COLUMN buyer_id bigint REFERENCES users (id)"),
    danger("column not null", "na change_column", "ALTER TABLE users ALTER COLUMN active SET NOT NULL"),
    danger("column unique", "na change_column", "ALTER TABLE users ADD CONSTRAINT age_once UNIQUE (id, age)"),
    danger("column of another type", "na change_column", "ALTER TABLE payments ALTER COLUMN amount TYPE bigint"),
    danger("index", "zd add_index", "CREATE INDEX users_name ON users (name)"),
    danger("schema, data and index in one", "zd mixing migrations", "ALTER TABLE users ADD COLUMN published boolean", "UPDATE users SET published = true", "CREATE INDEX users_published ON users (published)"),
    danger("column renamed", "gl renaming columns", "ALTER TABLE projects RENAME COLUMN title TO name"),
    danger("table renamed", "gl renaming tables", "ALTER TABLE payments RENAME TO payouts"),
    danger("column dropped", "gl dropping columns", "ALTER TABLE users DROP COLUMN padding"),
    danger("table dropped", "gl dropping tables", "DROP TABLE badges"),
    danger("integer to bigint", "gl migrating integer primary keys", "ALTER TABLE users ALTER COLUMN age TYPE bigint"),
    danger("foreign key", "gl adding foreign keys", "ALTER TABLE payments ADD CONSTRAINT paid FOREIGN KEY (id) REFERENCES projects (id)"),
    danger("index dropped", "gl removing indexes", "DROP INDEX orders_status"),
    danger("every row updated", "gl updating an existing column", "UPDATE users SET active = false"),
    danger("length checked at once", "gl text limits", "ALTER TABLE users ADD CONSTRAINT name_length CHECK (char_length(name) <= 255)"),
    danger("default of a new column removed at once", "gl removing the column default", "ALTER TABLE projects ADD COLUMN kind smallint NOT NULL DEFAULT 0", "ALTER TABLE projects ALTER COLUMN kind DROP DEFAULT"),
    danger("primary key in one go", "gl swapping primary key", "ALTER TABLE badges ADD CONSTRAINT badges_pkey PRIMARY KEY (id)"),
    safe("table", "na create_table", "CREATE TABLE widgets (id bigint PRIMARY KEY, name text, price integer, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL)"),
    safe("index concurrently", "na add_index", "CREATE INDEX CONCURRENTLY users_name_age ON users (name, age)", outside=True),
    safe("foreign key not valid", "na add_foreign_key", "ALTER TABLE payments ADD CONSTRAINT paid FOREIGN KEY (id) REFERENCES projects (id) NOT VALID"),
    safe("foreign key validated", "na validate_constraint", "ALTER TABLE orders VALIDATE CONSTRAINT orders_user"),
    safe("nullable column", "na add_column", "ALTER TABLE orders ADD COLUMN remark text"),
    safe("foreign key dropped", "na drop_foreign_key", "ALTER TABLE orders DROP CONSTRAINT orders_project"),
    safe("index dropped concurrently", "na remove_index", "DROP INDEX CONCURRENTLY orders_status", outside=True),
    safe("default for new rows", "zd add_column", "ALTER TABLE projects ALTER COLUMN title SET DEFAULT 'none'"),
    safe("a batch", "zd add_column", "UPDATE projects SET title = 'published' WHERE id BETWEEN 1 AND 1000"),
    safe("column without a default", "zd add_column", "ALTER TABLE projects ADD COLUMN published boolean"),
    safe("length checked later", "gl text limits", "ALTER TABLE users ADD CONSTRAINT name_length CHECK (char_length(name) <= 255) NOT VALID"),
    safe("table beside others", "gl adding tables", "CREATE TABLE notes (id bigint PRIMARY KEY, user_id bigint NOT NULL, body text)", "CREATE INDEX notes_user ON notes (user_id)"),
    safe("required column with a default", "gl adding columns with default values", "ALTER TABLE users ADD COLUMN admin boolean DEFAULT false NOT NULL"),
    safe("unique index concurrently", "gl adding indexes", "CREATE UNIQUE INDEX CONCURRENTLY rooms_number ON rooms (room_id)", outside=True),
)  # fmt: skip
