"""Every kind of project runs unchanged: planned, upgraded, reverted."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession, MigrationEvent, plan_migration, upgrade
from lockkeeper.config import Policies
from lockkeeper.errors import AlembicProjectError, ConnectionLostError, DatabaseError, MigrationError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import MigrationPlan
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from tests.integration.conftest import MakeProject

TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text !~ '^(pg_|info)'"
)


def run(url: URL, statement: str) -> None:
    with connect(url, "tests") as connection:
        execute(connection, statement)


def tables(url: URL) -> set[str]:
    with connect(url, "tests") as connection:
        return {row[0] for row in fetch_all(connection, TABLES)}


def value(url: URL, query: str) -> Any:
    with connect(url, "tests") as connection:
        return fetch_value(connection, query)


def ids(plan: MigrationPlan) -> list[str]:
    return [step.id for step in plan.steps]


KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "sync_template": ({}, ["a1", "a2"]),
    "async_asyncpg": ({}, ["a1", "a2", "a3"]),
    "async_without_driver": ({}, ["a1", "a2"]),
    "psycopg2": ({}, ["a1", "a2", "a3"]),
    "psycopg3": ({}, ["a1", "a2", "a3"]),
    "url_from_x": ({"x_arguments": {"db": "{url}"}, "url_env": None}, ["a1", "a2"]),
    "url_from_environment": ({"url_env": "SHOP_DSN"}, ["a1", "a2"]),
    "several_heads": ({}, ["a1", "b1", "c1"]),
    "branch_labels": ({}, ["s1", "s2", "b1", "b2"]),
    "depends_on_and_merge": ({}, ["m1", "m2", "n1", "n2", "z1", "z2"]),
    "version_locations": ({}, ["a1", "b1"]),
    "version_table_elsewhere": ({}, ["a1", "a2"]),
    "transaction_per_migration": ({}, ["a1", "a2"]),
    "noisy": ({}, ["a1", "a2"]),
    "engine_of_the_application": ({}, ["a1", "a2"]),
    "async_engine_of_the_application": ({}, ["a1", "a2"]),
    "env_runs_once": ({}, ["a1", "a2"]),
}


def assert_settings_reached_the_migration(url: URL) -> None:
    with connect(url, "tests") as connection:
        seen = dict(fetch_all(connection, "SELECT name, value FROM seen"))
    assert seen == {
        "lock_timeout": "4321ms",
        "statement_timeout": "98765ms",
        "application_name": "lockkeeper:migrate:r1",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_of_any_kind_is_planned_upgraded_and_reverted(
    kind: str, project: MakeProject, database: URL
) -> None:
    settings, revisions = KINDS[kind]
    policies = Policies(lock_timeout_ms=4321, statement_timeout_ms=98765)
    with AlembicSession(
        project(kind, **settings), database, role="migrate", run_id="r1", policies=policies
    ) as session:
        plan = session.plan("heads")
        assert sorted(ids(plan)) == sorted(revisions)
        assert plan.before == ()
        assert plan.reaches_head
        assert not plan.version_table_exists
        assert tables(database) == set(), "a plan writes nothing"
        events: list[MigrationEvent] = []
        timings = session.upgrade(plan, on_event=events.append)
        assert [timing.revision for timing in timings] == ids(plan)
        assert all(timing.duration_s > 0 and timing.attempts == 1 for timing in timings)
        assert [event.kind for event in events] == ["started", "finished"] * len(revisions)
        assert session.current() == plan.after
        if "a3" in revisions:  # it notes the settings of its own session
            assert_settings_reached_the_migration(database)
        assert ids(session.plan("heads")) == []
        reverted = session.downgrade((), drop_version_table=True)
    assert {timing.revision for timing in reverted} == set(revisions)
    assert tables(database) == set()


def test_the_sql_of_each_revision_is_told_without_touching_the_database(
    project: MakeProject, database: URL
) -> None:
    with AlembicSession(project("depends_on_and_merge"), database) as session:
        texts = session.offline_sql(session.plan("head"))
    assert "CREATE TABLE orders" in texts["m2"]
    assert "CREATE TABLE invoices" not in texts["m2"]
    assert len(texts) == 6
    assert tables(database) == set()


def test_plans_follow_ids_partial_ids_labels_and_relative_steps(project: MakeProject, database: URL) -> None:
    with AlembicSession(project("branch_labels"), database, role="migrate", run_id="r1") as session:
        assert ids(session.plan("shop@head")) == ["s1", "s2"]
        assert ids(session.plan("billing@head")) == ["b1", "b2"]
        assert ids(session.plan("b1")) == ["b1"]
        assert ids(session.plan("shop@+1")) == ["s1"]
        assert not session.plan("shop@head").reaches_head
        with pytest.raises(AlembicProjectError, match=r"several heads: (b2, s2|s2, b2)\. Name one"):
            session.plan("head")
        with pytest.raises(AlembicProjectError, match="nonsense"):
            session.plan("nonsense")
        session.upgrade(session.plan("shop@head"))
        assert ids(session.plan("heads")) == ["b1", "b2"]
        assert ids(session.plan("s2")) == []
        with pytest.raises(AlembicProjectError, match="already applied"):
            session.plan("s1")
        with pytest.raises(AlembicProjectError, match="lies behind"):
            session.plan("-1")
        order = [each.id for each in session.history()]
    assert order.index("s1") < order.index("s2")
    assert order.index("b1") < order.index("b2")


def test_dependencies_come_along_and_ambiguous_steps_are_refused(project: MakeProject, database: URL) -> None:
    with AlembicSession(project("depends_on_and_merge"), database) as session:
        plan = session.plan("n2")
        assert set(ids(plan)) == {"m1", "m2", "n1", "n2"}, "a dependency on the other branch comes along"
        assert ids(session.plan("+1")) == ["m1"]
        with pytest.raises(AlembicProjectError, match="Ambiguous walk"):
            session.plan("+2")


def test_a_database_of_another_project_is_refused_by_name(project: MakeProject, database: URL) -> None:
    run(
        database,
        "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('f00')",
    )
    with pytest.raises(AlembicProjectError, match="at revision 'f00', which this project does not have"):
        plan_migration(project("sync_template"), database, "head")


def test_nothing_is_executed_on_another_database_than_the_one_given(
    project: MakeProject, server: EmbeddedPostgres, make_database: Callable[..., URL]
) -> None:
    ours, other = make_database(server), make_database(server)
    settings = project("url_hard_coded")
    hard_coded = settings.config_file.parent / "alembic" / "OTHER_URL"
    hard_coded.write_text(other.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False))
    with AlembicSession(settings, ours, role="migrate", run_id="r1") as session:
        with pytest.raises(AlembicProjectError, match=f"connects to database '{other.database}'.*url_env"):
            session.plan("head")
        plan = session.plan("head", current=[])
        with pytest.raises(AlembicProjectError, match="Nothing was run there"):
            session.upgrade(plan)
    for url in (ours, other):
        assert tables(url) == set()
        assert value(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'audit'") == 0


def test_a_copy_of_the_same_name_on_another_server_is_not_taken_for_the_original(
    project: MakeProject, servers: Callable[[int], EmbeddedPostgres], make_database: Callable[..., URL]
) -> None:
    majors = sorted({16, 18})
    ours, other = (make_database(servers(major), "shop_of_that_name") for major in majors)
    settings = project("url_hard_coded")
    hard_coded = settings.config_file.parent / "alembic" / "OTHER_URL"
    hard_coded.write_text(other.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False))
    with pytest.raises(AlembicProjectError, match="connects to database 'shop_of_that_name'"):
        plan_migration(settings, ours, "head")


def test_an_env_that_never_commits_is_found_out(project: MakeProject, database: URL) -> None:
    with AlembicSession(project("never_commits"), database, role="migrate", run_id="r1") as session:
        with pytest.raises(MigrationError, match="never committed it") as caught:
            session.upgrade(session.plan("head"))
        assert caught.value.revision == "a1"
        assert not caught.value.left_partial
    assert tables(database) == set()


def test_an_env_that_migrates_one_schema_after_the_other_takes_each_step_in_all(
    project: MakeProject, database: URL
) -> None:
    run(database, "CREATE SCHEMA red; CREATE SCHEMA blue")
    with AlembicSession(project("tenants"), database, role="migrate", run_id="r1") as session:
        session.upgrade(session.plan("head"))
        assert session.current() == ("a1",)
        assert value(database, "SELECT count(*) FROM pg_class WHERE relname = 'items'") == 2
        run(database, "DELETE FROM red.alembic_version")
        with pytest.raises(AlembicProjectError, match="not at the same revision"):
            session.current()


def test_differences_from_the_models_are_told_in_sentences(project: MakeProject, database: URL) -> None:
    run(
        database,
        "CREATE TABLE ignored (id int); CREATE TABLE leftover (id int); CREATE INDEX i ON leftover (id)",
    )
    with AlembicSession(project("models_differ"), database, role="migrate", run_id="r1") as session:
        session.upgrade(session.plan("head"))
        found = session.model_differences()
    assert found is not None
    assert set(found) == {
        "table orders is in the models, not in the database",
        "table leftover is in the database, not in the models",
        "index i on leftover is in the database, not in the models",
        "column accounts.phone is in the models, not in the database",
        "column accounts.name may be NULL in the database and is NOT NULL in the models",
        "column accounts.email: type is TEXT in the database and VARCHAR(100) in the models",
    }


def test_a_project_without_models_has_no_differences_to_tell(project: MakeProject, database: URL) -> None:
    with AlembicSession(project("psycopg2"), database) as session:
        assert session.model_differences() is None


def foreign_interpreter(folder: Path) -> Path:
    """Make an interpreter of the project's own: it has Alembic and a driver, and no Lockkeeper."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    here = Path(sysconfig.get_paths()["purelib"])
    there = next((folder / "lib").glob("python*/site-packages"))
    wanted = ("alembic", "sqlalchemy", "mako", "markupsafe", "greenlet", "psycopg2", "psycopg2_binary.libs")
    for name in (*wanted, "typing_extensions.py"):
        if (here / name).exists():
            (there / name).symlink_to(here / name)
    return folder / "bin" / "python"


def test_the_projects_own_interpreter_needs_no_lockkeeper(
    project: MakeProject, database: URL, tmp_path: Path
) -> None:
    python = foreign_interpreter(tmp_path / "venv")
    clean = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    missing = subprocess.run(
        [str(python), "-c", "import lockkeeper"], env=clean, cwd=tmp_path, capture_output=True, text=True
    )
    assert "No module named 'lockkeeper'" in missing.stderr
    settings = project("psycopg2", python=python)
    with AlembicSession(settings, database, role="migrate", run_id="r1") as session:
        session.upgrade(session.plan("head"))
    assert "accounts" in tables(database)


def test_what_is_wrong_with_a_project_is_said(project: MakeProject, database: URL, tmp_path: Path) -> None:
    settings = project("sync_template")
    with pytest.raises(AlembicProjectError, match="no Alembic configuration at"):
        plan_migration(settings.model_copy(update={"config_file": tmp_path / "none.ini"}), database, "head")
    env = settings.config_file.parent / "alembic" / "env.py"
    text = env.read_text()
    env.write_text("import a_module_that_is_missing\n" + text)
    with pytest.raises(AlembicProjectError, match="a_module_that_is_missing"):
        plan_migration(settings, database, "head")
    env.write_text("raise SystemExit('set SOMETHING first')\n" + text)
    with pytest.raises(AlembicProjectError, match="set SOMETHING first"):
        plan_migration(settings, database, "head")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(AlembicProjectError, match=r"exit code 1\. \S+/python has no Alembic: name"):
        plan_migration(settings.model_copy(update={"python": bare / "bin/python"}), database, "head")


def test_a_database_that_cannot_be_reached_or_read_is_said_to_be_so(
    project: MakeProject, database: URL
) -> None:
    with pytest.raises(ConnectionLostError):
        plan_migration(project("psycopg2"), database.set(port=1), "head")
    run(database, "CREATE TABLE alembic_version (version_num varchar(32))")
    name = sql.Identifier(f"reader_{database.database}")
    with connect(database, "tests") as connection:
        execute(connection, sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'canary-reader'").format(name))
    try:
        reader = database.set(username=name.string, password="canary-reader")
        with pytest.raises(DatabaseError, match="permission denied") as caught:
            plan_migration(project("psycopg2"), reader, "head")
        assert caught.value.sqlstate == "42501"
        assert "canary" not in str(caught.value)
    finally:
        with connect(database, "tests") as connection:
            execute(connection, sql.SQL("DROP ROLE {}").format(name))


def test_the_url_is_in_no_argument_and_no_message(project: MakeProject, database: URL) -> None:
    settings = project("url_from_x", x_arguments={"db": "{url}"})
    with AlembicSession(settings, database, role="migrate", run_id="r1") as session:
        pid = session._program.pid
        argv = Path(f"/proc/{pid}/cmdline").read_text()
        assert str(database.password) not in argv
        env = settings.config_file.parent / "alembic" / "env.py"
        env.write_text("from alembic import context\nraise ValueError(context.get_x_argument())\n")
        with pytest.raises(AlembicProjectError) as caught:
            session.plan("head")
    assert "ValueError" in str(caught.value)
    assert str(database.password) not in str(caught.value)


def test_a_plan_that_is_out_of_date_is_refused(project: MakeProject, database: URL) -> None:
    settings = project("psycopg2")
    plan = plan_migration(settings, database, "head")
    upgrade(settings, database, plan, policies=Policies(), run_id="r1")
    with pytest.raises(AlembicProjectError, match="somebody else has migrated"):
        upgrade(settings, database, plan, policies=Policies(), run_id="r2")
