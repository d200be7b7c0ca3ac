"""Online operations through a real Alembic, every server and driver: what they make, and made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ops_project import Project, query
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.ops import (
    DefinitionConflictError,
    InvalidDataError,
    LockPolicy,
    NotOnlineError,
    UncommittedWorkError,
)

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


@pytest.fixture
def project(tmp_path: Path, database: URL) -> Project:
    query(database, TABLES)
    return Project(tmp_path, database)


def test_every_operation_does_its_work_and_undoes_it(
    tmp_path: Path, every_server: EmbeddedPostgres, make_database: Callable[..., URL]
) -> None:
    url = make_database(every_server)
    query(url, TABLES)
    project = Project(tmp_path, url)
    before = query(url, SCHEMA)
    project.revision("a1", ALL, UNDO)
    project.upgrade()
    after = {row[2]: row for row in query(url, SCHEMA)}
    assert after["status"][3:] == (
        "character varying(20)",
        "true",
        "'active'::character varying",
        "what's up",
    )
    assert after["token"][3:6] == ("uuid", "true", "gen_random_uuid()")
    assert after["group_id"][4] == "true"
    assert after["users_group_fk"][3:5] == (
        "FOREIGN KEY (group_id) REFERENCES groups(id) ON DELETE CASCADE", "true",
    )  # fmt: skip
    assert after["users_status_allowed"][4] == "true"
    assert (
        "INITIALLY DEFERRED" in after["users_email_key"][3] or "CREATE UNIQUE" in after["users_email_key"][3]
    )
    assert "INCLUDE (email)" in after["users_status"][3]
    assert "lower(email)" in after["users_lower"][3]
    assert not [name for name in after if "lockkeeper" in name]
    counts = "SELECT count(*), count(DISTINCT token), count(*) FILTER (WHERE status = 'gone') FROM users"
    assert query(url, counts) == [(1500, 1500, 10)]
    assert query(url, "SELECT handle FROM users WHERE id = 7") == [("user7 100%:x",)]
    project.downgrade("base")
    assert query(url, SCHEMA) == before


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "asyncpg"])
@pytest.mark.parametrize("per_migration", [True, False])
def test_any_driver_and_either_kind_of_transaction(
    project: Project, driver: str, per_migration: bool
) -> None:
    project.driver, project.per_migration = driver, per_migration
    project.revision("a0", 'op.create_table("notes", sa.Column("id", sa.Integer))', 'op.drop_table("notes")')
    project.revision("a1", ALL, UNDO)
    project.revision("a2", 'op.create_index_online("notes_id", "notes", ["id"])\nop.execute("SELECT 1")')
    project.upgrade()
    assert project.current() == "a2"
    project.downgrade("base")
    assert query(project.url, "SELECT to_regclass('notes'), to_regclass('users_status')") == [(None, None)]


def test_killed_before_any_statement_the_next_run_ends_the_same(project: Project) -> None:
    project.revision("a1", ALL)
    project.upgrade()
    complete = query(project.url, SCHEMA)
    kills = 0
    while True:
        query(project.url, "DROP TABLE users, groups, alembic_version CASCADE;" + TABLES)
        if not project.upgrade_killed_at(kills + 1):
            break
        kills += 1
        project.upgrade()
        assert query(project.url, SCHEMA) == complete, f"killed before changing statement {kills}"
        assert query(project.url, "SELECT count(*) FROM users WHERE handle IS NULL OR token IS NULL") == [
            (0,)
        ]
    assert kills > 20


def test_run_again_after_a_later_failure_nothing_is_built_twice(project: Project) -> None:
    project.revision("a1", ALL)
    project.upgrade()
    built = query(project.url, "SELECT oid FROM pg_class WHERE relname LIKE 'users%' ORDER BY oid")
    project.stamp("base")
    project.upgrade()
    assert query(project.url, "SELECT oid FROM pg_class WHERE relname LIKE 'users%' ORDER BY oid") == built


def test_ordinary_operations_come_after_online_ones_or_are_refused(project: Project) -> None:
    project.revision(
        "a1", 'op.execute("CREATE TABLE early (id int)")\nop.create_index_online("i", "users", ["email"])'
    )
    for per_migration in (True, False):
        project.per_migration = per_migration
        with pytest.raises(UncommittedWorkError, match="first in upgrade"):
            project.upgrade()
        assert query(project.url, "SELECT to_regclass('early'), to_regclass('i')") == [(None, None)]


def test_in_a_chained_transaction_earlier_revisions_are_committed_whole(project: Project) -> None:
    project.per_migration = False
    project.revision("a1", 'op.execute("CREATE TABLE early (id int)")')
    project.revision("a2", 'op.create_index_online("i", "users", ["email"])\nop.execute("SELECT 1/0")')
    with pytest.raises(Exception, match="division by zero"):
        project.upgrade()
    assert query(project.url, "SELECT to_regclass('early')::text, to_regclass('i')::text") == [("early", "i")]
    assert project.current() == "a1"
    project.revision("a3", 'op.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$")\n'
                     'op.create_index_online("j", "users", ["email"])')  # fmt: skip
    (project.folder / "versions" / "a2.py").write_text(
        (project.folder / "versions" / "a2.py").read_text().replace("1/0", "1")
    )
    with pytest.raises(UncommittedWorkError):
        project.upgrade()
    assert query(project.url, "SELECT to_regclass('j')") == [(None,)]


def test_a_transaction_that_alembic_did_not_begin_is_refused(project: Project) -> None:
    project.foreign_transaction = True
    project.revision("a1", 'op.create_index_online("i", "users", ["email"])')
    with pytest.raises(UncommittedWorkError, match="begun outside of Alembic"):
        project.upgrade()


def test_inside_the_users_own_autocommit_block(project: Project) -> None:
    project.revision(
        "a1", 'with op.get_context().autocommit_block():\n    op.create_index_online("i", "users", ["email"])'
    )
    project.upgrade()
    assert query(project.url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


def test_an_invalid_leftover_is_built_again(project: Project) -> None:
    query(project.url, "CREATE INDEX i ON users (email)")
    query(project.url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass")
    project.revision("a1", 'op.create_index_online("i", "users", ["email", "id"])')
    project.upgrade()
    rows = query(project.url, "SELECT indisvalid, indnatts FROM pg_index WHERE indexrelid = 'i'::regclass")
    assert rows == [(True, 2)]


@pytest.mark.parametrize(
    ("taken", "operation"),
    [
        ("CREATE INDEX i ON users (id)", 'op.create_index_online("i", "users", ["email"])'),
        ("CREATE INDEX i ON users (email)", 'op.create_index_online("i", "users", ["email"], unique=True)'),
        ("CREATE INDEX i ON groups (id)", 'op.create_index_online("i", "users", ["id"])'),
        ("CREATE VIEW i AS SELECT 1", 'op.create_index_online("i", "users", ["id"])'),
        (
            "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0)",
            'op.add_check_online("c", "users", "id > 1")',
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT c FOREIGN KEY (group_id) REFERENCES groups ON DELETE CASCADE",
            'op.add_foreign_key_online("c", "users", "groups", ["group_id"], ["id"])',
        ),
        (
            "ALTER TABLE users ADD status text",
            'op.add_column_online("users", sa.Column("status", sa.Integer))',
        ),
    ],
)
def test_something_else_under_the_name_is_refused(project: Project, taken: str, operation: str) -> None:
    query(project.url, taken)
    before = query(project.url, SCHEMA)
    project.revision("a1", operation)
    with pytest.raises(DefinitionConflictError, match="already there, and different"):
        project.upgrade()
    assert query(project.url, SCHEMA) == before


@pytest.mark.parametrize(
    ("spoil", "operation", "finds"),
    [
        ("UPDATE users SET email = 'user1' WHERE id < 3",
         'op.add_unique_online("u", "users", ["email"])', 1),
        ("UPDATE users SET group_id = 7 WHERE id < 3",
         'op.add_foreign_key_online("f", "users", "groups", ["group_id"], ["id"])', 2),
        ("UPDATE users SET group_id = 7 WHERE id < 3",
         'op.add_check_online("c", "users", "group_id < 7")', 2),
        ("UPDATE users SET group_id = NULL WHERE id < 3", 'op.set_not_null_online("users", "group_id")', 2),
    ],
)  # fmt: skip
def test_rows_that_contradict_leave_everything_as_it_was(
    tmp_path: Path, every_server: EmbeddedPostgres, make_database: Callable[..., URL],
    spoil: str, operation: str, finds: int,
) -> None:  # fmt: skip
    url = make_database(every_server)
    query(url, TABLES)
    query(url, spoil)
    before = query(url, SCHEMA)
    project = Project(tmp_path, url)
    project.revision("a1", operation)
    with pytest.raises(InvalidDataError) as caught:
        project.upgrade()
    assert query(url, SCHEMA) == before
    assert len(query(url, caught.value.query)) == finds


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ('op.add_column_online("users", sa.Column("c", sa.Text, nullable=False))', "server_default=..."),
        (
            'op.add_column_online("users", sa.Column("c", sa.Text, sa.Computed("email", persisted=True)))',
            "rewrite",
        ),
        ('op.add_column_online("users", sa.Column("c", sa.Integer, sa.ForeignKey("groups.id")))', "bare"),
        ('op.backfill_online("loose", {"a": "1"}, "a IS NULL")', "no primary key"),
    ],
)
def test_what_cannot_be_done_online_is_refused_with_the_way_out(
    project: Project, operation: str, message: str
) -> None:
    query(project.url, "CREATE TABLE loose (a int) PARTITION BY RANGE (a)")
    project.revision("a1", operation)
    with pytest.raises(NotOnlineError, match=message):
        project.upgrade()


def test_a_backfill_that_never_ends_is_stopped(project: Project) -> None:
    project.revision("a1", 'op.backfill_online("users", {"email": "email"}, "id <= 5", batch_rows=2)')
    with pytest.raises(InvalidDataError, match="15 rows written"):
        project.upgrade()


def test_a_backfill_of_a_table_without_a_key_goes_by_pages(project: Project) -> None:
    query(project.url, "CREATE TABLE loose AS SELECT n, NULL::int AS v FROM generate_series(1, 3000) AS n")
    project.revision("a1", 'op.backfill_online("loose", {"v": "n"}, "v IS NULL")')
    project.upgrade()
    assert query(project.url, "SELECT count(*), count(*) FILTER (WHERE v = n) FROM loose") == [(3000, 3000)]


def test_a_backfill_names_the_row_that_fails(project: Project) -> None:
    query(project.url, "ALTER TABLE users ADD v int")
    project.revision("a1", 'op.backfill_online("users", {"v": "100 / (id - 7)"}, "v IS NULL")')
    with pytest.raises(InvalidDataError, match="row with id = 7: division by zero"):
        project.upgrade()


def test_backfill_goes_by_any_key(project: Project) -> None:
    query(
        project.url,
        """CREATE TABLE pairs (a text COLLATE "C", b timestamptz, v int, UNIQUE (b, a));
        ALTER TABLE pairs ALTER a SET NOT NULL, ALTER b SET NOT NULL;
        INSERT INTO pairs SELECT E'it''s \\\\ ' || n, now() + n * interval '1.000001 s'
        FROM generate_series(1, 100) AS n""",
    )
    project.revision("a1", 'op.backfill_online("pairs", {"v": sa.literal(3) + 4}, "v IS NULL", batch_rows=7)')
    project.upgrade()
    assert query(project.url, "SELECT v, count(*) FROM pairs GROUP BY 1") == [(7, 100)]


def test_set_not_null_believes_the_check_and_reads_nothing(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    query(project.url, f"ALTER DATABASE {project.url.database} SET client_min_messages = debug1")
    project.revision("a1", 'op.set_not_null_online("users", "group_id")')
    with caplog.at_level("INFO", logger="sqlalchemy.dialects.postgresql"):  # repeats the server's notices
        project.upgrade()
    assert "are sufficient to prove that it does not contain nulls" in caplog.text


def test_partitioned_tables(
    tmp_path: Path, every_server: EmbeddedPostgres, make_database: Callable[..., URL]
) -> None:
    url = make_database(every_server)
    query(url, TABLES)
    query(
        url,
        """CREATE TABLE events (id int, day int NOT NULL, kind text) PARTITION BY RANGE (day);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
        CREATE TABLE "Events 2" PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY LIST (kind);
        CREATE TABLE events_2a PARTITION OF "Events 2" FOR VALUES IN ('a');
        INSERT INTO events SELECT n % 2 + 1, n % 20, 'a' FROM generate_series(0, 19) AS n;""",
    )
    project = Project(tmp_path, url)
    project.revision(
        "a1",
        """
        op.create_index_online("events_kind", "events", ["kind"])
        op.add_unique_online("events_key", "events", ["id", "day", "kind"])
        op.add_foreign_key_online("events_fk", "events", "groups", ["id"], ["id"])
        op.set_not_null_online("events", "id")
        op.add_column_online("events", sa.Column("note", sa.Text, nullable=False, server_default="-"))
        """,
        'op.drop_index_online("events_kind", "events")',
    )
    project.upgrade()
    facts = "SELECT count(*), bool_and(indisvalid) FROM pg_index JOIN pg_class c ON c.oid = indrelid "
    assert query(url, facts + "WHERE c.relname ILIKE 'events%'") == [(8, True)]
    constraints = "SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'events'::regclass "
    assert dict(query(url, constraints + "AND contype IN ('u', 'f')")) == {
        "events_key": True,
        "events_fk": True,
    }
    project.stamp("base")
    project.upgrade()
    project.downgrade("base")
    assert query(url, "SELECT count(*) FROM pg_class WHERE relname LIKE 'events_kind%'") == [(0,)]


def test_names_that_need_quotes(project: Project) -> None:
    query(project.url, """CREATE SCHEMA "Größe %s";
        CREATE TABLE "Größe %s"."User's ""T"" :x" (id int PRIMARY KEY);
        INSERT INTO "Größe %s"."User's ""T"" :x" SELECT generate_series(1, 50)""")  # fmt: skip
    project.revision(
        "a1",
        """
        where = {"schema": "Größe %s"}
        table = 'User\\'s "T" :x'
        op.add_column_online(table, sa.Column("Spalte %", sa.Text, server_default="100% :y"), **where)
        op.add_column_online(table, sa.Column("select", sa.Uuid, nullable=False,
                             server_default=sa.text("gen_random_uuid()")), batch_rows=9, **where)
        op.create_index_online("Größe ON x", table, ["Spalte %"], **where)
        op.create_index_online("Größe ON x", table, ["Spalte %"], **where)
        op.add_check_online("c%", table, '"Spalte %" <> \\'%s :x\\'', **where)
        op.add_check_online("c%", table, '"Spalte %" <> \\'%s :x\\'', **where)
        op.add_unique_online("ü" * 40, table, ["select"], **where)
        op.set_not_null_online(table, "Spalte %", **where)
        """,
        """
        table = 'User\\'s "T" :x'
        op.drop_index_online("Größe ON x", table, schema="Größe %s")
        op.drop_column_online(table, "Spalte %", schema="Größe %s")
        """,
    )
    project.upgrade()
    count = """SELECT count(DISTINCT "select"), min("Spalte %") FROM "Größe %s"."User's ""T"" :x\""""
    assert query(project.url, count) == [(50, "100% :y")]
    project.downgrade("base")


def test_offline_sql_does_the_same(project: Project) -> None:
    project.revision("a1", ALL)
    project.upgrade()
    online = query(project.url, SCHEMA)
    query(project.url, "DROP TABLE users, groups, alembic_version CASCADE;" + TABLES)
    for statement in _statements(project.sql()):
        query(project.url, statement)
    assert query(project.url, SCHEMA) == online
    assert query(project.url, "SELECT count(*) FROM users WHERE handle IS NULL OR token IS NULL") == [(0,)]


def _statements(script: str) -> list[str]:
    """What psql would send one by one; BEGIN and COMMIT of Alembic's own are left out (each commits here)."""
    parts: list[str] = []
    inside = False
    for line in script.splitlines():
        if not inside and (not line.strip() or line.startswith(("--", "BEGIN;", "COMMIT;"))):
            continue
        if not parts or parts[-1].endswith("\x00"):
            parts.append("")
        inside = inside != (line.count("$lockkeeper$") % 2 == 1)
        parts[-1] += line + "\n"
        if line.rstrip().endswith(";") and not inside:
            parts[-1] += "\x00"
    return [part.rstrip("\x00") for part in parts]


def test_a_policy_of_the_project_is_used(project: Project) -> None:
    statements: list[str] = []
    project.policy = LockPolicy(lock_timeout_ms=37)
    project.listener = lambda _c, _k, statement, *_: statements.append(statement)
    project.revision("a1", 'op.drop_not_null_online("users", "email")')
    project.upgrade()
    assert any("set_config('lock_timeout', '37ms', true)" in statement for statement in statements)
    query(project.url, f"ALTER DATABASE {project.url.database} SET lock_timeout = '11ms'")
    project.stamp("base")
    project.upgrade()
    assert any("set_config('lock_timeout', '11ms', true)" in statement for statement in statements)
