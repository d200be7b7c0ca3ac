"""Restores beside a live database: swapped in at once, or nothing happened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup import create_backup, verify_backup
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, DatabaseError, LockkeeperError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import (
    QUARANTINE,
    list_leftovers,
    set_comment,
)
from lockkeeper.postgres.properties import read_properties
from lockkeeper.recovery import (
    FencedScene,
    find_fence,
    restore_backup,
)
from tests.integration.restorable import fill, names, run, until


def test_the_copy_takes_the_place_and_the_damaged_database_is_kept(
    every_server: EmbeddedPostgres, make_database: Callable[..., URL], make_target: Callable[..., Target]
):
    restorable = fill(make_target(make_database(every_server)))
    made = create_backup(restorable, run_id="r1")
    run(restorable, "DELETE FROM users")
    report = restore_backup(restorable, made.id, run_id="r2", reason="users were deleted")
    assert names(restorable) == 500
    assert 0 < report.fence_s < report.duration_s
    assert report.warnings == ()
    (left,) = list_leftovers(restorable.maintenance_url, restorable.database)
    assert (left.name, left.kind) == (report.quarantine_database, QUARANTINE)
    assert "users were deleted" in left.description
    with connect(restorable.maintenance_url, "tests") as connection:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(left.name))
        execute(connection, allow)
        with connect(restorable.url.set(database=left.name), "tests") as inside:
            assert fetch_value(inside, "SELECT count(*) FROM users") == 0
        execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left.name)))


def test_owner_grants_settings_comment_and_limit_are_as_before(restorable: Target):
    database = sql.Identifier(restorable.database)
    with connect(restorable.maintenance_url, "tests") as connection:
        for role in ("lk owner", "lk_app"):
            if not fetch_value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", (role,)):
                execute(connection, sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        for statement in (
            'ALTER DATABASE {} OWNER TO "lk owner"',
            "REVOKE ALL ON DATABASE {} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {} TO lk_app WITH GRANT OPTION",
            """ALTER DATABASE {} SET search_path TO "$user", 'Odd, "one"', public""",
            "ALTER DATABASE {} SET work_mem TO '7MB'",
            "ALTER DATABASE {} SET app.flag TO 'it''s on'",
            "ALTER ROLE lk_app IN DATABASE {} SET statement_timeout TO '3s'",
            "ALTER DATABASE {} CONNECTION LIMIT 37",
            "COMMENT ON DATABASE {} IS 'The shop''s own'",
        ):
            execute(connection, sql.SQL(statement).format(database))
        before = read_properties(connection, restorable.database)
    made = create_backup(restorable, run_id="r1")
    assert made.properties == before
    restore_backup(restorable, made.id, run_id="r2", reason="test")
    with connect(restorable.maintenance_url, "tests") as connection:
        after = read_properties(connection, restorable.database)
    assert set(after.acl or ()) == set(before.acl or ())
    assert after.model_copy(update={"acl": before.acl}) == before


def test_an_uploaded_backup_is_verified_by_its_restore(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    restore_backup(restorable, made.id, run_id="r2", reason="test")
    _, verification = verify_backup(restorable, made.id, run_id="r3")
    assert verification.rows == 700


def test_writers_get_postgresqls_own_error_and_then_the_copy(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    ended, codes, written = threading.Event(), set(), []

    def write() -> None:
        dsn = restorable.url.render_as_string(hide_password=False)
        number = 0
        while not ended.is_set():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(dsn)) as session:
                session.autocommit = True
                cursor = session.cursor()
                while not ended.is_set():
                    number += 1
                    try:
                        cursor.execute("INSERT INTO users (name) VALUES (%s)", (f"live {number}",))
                    except psycopg2.Error as error:
                        codes.add(error.pgcode)
                        raise
                    written.append(number)
            ended.wait(0.01)

    refusals: list[str] = []

    def under_the_fence(_scene: FencedScene) -> None:
        with pytest.raises(psycopg2.OperationalError) as caught:
            psycopg2.connect(restorable.url.render_as_string(hide_password=False))
        refusals.append(str(caught.value))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = restore_backup(restorable, made.id, run_id="r2", reason="test", before_swap=under_the_fence)
        swapped_at = len(written)
        until(lambda: len(written) > swapped_at + 5)
    finally:
        ended.set()
        writer.join()
    assert "not currently accepting connections" in refusals[0]
    assert codes <= {"57P01", None}
    assert report.fence_s < 5
    with connect(restorable.url, "tests") as connection:
        assert fetch_value(connection, "SELECT count(*) FROM users WHERE name LIKE 'live%%'", ()) > 0
        repeated = "SELECT id FROM users GROUP BY id HAVING count(*) > 1"
        assert fetch_all(connection, repeated) == []


def test_a_hook_that_raises_leaves_everything_as_it_was(restorable: Target):
    with connect(restorable.maintenance_url, "tests") as connection:
        set_comment(connection, restorable.database, "mine")
    made = create_backup(restorable, run_id="r1")
    run(restorable, "DELETE FROM users WHERE id <= 100")

    def refuse(_scene: FencedScene) -> None:
        raise LockkeeperError("writes would be lost")

    with pytest.raises(LockkeeperError, match="would be lost"):
        restore_backup(restorable, made.id, run_id="r2", reason="test", before_swap=refuse)
    assert names(restorable) == 400
    assert list_leftovers(restorable.maintenance_url, restorable.database) == []
    assert find_fence(restorable) is None
    with connect(restorable.maintenance_url, "tests") as connection:
        assert read_properties(connection, restorable.database).comment == "mine"


def test_a_prepared_transaction_is_a_clear_refusal(server_folder: Path, make_target: Callable[..., Target]):
    server = EmbeddedPostgres(
        server_folder / "prepared", major=16, settings={"max_prepared_transactions": "5", "fsync": "off"}
    )
    try:
        server.start()
        with connect(server.url(), "tests") as connection:
            execute(connection, "CREATE DATABASE shop")
        target = fill(make_target(server.url("shop")))
        made = create_backup(target, run_id="r1")
        with connect(target.url, "tests") as connection:
            for statement in ("BEGIN", "INSERT INTO notes VALUES (0)", "PREPARE TRANSACTION 'held'"):
                execute(connection, statement)
        with pytest.raises(DatabaseError, match=r"held.*COMMIT PREPARED"):
            restore_backup(target, made.id, run_id="r2", reason="test")
        assert names(target) == 500
    finally:
        server.destroy()


def test_a_corrupt_backup_never_reaches_the_swap(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    dump = Path(getattr(restorable.storage, "path")) / str(made.dump_key)  # noqa: B009
    dump.write_bytes(dump.read_bytes()[:-1])
    run(restorable, "DELETE FROM users WHERE id <= 100")
    with pytest.raises(BackupCorruptError):
        restore_backup(restorable, made.id, run_id="r2", reason="test")
    assert names(restorable) == 400


def test_a_database_that_is_gone_comes_back(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    with connect(restorable.maintenance_url, "tests") as connection:
        execute(connection, sql.SQL("DROP DATABASE {}").format(sql.Identifier(restorable.database)))
    report = restore_backup(restorable, made.id, run_id="r2", reason="it was dropped")
    assert report.quarantine_database is None
    assert names(restorable) == 500


def test_numbers_that_were_handed_out_are_never_handed_out_again(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "INSERT INTO users (name) SELECT 'later' FROM generate_series(1, 40)")
    run(restorable, "DELETE FROM users WHERE id > 500")
    report = restore_backup(restorable, made.id, run_id="r2", reason="test")
    assert "users_id_seq" in report.warnings[0]
    with connect(restorable.url, "tests") as connection:
        assert fetch_value(connection, "INSERT INTO users (name) VALUES ('next') RETURNING id") == 541


def test_a_role_that_is_no_superuser_restores_what_it_owns(
    server: EmbeddedPostgres, database: URL, make_target: Callable[..., Target]
):
    with connect(server.url(), "tests") as connection:
        execute(connection, "DROP ROLE IF EXISTS lk_plain")
        execute(connection, "CREATE ROLE lk_plain LOGIN CREATEDB PASSWORD 'canary-plain'")
        owner = sql.SQL("ALTER DATABASE {} OWNER TO lk_plain").format(sql.Identifier(str(database.database)))
        execute(connection, owner)
    target = fill(
        make_target(
            database.set(username="lk_plain", password="canary-plain"), policies={"keep_quarantine": False}
        )
    )
    made = create_backup(target, run_id="r1")
    run(target, "DELETE FROM users")
    report = restore_backup(target, made.id, run_id="r2", reason="test")
    assert report.quarantine_database is None
    assert names(target) == 500
