"""What a restore would take away of what was written since the backup: nothing is lost unseen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from sqlalchemy.engine import URL

from lockkeeper.backup import Progress, create_backup
from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import BackupManifest, BackupState
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.recovery import (
    FencedScene,
    restore_backup,
    unfenced_scene,
    written_since,
)
from tests.integration.restorable import drop_leftovers, fill, run


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


def test_writes_that_were_undone_lose_nothing(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    with connect(restorable.url, "tests", autocommit=False) as connection:
        execute(connection, "DELETE FROM users")
        connection.rollback()
    run(restorable, "DELETE FROM notes WHERE id = 1")
    run(restorable, "INSERT INTO notes VALUES (1, 'note 1')")
    assert findings_under_the_fence(restorable, made) == []


def test_a_truncate_is_found_though_it_is_not_counted(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "TRUNCATE notes")
    (finding,) = findings_under_the_fence(restorable, made)
    assert "public.notes" in finding
    assert "truncated" in finding


def test_a_dropped_table_is_named(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "DROP TABLE notes")
    (finding,) = findings_under_the_fence(restorable, made)
    assert "public.notes was dropped" in finding


def test_large_objects_count(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "SELECT lo_from_bytea(0, 'x')")
    (finding,) = findings_under_the_fence(restorable, made)
    assert "pg_largeobject" in finding


def test_counters_that_began_anew_prove_nothing_by_themselves(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    run(restorable, "UPDATE notes SET note = 'x' WHERE id = 1")
    run(restorable, "SELECT pg_stat_reset()")
    findings = findings_under_the_fence(restorable, made)
    assert [finding.split(":")[0] for finding in findings] == ["table public.notes"]
    assert "cannot tell" in findings[0]


def test_a_forecast_needs_no_fence(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    with unfenced_scene(restorable) as scene:
        assert written_since(scene, made) == []
    assert made.state is BackupState.UPLOADED


def test_progress_names_the_stages(restorable: Target):
    made = create_backup(restorable, run_id="r1")
    stages: list[str] = []

    def note(progress: Progress) -> None:
        stages.append(progress.stage)

    restore_backup(restorable, made.id, run_id="r2", reason="test", progress=note)
    assert list(dict.fromkeys(stages)) == ["download", "compare", "swap"]
