"""Backups of real databases to real storage: made, proven, found out, and gone when interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import plan_migration, upgrade
from lockkeeper.backup import (
    Progress,
    create_backup,
    expire_backups,
    latest_verified,
    list_backups,
    load_manifest,
    verify_backup,
)
from lockkeeper.backup.manifest import dump_key
from lockkeeper.config import AlembicSettings, Target
from lockkeeper.engine import Engine
from lockkeeper.errors import (
    BackupError,
    BackupNotFoundError,
    ConfigurationError,
)
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.local.s3_server import EmbeddedS3
from lockkeeper.models import BackupManifest, BackupState
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.storage import open_storage
from tests.integration.restorable import SMALL

SMALL_FILE_BYTES = 16 * 2**20
RICH_SCHEMA = (Path(__file__).parent / "fingerprint_data" / "rich_schema.sql").read_text()
EXTRAS = """
SELECT lo_from_bytea(0, decode(md5(n::text), 'hex')) FROM generate_series(1, 20) AS n;
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN IF tg_tag IN ('ALTER TABLE', 'COMMENT') THEN RAISE EXCEPTION 'no % by hand', tg_tag; END IF; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION shop.on_ddl();
COMMENT ON EVENT TRIGGER watch IS 'fires for no restore: it comes last';
CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p
    WITH (connect = false, slot_name = NONE);
"""


def rich_database(server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    url = make_database(server)
    with connect(url, "tests") as connection:
        for role in ("lk_reader", "lk_owner"):
            if not fetch_value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", (role,)):
                execute(connection, sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        execute(connection, RICH_SCHEMA)
        execute(connection, EXTRAS)
    return url


def drop_subscription(url: URL) -> None:
    with connect(url, "tests") as connection:
        execute(connection, "DROP SUBSCRIPTION feed")


def test_a_rich_database_makes_the_round_trip(
    every_server: EmbeddedPostgres,
    make_database: Callable[..., URL],
    make_target: Callable[..., Target],
    s3: EmbeddedS3,
):
    url = rich_database(every_server, make_database)
    target = make_target(url, s3.settings("round-trip", prefix=f"pg{every_server.major}"))
    try:
        made = create_backup(target, run_id="r1")
        assert made.state is BackupState.UPLOADED
        verified, verification = verify_backup(target, made.id, run_id="r1")
    finally:
        drop_subscription(url)
    assert verified.state is BackupState.VERIFIED
    assert latest_verified(target) == verified
    assert made.data_fingerprint is not None
    assert verification.tables == len(made.data_fingerprint.tables)
    assert verification.rows == sum(item.rows for item in made.data_fingerprint.tables.values()) > 1000
    assert made.data_fingerprint.large_objects is not None
    assert made.data_fingerprint.large_objects.rows == 22
    assert "CREATE ROLE lk_owner" in str(made.roles_sql)
    assert list_leftovers(target.maintenance_url, target.database) == []


def test_the_manifest_says_what_was_backed_up(small: Target):
    made = create_backup(small, run_id="r1")
    assert made.revisions == ("abc123",)
    assert made.write_counters is not None
    assert made.write_counters["public.t"] == (1000, 0, 0)
    assert made.size_bytes == open_storage(small.storage).size(str(made.dump_key))
    assert made.layout.keys() == {"public.t", "public.alembic_version"}
    assert made.tool_versions["pg_dump"].startswith("16.")
    assert load_manifest(small, made.id) == made


def test_the_manifest_has_the_revision_wherever_the_project_keeps_it(
    database: URL, project: Callable[..., AlembicSettings], make_target: Callable[..., Target]
):
    settings = project("version_table_elsewhere")
    target = make_target(database, alembic=settings)
    plan = plan_migration(settings, database, "head")
    upgrade(settings, database, plan, policies=target.policies, run_id="r1")
    with connect(database, "tests") as connection:  # which another project keeps in the same database
        execute(connection, "CREATE TABLE alembic_version AS SELECT 'another' AS version_num")
    assert Engine(target, "r1").back_up().revisions == plan.after != ()


def test_a_project_that_cannot_be_loaded_does_not_cost_the_nightly_backup(
    small: Target, project: Callable[..., AlembicSettings]
):
    settings = project("version_table_elsewhere")
    (settings.config_file.parent / "alembic" / "env.py").write_text("raise RuntimeError('half deployed')")
    said: list[str] = []
    target = small.model_copy(update={"alembic": settings})
    made = Engine(target, "r1", lambda step, message: said.append(f"{step}: {message}")).back_up()
    assert made.state is BackupState.UPLOADED
    assert made.revisions == ("abc123",), "the usual name is what is left to look for"
    assert any("half deployed" in line for line in said)


def test_a_backup_is_the_database_of_one_moment_while_others_write(small: Target, tmp_path: Path):
    with connect(small.url, "tests") as writer:

        def write(_progress: Progress) -> None:
            execute(writer, "INSERT INTO t SELECT max(id) + 1, 'later' FROM t")

        made = create_backup(small, run_id="r1", progress=write)
    assert made.data_fingerprint is not None
    assert made.data_fingerprint.tables["public.t"].rows == 1000
    verify_backup(small, made.id, run_id="r1")


def test_an_unknown_backup_is_refused(small: Target):
    with pytest.raises(BackupNotFoundError):
        verify_backup(small, "20260101T000000Z-abcdef", run_id="r1")


def test_a_backup_is_verified_on_another_server_of_the_same_version(
    servers: Callable[[int], EmbeddedPostgres],
    small: Target,
    server_folder: Path,
):
    with connect(small.url, "tests") as connection:
        if not fetch_value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = 'only here'"):
            execute(connection, 'CREATE ROLE "only here"')
        execute(connection, 'ALTER TABLE t OWNER TO "only here"')
    made = create_backup(small, run_id="r1")
    wrong = servers(18)
    elsewhere = {"scratch_url": SecretStr(wrong.url().render_as_string(hide_password=False))}
    with pytest.raises(ConfigurationError, match="same major version"):
        verify_backup(small.model_copy(update=elsewhere), made.id, run_id="r1")
    other = EmbeddedPostgres(server_folder / "other-16", major=16, settings={"fsync": "off"})
    try:
        other.start()
        elsewhere = {"scratch_url": SecretStr(other.url().render_as_string(hide_password=False))}
        verified, _ = verify_backup(small.model_copy(update=elsewhere), made.id, run_id="r1")
    finally:
        other.destroy()
    assert verified.state is BackupState.VERIFIED


def test_a_role_that_is_no_superuser_backs_up_and_verifies_what_it_owns(
    server: EmbeddedPostgres, database: URL, make_target: Callable[..., Target]
):
    with connect(server.url(), "tests") as connection:
        execute(connection, "DROP ROLE IF EXISTS plain_owner")
        execute(connection, "CREATE ROLE plain_owner LOGIN CREATEDB PASSWORD 'canary-plain-owner'")
        owner = sql.SQL("ALTER DATABASE {} OWNER TO plain_owner").format(
            sql.Identifier(str(database.database))
        )
        execute(connection, owner)
    url = database.set(username="plain_owner", password="canary-plain-owner")
    with connect(url, "tests") as connection:
        execute(connection, SMALL)
    target = make_target(url)
    made = create_backup(target, run_id="r1")
    verified, _ = verify_backup(target, made.id, run_id="r1")
    assert verified.state is BackupState.VERIFIED
    assert "plain_owner" in str(made.roles_sql)
    assert "canary" not in made.model_dump_json()


def test_a_table_that_may_not_be_read_fails_the_backup_and_is_named(
    server: EmbeddedPostgres, small: Target, make_target: Callable[..., Target]
):
    with connect(server.url(), "tests") as connection:
        execute(connection, "DROP ROLE IF EXISTS reader")
        execute(connection, "CREATE ROLE reader LOGIN PASSWORD 'canary-reader'")
    target = make_target(small.url.set(username="reader", password="canary-reader"))
    with pytest.raises(BackupError, match="permission denied for table"):
        create_backup(target, run_id="r1")
    assert [item.state for item in list_backups(target)] == [BackupState.FAILED]


def test_retention_deletes_dumps_and_keeps_the_story(small: Target, make_target: Callable[..., Target]):
    target = make_target(small.url, policies={"retention_count": 1, "retention_days": 0})
    older, newer = (verified_backup(target) for _ in range(2))
    # Made within one second, ids do not tell which is newer: retention goes by them.
    gone, kept = sorted([older.id, newer.id])
    assert expire_backups(target) == [gone]
    assert expire_backups(target) == []
    states = {item.id: item.state for item in list_backups(target)}
    assert states == {gone: BackupState.EXPIRED, kept: BackupState.VERIFIED}
    assert not open_storage(target.storage).exists(dump_key("shop", gone))
    with pytest.raises(BackupError, match="expired"):
        verify_backup(target, gone, run_id="r1")


def verified_backup(target: Target) -> BackupManifest:
    return verify_backup(target, create_backup(target, run_id="r1").id, run_id="r1")[0]


def test_client_programs_fit_their_server(every_server: EmbeddedPostgres, tmp_path: Path):
    with connect(every_server.url(), "tests") as connection:
        version = int(fetch_value(connection, "SHOW server_version_num"))
    programs = find_client_programs(version)
    assert programs.major >= every_server.major
    assert (programs.major >= 17) == (every_server.major >= 17)
    with pytest.raises(ConfigurationError, match="postgresql-client"):
        find_client_programs(version, tmp_path)


def test_sessions_of_a_backup_end_with_it(small: Target):
    create_backup(small, run_id="r-ended")
    with connect(small.maintenance_url, "tests") as connection:
        query = (
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:%%r-ended'"
        )
        assert fetch_all(connection, query, ()) == []
