"""Restores beside a live database: swapped in at once, or nothing happened; no write is lost unseen."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup import Progress, create_backup, verify_backup
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, DatabaseError, LockkeeperError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import BackupManifest, BackupState
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import (
    QUARANTINE,
    Note,
    create_scratch,
    exists,
    list_leftovers,
    set_comment,
)
from lockkeeper.postgres.fence import fence, find_fenced
from lockkeeper.postgres.properties import read_properties
from lockkeeper.recovery import (
    FencedScene,
    drop_scratch_databases,
    find_fence,
    lift_fence,
    restore_backup,
    unfenced_scene,
    written_since,
)

SHOP = """
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE notes (id int PRIMARY KEY, note text);
INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 200) AS n;
"""
DEADLINE_S = 30.0


@pytest.fixture
def shop(database: URL, make_target: Callable[..., Target]) -> Iterator[Target]:
    target = fill(make_target(database))
    yield target
    drop_leftovers(target)


def fill(target: Target) -> Target:
    with connect(target.url, "tests") as connection:
        execute(connection, SHOP)
    return target


def drop_leftovers(target: Target) -> None:
    for left in list_leftovers(target.maintenance_url, target.database):
        with connect(target.maintenance_url, "tests") as connection:
            statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left.name))
            execute(connection, statement)


def run(target: Target, statement: str) -> None:
    with connect(target.url, "tests") as connection:
        execute(connection, statement)


def names(target: Target) -> int:
    with connect(target.url, "tests") as connection:
        return int(fetch_value(connection, "SELECT count(*) FROM users"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- the swap


def test_the_copy_takes_the_place_and_the_damaged_database_is_kept(
    every_server: EmbeddedPostgres, make_database: Callable[..., URL], make_target: Callable[..., Target]
):
    shop = fill(make_target(make_database(every_server)))
    made = create_backup(shop, run_id="r1")
    run(shop, "DELETE FROM users")
    report = restore_backup(shop, made.id, run_id="r2", reason="users were deleted")
    assert names(shop) == 500
    assert 0 < report.fence_s < report.duration_s
    assert report.warnings == ()
    (left,) = list_leftovers(shop.maintenance_url, shop.database)
    assert (left.name, left.kind) == (report.quarantine_database, QUARANTINE)
    assert "users were deleted" in left.description
    with connect(shop.maintenance_url, "tests") as connection:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(left.name))
        execute(connection, allow)
        with connect(shop.url.set(database=left.name), "tests") as inside:
            assert fetch_value(inside, "SELECT count(*) FROM users") == 0
        execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left.name)))


def test_owner_grants_settings_comment_and_limit_are_as_before(shop: Target):
    database = sql.Identifier(shop.database)
    with connect(shop.maintenance_url, "tests") as connection:
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
        before = read_properties(connection, shop.database)
    made = create_backup(shop, run_id="r1")
    assert made.properties == before
    restore_backup(shop, made.id, run_id="r2", reason="test")
    with connect(shop.maintenance_url, "tests") as connection:
        after = read_properties(connection, shop.database)
    assert set(after.acl or ()) == set(before.acl or ())
    assert after.model_copy(update={"acl": before.acl}) == before


def test_an_uploaded_backup_is_verified_by_its_restore(shop: Target):
    made = create_backup(shop, run_id="r1")
    restore_backup(shop, made.id, run_id="r2", reason="test")
    _, verification = verify_backup(shop, made.id, run_id="r3")
    assert verification.rows == 700


def test_writers_get_postgresqls_own_error_and_then_the_copy(shop: Target):
    made = create_backup(shop, run_id="r1")
    ended, codes, written = threading.Event(), set(), []

    def write() -> None:
        dsn = shop.url.render_as_string(hide_password=False)
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
            psycopg2.connect(shop.url.render_as_string(hide_password=False))
        refusals.append(str(caught.value))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = restore_backup(shop, made.id, run_id="r2", reason="test", before_swap=under_the_fence)
        swapped_at = len(written)
        until(lambda: len(written) > swapped_at + 5)
    finally:
        ended.set()
        writer.join()
    assert "not currently accepting connections" in refusals[0]
    assert codes <= {"57P01", None}
    assert report.fence_s < 5
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT count(*) FROM users WHERE name LIKE 'live%%'", ()) > 0
        repeated = "SELECT id FROM users GROUP BY id HAVING count(*) > 1"
        assert fetch_all(connection, repeated) == []


def test_a_hook_that_raises_leaves_everything_as_it_was(shop: Target):
    with connect(shop.maintenance_url, "tests") as connection:
        set_comment(connection, shop.database, "mine")
    made = create_backup(shop, run_id="r1")
    run(shop, "DELETE FROM users WHERE id <= 100")

    def refuse(_scene: FencedScene) -> None:
        raise LockkeeperError("writes would be lost")

    with pytest.raises(LockkeeperError, match="would be lost"):
        restore_backup(shop, made.id, run_id="r2", reason="test", before_swap=refuse)
    assert names(shop) == 400
    assert list_leftovers(shop.maintenance_url, shop.database) == []
    assert find_fence(shop) is None
    with connect(shop.maintenance_url, "tests") as connection:
        assert read_properties(connection, shop.database).comment == "mine"


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


def test_a_corrupt_backup_never_reaches_the_swap(shop: Target):
    made = create_backup(shop, run_id="r1")
    dump = Path(getattr(shop.storage, "path")) / str(made.dump_key)  # noqa: B009
    dump.write_bytes(dump.read_bytes()[:-1])
    run(shop, "DELETE FROM users WHERE id <= 100")
    with pytest.raises(BackupCorruptError):
        restore_backup(shop, made.id, run_id="r2", reason="test")
    assert names(shop) == 400


def test_a_database_that_is_gone_comes_back(shop: Target):
    made = create_backup(shop, run_id="r1")
    with connect(shop.maintenance_url, "tests") as connection:
        execute(connection, sql.SQL("DROP DATABASE {}").format(sql.Identifier(shop.database)))
    report = restore_backup(shop, made.id, run_id="r2", reason="it was dropped")
    assert report.quarantine_database is None
    assert names(shop) == 500


def test_numbers_that_were_handed_out_are_never_handed_out_again(shop: Target):
    made = create_backup(shop, run_id="r1")
    run(shop, "INSERT INTO users (name) SELECT 'later' FROM generate_series(1, 40)")
    run(shop, "DELETE FROM users WHERE id > 500")
    report = restore_backup(shop, made.id, run_id="r2", reason="test")
    assert "users_id_seq" in report.warnings[0]
    with connect(shop.url, "tests") as connection:
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


# --- kills


RESTORE_AND_DIE = """
import os, signal, sys
from lockkeeper.config import Target
from lockkeeper.recovery import restore_backup
import lockkeeper.recovery.exchange as exchange

target = Target.model_validate_json(sys.stdin.read())
point, backup_id = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

def progress(how_far):
    if how_far.stage == point:
        die()

if point == "after swap":
    original = exchange.swap
    def swap_and_die(*arguments, **named):
        original(*arguments, **named)
        die()
    exchange.swap = swap_and_die
restore_backup(target, backup_id, run_id="r-killed", reason="test", progress=progress,
               before_swap=die if point == "fence" else None)
"""


def secrets_shown(target: Target) -> str:
    shown = {"name": target.name, "database_url": target.database_url.get_secret_value()}
    return json.dumps({**shown, "storage": target.storage.model_dump(mode="json")})


@pytest.mark.parametrize("point", ["download", "compare", "swap", "fence", "after swap"])
def test_a_killed_restore_leaves_the_original_or_the_copy_serving(shop: Target, point: str):
    made = create_backup(shop, run_id="r1")
    run(shop, "DELETE FROM users WHERE id <= 100")
    argv = [sys.executable, "-c", RESTORE_AND_DIE, point, made.id]
    killed = subprocess.run(argv, input=secrets_shown(shop).encode(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    expected = 500 if point == "after swap" else 400

    def serves() -> bool:
        with contextlib.suppress(DatabaseError):
            return names(shop) == expected
        return False

    until(serves)  # under the fence its guard lifts it
    until(lambda: find_fence(shop) is None)
    if point != "after swap":
        (left,) = list_leftovers(shop.maintenance_url, shop.database)
        assert left.note is not None
        assert left.note.run_id == "r-killed"
        assert drop_scratch_databases(shop, "r-killed") == [left.name]
    run(shop, "INSERT INTO users (name) VALUES ('it takes writes')")


def test_a_fence_whose_guard_died_too_is_found_and_lifted(shop: Target):
    with connect(shop.maintenance_url, "tests") as connection:
        fence(connection, shop.database, run_id="r-dead", reason="a restore that is no more")
        with pytest.raises(DatabaseError, match="not currently accepting connections"):
            names(shop)
        note = find_fence(shop)
        assert isinstance(note, Note)
        assert note.run_id == "r-dead"
        assert lift_fence(shop)
        assert not lift_fence(shop)
        assert find_fenced(connection) == {}
    assert names(shop) == 500


def test_somebody_elses_closed_database_is_left_alone(shop: Target):
    database = sql.Identifier(shop.database)
    with connect(shop.maintenance_url, "tests") as connection:
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
        assert find_fence(shop) is None
        assert not lift_fence(shop)
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))


def test_scratch_databases_are_found_by_their_note(shop: Target):
    with connect(shop.maintenance_url, "tests") as connection:
        name = create_scratch(connection, shop.database, "verify", run_id="r9", reason="left behind")
        (left,) = list_leftovers(shop.maintenance_url, shop.database)
        assert (left.name, left.note and left.note.run_id) == (name, "r9")
        assert drop_scratch_databases(shop, "another run") == []
        assert drop_scratch_databases(shop, "r9") == [name]
        assert not exists(connection, name)


# --- the proof that nothing written is lost


@pytest.fixture(params=[16, 18], ids=["pg16", "pg18"])
def newer_shop(
    request: pytest.FixtureRequest,
    servers: Callable[[int], EmbeddedPostgres],
    make_database: Callable[..., URL],
    make_target: Callable[..., Target],
) -> Iterator[Target]:
    target = fill(make_target(make_database(servers(request.param))))
    yield target
    drop_leftovers(target)


class StopBeforeSwapError(LockkeeperError):
    pass


def findings_under_the_fence(
    target: Target, made: BackupManifest, own: dict[str, tuple[int, int, int]] | None = None
) -> list[str]:
    found: list[str] = []

    def look(scene: FencedScene) -> None:
        found.extend(written_since(scene, made, own))
        raise StopBeforeSwapError

    with pytest.raises(StopBeforeSwapError):
        restore_backup(target, made.id, run_id="r2", reason="test", before_swap=look)
    return found


def test_a_schema_change_alone_is_proven_harmless(newer_shop: Target):
    made = create_backup(newer_shop, run_id="r1")
    run(
        newer_shop,
        "ALTER TABLE users ADD COLUMN status text; ALTER TABLE notes ALTER COLUMN id TYPE bigint;"
        "CREATE INDEX ON users (name); ALTER TABLE users RENAME TO people; CREATE TABLE fresh (id int)",
    )
    assert findings_under_the_fence(newer_shop, made) == []


def test_a_session_that_hides_its_counts_until_the_fence_is_seen(newer_shop: Target):
    made = create_backup(newer_shop, run_id="r1")
    with contextlib.closing(
        psycopg2.connect(newer_shop.url.render_as_string(hide_password=False))
    ) as session:
        session.autocommit = True
        session.cursor().execute("UPDATE notes SET note = 'changed' WHERE id = 7")
        (finding,) = findings_under_the_fence(newer_shop, made)
    assert "public.notes" in finding
    assert "1 updated" in finding


def test_the_migrations_own_rows_are_not_taken_for_others(newer_shop: Target):
    made = create_backup(newer_shop, run_id="r1")
    run(newer_shop, "UPDATE users SET name = upper(name)")
    run(newer_shop, "CREATE TABLE log AS SELECT 1 AS one")
    own = {"public.users": (0, 500, 0), "public.log": (1, 0, 0)}
    assert findings_under_the_fence(newer_shop, made, own) == []
    run(newer_shop, "INSERT INTO log VALUES (2)")
    (finding,) = findings_under_the_fence(newer_shop, made, own)
    assert "public.log" in finding


def test_writes_that_were_undone_lose_nothing(shop: Target):
    made = create_backup(shop, run_id="r1")
    with connect(shop.url, "tests", autocommit=False) as connection:
        execute(connection, "DELETE FROM users")
        connection.rollback()
    run(shop, "DELETE FROM notes WHERE id = 1")
    run(shop, "INSERT INTO notes VALUES (1, 'note 1')")
    assert findings_under_the_fence(shop, made) == []


def test_a_truncate_is_found_though_it_is_not_counted(shop: Target):
    made = create_backup(shop, run_id="r1")
    run(shop, "TRUNCATE notes")
    (finding,) = findings_under_the_fence(shop, made)
    assert "public.notes" in finding
    assert "truncated" in finding


def test_a_dropped_table_is_named(shop: Target):
    made = create_backup(shop, run_id="r1")
    run(shop, "DROP TABLE notes")
    (finding,) = findings_under_the_fence(shop, made)
    assert "public.notes was dropped" in finding


def test_large_objects_count(shop: Target):
    made = create_backup(shop, run_id="r1")
    run(shop, "SELECT lo_from_bytea(0, 'x')")
    (finding,) = findings_under_the_fence(shop, made)
    assert "pg_largeobject" in finding


def test_counters_that_began_anew_prove_nothing_by_themselves(shop: Target):
    made = create_backup(shop, run_id="r1")
    run(shop, "UPDATE notes SET note = 'x' WHERE id = 1")
    run(shop, "SELECT pg_stat_reset()")
    findings = findings_under_the_fence(shop, made)
    assert [finding.split(":")[0] for finding in findings] == ["table public.notes"]
    assert "cannot tell" in findings[0]


def test_a_forecast_needs_no_fence(shop: Target):
    made = create_backup(shop, run_id="r1")
    with unfenced_scene(shop) as scene:
        assert written_since(scene, made) == []
    assert made.state is BackupState.UPLOADED


def test_progress_names_the_stages(shop: Target):
    made = create_backup(shop, run_id="r1")
    stages: list[str] = []

    def note(progress: Progress) -> None:
        stages.append(progress.stage)

    restore_backup(shop, made.id, run_id="r2", reason="test", progress=note)
    assert list(dict.fromkeys(stages)) == ["download", "compare", "swap"]
