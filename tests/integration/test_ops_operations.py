"""What online operations make through a real Alembic, on every server and driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ops_project import Project, query
from ops_tables import ALL, SCHEMA, TABLES, UNDO
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.ops import LockPolicy


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
