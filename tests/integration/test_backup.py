"""Backups of real databases to real storage: made, proven, found out, and gone when interrupted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.backup import (
    Progress,
    create_backup,
    expire_backups,
    latest_verified,
    list_backups,
    load_manifest,
    verify_backup,
)
from lockkeeper.backup.manifest import dump_key, manifest_key, save_manifest
from lockkeeper.config import Target
from lockkeeper.errors import (
    BackupCorruptError,
    BackupError,
    BackupNotFoundError,
    ConfigurationError,
    StorageError,
)
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.local.s3_server import EmbeddedS3, temporary_s3
from lockkeeper.models import BackupManifest, BackupState
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.storage import open_storage

SMALL_FILE_BYTES = 16 * 2**20
RICH_SCHEMA = (Path(__file__).parent / "fingerprint_data" / "rich_schema.sql").read_text()
EXTRAS = """
SELECT lo_from_bytea(0, decode(md5(n::text), 'hex')) FROM generate_series(1, 20) AS n;
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION shop.on_ddl();
CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p
    WITH (connect = false, slot_name = NONE);
"""
SMALL = """
CREATE TABLE t (id int PRIMARY KEY, note text);
INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('abc123');
"""
Corrupt = Callable[[Path, Path], None]


@pytest.fixture
def small(database: URL, make_target: Callable[..., Target]) -> Target:
    with connect(database, "tests") as connection:
        execute(connection, SMALL)
    return make_target(database)


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
    assert create_backup(small, run_id="r1", revisions=["x"]).revisions == ("x",)


def flip_a_byte(dump: Path, _other: Path) -> None:
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)


def truncate(dump: Path, _other: Path) -> None:
    dump.write_bytes(dump.read_bytes()[:-100])


def remove(dump: Path, _other: Path) -> None:
    dump.unlink()


def swap_dumps(dump: Path, other: Path) -> None:
    shutil.copy(other, dump)


@pytest.mark.parametrize(
    ("corrupt", "told"),
    [
        (flip_a_byte, "sha256"),
        (truncate, r"truncated or another one"),
        (remove, "missing"),
        (swap_dumps, "sha256|another one"),
    ],
)
def test_a_damaged_dump_is_found_named_and_marked(small: Target, corrupt: Corrupt, told: str):
    made = create_backup(small, run_id="r1")
    with connect(small.url, "tests") as connection:
        execute(connection, "CREATE TABLE made_later (id int)")  # two dumps of one second may be equal
    other = create_backup(small, run_id="r2")
    folder = Path(getattr(small.storage, "path"))  # noqa: B009
    corrupt(folder / str(made.dump_key), folder / str(other.dump_key))
    with pytest.raises(BackupCorruptError, match=told) as caught:
        verify_backup(small, made.id, run_id="r1")
    assert made.id in str(caught.value) or str(made.dump_key) in str(caught.value)
    failed = load_manifest(small, made.id)
    assert failed.state is BackupState.FAILED
    assert failed.reason == str(caught.value)
    assert latest_verified(small) is None
    assert list_leftovers(small.maintenance_url, small.database) == []


def test_the_manifest_of_another_backup_is_refused(small: Target):
    made, other = create_backup(small, run_id="r1"), create_backup(small, run_id="r2")
    storage = open_storage(small.storage)
    storage.put_bytes(manifest_key("shop", made.id), storage.get_bytes(manifest_key("shop", other.id)))
    with pytest.raises(BackupCorruptError, match=other.id):
        verify_backup(small, made.id, run_id="r1")
    assert {item.id: item.state for item in list_backups(small)} == {
        made.id: BackupState.FAILED,
        other.id: BackupState.UPLOADED,
    }


def test_a_manifest_whose_contents_were_never_in_the_database_is_found(small: Target):
    made = create_backup(small, run_id="r1")
    with connect(small.url, "tests") as connection:
        execute(connection, "UPDATE t SET note = 'other' WHERE id = 500")
    other = create_backup(small, run_id="r2")
    lie = made.model_copy(update={"data_fingerprint": other.data_fingerprint})
    save_manifest(open_storage(small.storage), lie)
    with pytest.raises(BackupCorruptError, match=r"public\.t"):
        verify_backup(small, made.id, run_id="r1")


def test_a_backup_is_the_database_of_one_moment_while_others_write(small: Target, tmp_path: Path):
    with connect(small.url, "tests") as writer:

        def write(_progress: Progress) -> None:
            execute(writer, "INSERT INTO t SELECT max(id) + 1, 'later' FROM t")

        made = create_backup(small, run_id="r1", progress=write)
    assert made.data_fingerprint is not None
    assert made.data_fingerprint.tables["public.t"].rows == 1000
    verify_backup(small, made.id, run_id="r1")


def children_named(name: str) -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name() == name and child.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def big_url(servers: Callable[[int], EmbeddedPostgres]) -> Iterator[URL]:
    """About 40 MB that do not compress: more than all buffers between pg_dump and the storage."""
    server = servers(16)
    with connect(server.url(), "tests") as connection:
        execute(connection, "CREATE DATABASE big_shop")
    with connect(server.url("big_shop"), "tests") as connection:
        execute(connection, "CREATE TABLE big (n int, bytes bytea)")
        for number in range(40):
            execute(connection, "INSERT INTO big VALUES (%s, %s)", (number, os.urandom(1024 * 1024)))
    yield server.url("big_shop")
    with connect(server.url(), "tests") as connection:
        execute(connection, "DROP DATABASE big_shop WITH (FORCE)")


@pytest.fixture
def big(big_url: URL, make_target: Callable[..., Target], s3: EmbeddedS3, tmp_path: Path) -> Target:
    return make_target(big_url, s3.settings("big", prefix=tmp_path.name))


def test_a_killed_pg_dump_leaves_no_object_and_a_reason(big: Target, s3: EmbeddedS3, tmp_path: Path):
    def kill(_progress: Progress) -> None:
        for child in children_named("pg_dump"):
            child.send_signal(signal.SIGKILL)

    with pytest.raises(BackupError, match="pg_dump failed"):
        create_backup(big, run_id="r1", progress=kill)
    (failed,) = list_backups(big)
    assert failed.state is BackupState.FAILED
    assert "pg_dump failed" in str(failed.reason)
    assert not open_storage(big.storage).exists(dump_key("shop", failed.id))
    assert list((s3.folder / "big" / tmp_path.name).rglob("dump.zst*")) == []


def test_the_password_is_in_no_command_line_and_no_message(big: Target):
    secret = str(big.url.password)
    seen: list[str] = []

    def look(_progress: Progress) -> None:
        for child in children_named("pg_dump"):
            seen.append(" ".join(child.cmdline()))
        raise StorageError(f"stopped by the test, DSN {big.database_url.get_secret_value()}")

    with pytest.raises(BackupError) as caught:
        create_backup(big, run_id="r1", progress=look)
    assert seen
    assert secret not in " ".join(seen)
    (failed,) = list_backups(big)
    assert secret not in str(failed.reason)
    assert caught.value.backup_id == failed.id


def test_a_storage_that_goes_away_in_mid_backup_leaves_a_started_manifest_and_no_dump(
    big: Target, tmp_path: Path, make_target: Callable[..., Target]
):
    with temporary_s3(tmp_path) as server:
        target = make_target(big.url, server.settings())

        def stop(_progress: Progress) -> None:
            server.stop()

        with pytest.raises(BackupError, match="Storage failed"):
            create_backup(target, run_id="r1", progress=stop)
        server.start()
        (left,) = list_backups(target)
        assert left.state is BackupState.STARTED
        assert not open_storage(target.storage).exists(dump_key("shop", left.id))
        with pytest.raises(BackupError, match="started"):
            verify_backup(target, left.id, run_id="r1")


def test_a_storage_that_takes_nothing_stops_the_backup_before_the_dump(
    small: Target, make_target: Callable[..., Target], s3: EmbeddedS3
):
    settings = s3.settings("shop").model_copy(update={"secret_access_key": SecretStr("canary-wrong")})
    with pytest.raises(StorageError, match=r"manifest\.json"):
        create_backup(make_target(small.url, settings), run_id="r1")


def test_an_unknown_backup_is_refused(small: Target):
    with pytest.raises(BackupNotFoundError):
        verify_backup(small, "20260101T000000Z-abcdef", run_id="r1")


def test_a_restore_needs_no_room_for_the_dump_on_the_local_disk(big: Target):
    made = create_backup(big, run_id="r1")
    assert made.uncompressed_bytes is not None
    assert made.uncompressed_bytes > 2 * SMALL_FILE_BYTES
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE_BYTES, hard))
    try:
        verified, _ = verify_backup(big, made.id, run_id="r1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert verified.state is BackupState.VERIFIED


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_of_the_scratch_server_is_not_taken_for_corruption(
    server: EmbeddedPostgres, big: Target, server_folder: Path
):
    disk = server_folder / "small-disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let us mount")
    made = create_backup(big, run_id="r1")
    try:
        shutil.chown(disk, server.user)
        with connect(server.url(), "tests") as connection:
            statement = sql.SQL("CREATE TABLESPACE small_disk LOCATION {}")
            execute(connection, statement.format(sql.Literal(str(disk))))
        crowded = made.model_copy(
            update={
                "properties": made.properties
                and made.properties.model_copy(update={"tablespace": "small_disk"})
            }
        )
        save_manifest(open_storage(big.storage), crowded)
        with pytest.raises(BackupError, match="No space left") as caught:
            verify_backup(big, made.id, run_id="r1")
        assert not isinstance(caught.value, BackupCorruptError)
        after = load_manifest(big, made.id)
        assert after.state is BackupState.UPLOADED
        assert "could not run" in str(after.reason)
        assert list_leftovers(big.maintenance_url, big.database) == []
    finally:
        with connect(server.url(), "tests") as connection:
            execute(connection, "CHECKPOINT")
            execute(connection, "DROP TABLESPACE IF EXISTS small_disk")
        subprocess.run(["umount", str(disk)], check=False)


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
