"""Capture and replay as processes: killed, resumed, bounded, ended; nothing is lost and nothing is left."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lockkeeper.config import Target
from lockkeeper.errors import CaptureEndedError, CaptureError, RefusedError
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.models import CheckState, utc_now
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.recovery.capture import (
    Capture,
    CaptureLimits,
    CaptureState,
    capture_readiness,
    find_captures,
    open_capture,
    own_session_statements,
)
from lockkeeper.recovery.capture import identities as identities_module
from lockkeeper.recovery.capture import slot as slot_module
from lockkeeper.recovery.capture import worker as capture_worker
from lockkeeper.recovery.capture.files import is_claimed
from lockkeeper.recovery.capture.models import spool_folder
from lockkeeper.recovery.capture.upload import fetch_capture
from lockkeeper.recovery.replay import ReplayState, start_replay
from lockkeeper.recovery.replay import worker as replay_worker
from lockkeeper.recovery.spool import segment_numbers
from tests.integration.capture_story import (
    SHOP,
    Writers,
    begin,
    copied,
    eventually,
    identities,
    kill,
    left_on_server,
)
from tests.integration.captured import read, run

CATCH_UP_S = 60.0
_INCOMPRESSIBLE = """
UPDATE accounts SET status = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200))
"""
SMALL = CaptureLimits(retained_wal_bytes=32 * 2**20, abandoned_s=600)
pytestmark = pytest.mark.usefixtures("capture_home")


def test_no_acknowledged_write_is_lost_when_capture_and_replay_are_killed_again_and_again(
    every_server: EmbeddedPostgres, store_on: Callable[..., Target]
) -> None:
    target = store_on(every_server)
    copy = copied(target)
    capture = begin(target)
    writers = Writers(target.url, pause_s=0.002)
    replay = start_replay(target, capture, copy)
    with connect(target.url, "tests") as source:
        for which in ("capture", "replay", "capture"):
            replay.catch_up(source, CATCH_UP_S)
            before = writers.acknowledged
            kill(capture.folder, which)
            eventually(lambda before=before: writers.acknowledged > before + 50, "the writers stand still")  # type: ignore[misc]
            capture.ensure_running(target)
            replay.ensure_running(target)
        with connect(target.url, "migrate") as migration:
            for statement in own_session_statements(capture.record):
                execute(migration, statement)
            execute(
                migration, "UPDATE accounts SET status = 'corrupted'; DELETE FROM orders WHERE id % 7 = 0"
            )
        writers.stop()
        assert replay.catch_up(source, CATCH_UP_S) < CATCH_UP_S
    outcome = replay.finish()
    assert outcome.transactions >= writers.acknowledged
    assert [write for write in outcome.parked if not write.carried and write.operation != "delete"] == []
    writers.assert_all_there(copy)
    assert read(copy, "SELECT DISTINCT status FROM accounts") == [("ok",)]
    assert read(copy, "SELECT nspname FROM pg_namespace WHERE nspname = 'lockkeeper_replay'") == []
    assert replay.finish() == outcome
    assert capture.end(target, "done") == []
    assert (left_on_server(target), identities(target)) == ([], {"d"})


def test_an_abandoned_capture_never_keeps_more_wal_than_its_limit(store: Target) -> None:
    capture = begin(store, limits=SMALL)
    kill(capture.folder, "capture")
    eventually(lambda: capture.status().state is CaptureState.DEAD, "it was not killed")
    highest = 0
    query = "SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots"
    with connect(store.url, "tests") as connection:
        for _ in range(400):
            execute(connection, _INCOMPRESSIBLE)
            kept = fetch_value(connection, query)
            if kept is None:
                break
            highest = max(highest, int(kept))
        eventually(lambda: left_slots(store) == [], "the slot is still there")
    print(f"kept at most {highest / 2**20:.0f} MiB of WAL, the limit is 32 MiB")
    # The sentinel looks once a second: what can be written in that time comes on top.
    assert highest < SMALL.retained_wal_bytes + 256 * 2**20
    capture.ensure_running(store)
    eventually(lambda: capture.status().state is CaptureState.ENDED, "nobody was told")
    with pytest.raises(CaptureEndedError, match="dropped its slot"):
        capture.ensure_running(store)
    assert identities(store) == {"d"}


def left_slots(target: Target) -> list[tuple[object, ...]]:
    return read(target.url, "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'lockkeeper%'")


def test_a_slot_that_nobody_reads_from_is_dropped_in_time(store: Target) -> None:
    capture = begin(store, limits=CaptureLimits(abandoned_s=1))
    kill(capture.folder, "capture")
    eventually(lambda: left_slots(store) == [], "the slot is still there")
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:sentinel%'"
    eventually(lambda: read(store.url, query) == [], "the sentinel is still there")


def test_a_capture_ends_itself_at_its_limit_and_says_why(store: Target) -> None:
    capture = begin(store, limits=CaptureLimits(spool_bytes=300_000))
    with connect(store.url, "tests") as connection:
        execute(
            connection, "INSERT INTO orders SELECT g, 0, repeat('x', 100) FROM generate_series(1, 5000) AS g"
        )
    eventually(lambda: capture.status().state is CaptureState.ENDED, "it goes on")
    assert "spool" in capture.status().reason
    assert (left_on_server(store), identities(store)) == ([], {"d"})
    with pytest.raises(CaptureError, match="ended"):
        capture.require_alive()


def test_a_capture_whose_time_is_over_removes_itself_and_its_copy(store: Target) -> None:
    copy = copied(store)
    capture = begin(store, until=utc_now() + timedelta(hours=1))
    replay = start_replay(store, capture, copy, drop_copy_when_expired=True)
    capture.extend(utc_now())
    eventually(lambda: capture.status().state is CaptureState.ENDED, "it goes on")
    eventually(lambda: replay.status().state is ReplayState.STOPPED, "replay goes on")
    query = f"SELECT 1 FROM pg_database WHERE datname = '{copy.database}'"
    eventually(lambda: read(store.maintenance_url, query) == [], "the copy is still there")
    assert left_on_server(store) == []


def assert_processes_end(folder: Path) -> None:
    for lock in (capture_worker.CLAIM, replay_worker.CLAIM):
        eventually(lambda lock=lock: not is_claimed(folder / lock), f"{lock} is still held")  # type: ignore[misc]


def test_processes_whose_folder_is_gone_leave_the_server_and_end(store: Target) -> None:
    copy = copied(store)
    capture = begin(store)
    replay = start_replay(store, capture, copy)
    hidden = capture.folder.with_name("hidden")
    capture.folder.rename(hidden)
    assert_processes_end(hidden)
    assert left_on_server(store) == []
    assert not capture.folder.exists(), "nobody makes the folder again"
    with connect(store.maintenance_url, "tests") as connection:
        execute(connection, f"DROP DATABASE {replay.copy_url.database}")


def test_processes_of_a_server_that_does_not_come_back_end(
    server_folder: Path, make_target: Callable[..., Target]
) -> None:
    with temporary_postgres(server_folder / "gone", settings={"wal_level": "logical"}) as own:
        target = make_target(own.url())
        run(target.url, SHOP)
        copy = copied(target)
        capture = begin(target, limits=SMALL.model_copy(update={"unreachable_s": 2.0}))
        replay = start_replay(target, capture, copy)
    assert_processes_end(capture.folder)
    status = capture.status()
    assert (status.state, status.reason) == (CaptureState.DEAD, "no server for 2 s")
    assert replay.status().state is ReplayState.STOPPED


def test_a_replay_whose_copy_is_dropped_ends(store: Target) -> None:
    copy = copied(store)
    capture = begin(store)
    replay = start_replay(store, capture, copy)
    with connect(store.maintenance_url, "tests") as connection:
        execute(connection, f"DROP DATABASE {copy.database} WITH (FORCE)")
    eventually(lambda: replay.status().state is ReplayState.STOPPED, "the replay waits for its copy")
    assert capture.status().state is CaptureState.RUNNING


def test_a_capture_that_cannot_start_leaves_nothing(store: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_module, "SLOT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(identities_module, "ATTEMPTS", 1)
    with connect(store.url, "tests", autocommit=False) as writing:
        execute(writing, "UPDATE accounts SET balance = 1")
        with pytest.raises(CaptureError, match="does not end"):
            begin(store)
    assert (left_on_server(store), identities(store)) == ([], {"d"})


def test_a_copy_is_stripped_beside_the_replay_and_needs_no_lock_on_its_tables_afterwards(
    store: Target,
) -> None:
    copy = copied(store)
    capture = begin(store)
    publish = f"CREATE PUBLICATION {capture.record.publication} FOR TABLE orders, accounts"
    full = [f"ALTER TABLE {table} REPLICA IDENTITY FULL" for table in ("orders", "accounts")]
    run(copy, publish, *full)  # as a restored backup has them
    replay = start_replay(store, capture, copy)
    vacuum = threading.Event()

    def hold() -> None:
        with connect(copy, "tests") as connection:
            execute(connection, "BEGIN; LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
            vacuum.set()
            time.sleep(1.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert vacuum.wait(10)
    assert replay.strip() == [], "it waits longer than an autovacuum takes to give way"
    holder.join()
    assert read(
        copy, "SELECT DISTINCT relreplident FROM pg_class WHERE relname IN ('orders', 'accounts')"
    ) == [("d",)]
    with connect(copy, "tests") as reader:
        execute(reader, "BEGIN; LOCK TABLE orders, accounts IN ACCESS SHARE MODE")
        assert replay.finish().warnings == ()
    assert read(copy, "SELECT pubname FROM pg_publication") == []


def test_a_copy_can_be_caught_up_from_storage_alone(store: Target, tmp_path: Path) -> None:
    copy = copied(store)
    capture = begin(store)
    writers = Writers(store.url, count=2, pause_s=0.002)
    eventually(lambda: writers.acknowledged > 100, "the writers stand still")
    writers.stop()
    eventually(lambda: capture.status().transactions >= writers.acknowledged, "it is not captured")
    capture.detach()
    elsewhere = Capture(tmp_path / "elsewhere")
    record = fetch_capture(store, capture.record.run_id, elsewhere.folder)
    assert record.slot == capture.record.slot
    assert segment_numbers(spool_folder(elsewhere.folder))
    replay = start_replay(store, elsewhere, copy)
    try:
        eventually(lambda: replay.status().transactions >= writers.acknowledged, "it does not arrive")
        replay.finish()
        writers.assert_all_there(copy)
    finally:
        replay.stop()
        with connect(store.maintenance_url, "tests") as connection:
            execute(connection, f"DROP DATABASE {copy.database} WITH (FORCE)")


def test_readiness_names_what_is_outside_and_what_is_missing(store: Target, server: EmbeddedPostgres) -> None:
    run(store.url, "CREATE UNLOGGED TABLE cache (id int)", "SELECT lo_from_bytea(0, 'x')")
    ready = capture_readiness(store)
    assert ready.possible
    assert [each.table for each in ready.outside] == ["public.cache"]
    assert any("large objects" in check.message for check in ready.checks)
    role = f"plain_{uuid.uuid4().hex[:8]}"
    run(store.url, f"CREATE ROLE {role} LOGIN PASSWORD 'plain-password'")
    try:
        url = store.url.set(username=role, password="plain-password")
        plain = store.model_copy(
            update={"database_url": type(store.database_url)(url.render_as_string(False))}
        )
        refused = capture_readiness(plain)
        assert not refused.possible
        said = " ".join(check.message for check in refused.checks if check.state is CheckState.FAILED)
        assert "REPLICATION" in said
        assert "session_replication_role" in said
        assert refused.marks == "message"
        assert {each.table for each in refused.outside} >= {"public.orders", "public.accounts"}
    finally:
        run(store.url, f"DROP ROLE {role}")


def test_a_capture_is_known_by_its_run_and_no_other(store: Target) -> None:
    capture = begin(store)
    assert open_capture(store, capture.record.run_id).record == capture.record
    with pytest.raises(RefusedError, match="no capture"):
        open_capture(store, "another-run")
    capture.end(store, "done")
    capture.forget()
    assert find_captures(store) == []
