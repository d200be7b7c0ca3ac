"""The embedded server is a real one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from lockkeeper.errors import ConnectionLostError, LockTimeoutError, is_transient
from lockkeeper.local.postgres_server import EmbeddedPostgres, scratch_postgres
from lockkeeper.postgres.connection import connect, execute, fetch_value


def test_every_installed_major_version_starts_and_answers(every_server: EmbeddedPostgres) -> None:
    with connect(every_server.url(), "tests") as connection:
        number = int(fetch_value(connection, "SHOW server_version_num"))
        assert number // 10000 == every_server.major
        assert fetch_value(connection, "SHOW application_name") == "lockkeeper:tests"


def test_a_wrong_password_is_an_error_without_the_password(server: EmbeddedPostgres) -> None:
    url = server.url().set(password="wrong-canary-pw")
    with pytest.raises(ConnectionLostError) as caught, connect(url, "tests"):
        pass
    assert "wrong-canary-pw" not in str(caught.value)


def test_a_lock_time_out_is_told_apart_and_is_transient(database) -> None:
    with connect(database, "holder", autocommit=False) as holder:
        execute(holder, "CREATE TABLE t (id int)")
        holder.commit()
        execute(holder, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with (
            pytest.raises(LockTimeoutError) as caught,
            connect(database, "waiter", lock_timeout_ms=50) as waiter,
        ):
            execute(waiter, "SELECT 1 FROM t")
    assert caught.value.sqlstate == "55P03"
    assert is_transient(caught.value)


def test_a_folder_for_temporary_files_that_is_private_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    with scratch_postgres("tests") as server, connect(server.url(), "tests") as connection:
        assert fetch_value(connection, "SELECT 1") == 1
        folder = server.data_dir.parent
    assert not folder.exists()
