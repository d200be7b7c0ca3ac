"""Backups and restores of which a part goes away in the middle: process, storage, disk."""

from __future__ import annotations

import contextlib
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
    list_backups,
    load_manifest,
    verify_backup,
)
from lockkeeper.backup.manifest import dump_key, save_manifest
from lockkeeper.config import Target
from lockkeeper.errors import (
    BackupCorruptError,
    BackupError,
    StorageError,
)
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.local.s3_server import EmbeddedS3, temporary_s3
from lockkeeper.models import BackupState
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.storage import open_storage

SMALL_FILE_BYTES = 16 * 2**20


def children_named(name: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # others end while they are looked at
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


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
