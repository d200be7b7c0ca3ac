"""Physical backups: what production held at their moment is in the server that comes back from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup import create_backup, expire_backups, list_backups
from lockkeeper.backup.manifest import backup_prefix, base_key, load_manifest, save_manifest, segment_key
from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.engine import Engine
from lockkeeper.errors import BackupCorruptError, BackupError, ProgramError
from lockkeeper.local.daemons import end_process, is_running
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import BackupKind, BackupManifest, BackupState, Outcome, utc_now
from lockkeeper.operations import run_backup, run_drill, run_restore
from lockkeeper.physical import (
    base_backup,
    create_physical_backup,
    files,
    restore_physical_backup,
    verify_physical_backup,
)
from lockkeeper.physical.restore import instance_folder
from lockkeeper.physical.scratch import scratch_folder
from lockkeeper.physical.serving import Serving
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.recovery.capture.files import load
from lockkeeper.runbook import MigrationRequest
from lockkeeper.storage import open_storage
from tests.integration.restorable import fill, until

MakeTarget = Callable[..., Target]


@pytest.fixture
def physical(make_target: MakeTarget, server_folder: Path) -> Iterator[Callable[..., Target]]:
    """Return a function: URL (policies) -> a target whose backups are physical; servers made are removed."""
    folder = server_folder / "brought-back"

    def make(url: URL, **policies: object) -> Target:
        wanted = {"backup_kind": "physical", "physical_folder": str(folder), **policies}
        return make_target(url, policies=wanted)

    yield make
    for record in folder.glob("*/serving.json"):
        end_process(load(record, Serving).process)
    shutil.rmtree(folder, ignore_errors=True)


def request(target: Target, run_id: str) -> MigrationRequest:
    return MigrationRequest(run_id=run_id, target=target.name, database=target.database, initiator="tests")


def count(url: URL, table: str) -> int:
    with connect(url, "tests") as connection:
        return int(fetch_value(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))))


def test_a_physical_backup_comes_back_as_a_server_with_exactly_its_moment(
    every_server: EmbeddedPostgres, make_database: Callable[..., URL], physical: Callable[..., Target]
) -> None:
    target = fill(physical(make_database(every_server)))
    report = run_backup(Engine(target, "b1"), request(target, "b1"))
    assert report.outcome is Outcome.SUCCEEDED, report.error
    manifest = load_manifest(target, str(report.backup_id))
    assert (manifest.kind, manifest.state) == (BackupKind.PHYSICAL, BackupState.VERIFIED)
    assert manifest.physical is not None
    assert manifest.physical.at_snapshot
    with connect(target.url, "tests") as connection:
        execute(connection, "DELETE FROM users")

    report = run_restore(Engine(target, "r1"), request(target, "r1"), manifest.id)

    assert report.outcome is Outcome.NEEDS_HUMAN, report.error
    assert report.restore is not None
    instance = report.restore.instance
    assert instance is not None
    there = target.url.set(host=instance.host, port=instance.port)
    assert (count(there, "users"), count(target.url, "users")) == (500, 0)
    with connect(there, "tests") as connection:  # it takes writes, with sequences that go on
        execute(connection, "INSERT INTO users (name) VALUES ('new')")
        assert fetch_value(connection, "SELECT max(id) FROM users") > 500
    again = run_restore(Engine(target, "r2"), request(target, "r2"), manifest.id)
    assert again.outcome is Outcome.REFUSED
    assert str(instance.port) in str(again.error)


@pytest.fixture
def backed_up(database: URL, physical: Callable[..., Target]) -> Target:
    """The shop with one physical backup, not verified yet."""
    target = fill(physical(database))
    create_physical_backup(target, run_id="tests")
    return target


def only_backup(target: Target) -> BackupManifest:
    (manifest,) = list_backups(target)
    return manifest


def test_what_was_committed_before_the_moment_is_there_and_nothing_after(
    backed_up: Target,
) -> None:
    # Only under the very snapshot of the moment is the comparison of every row a proof.
    with connect(backed_up.url, "tests") as connection:
        execute(connection, "UPDATE notes SET note = 'later'")
    manifest, verification = verify_physical_backup(backed_up, only_backup(backed_up).id, run_id="tests")
    assert manifest.state is BackupState.VERIFIED
    assert (verification.tables, verification.rows) == (2, 700)
    assert manifest.data_fingerprint is not None


def test_what_a_killed_proof_has_left_is_removed_by_the_next_and_what_is_in_use_is_not(
    backed_up: Target,
) -> None:
    left = Path(backed_up.policies.physical_folder) / "lockkeeper-scratch-of-a-dead-process"
    left.mkdir(parents=True)
    (left / "claim.lock").touch()
    with scratch_folder(backed_up) as mine, scratch_folder(backed_up) as other:
        assert not left.exists()
        assert mine.exists()
        assert other.exists()
    assert not mine.exists()


def test_a_changed_byte_in_the_stored_files_makes_the_backup_failed(backed_up: Target) -> None:
    manifest = only_backup(backed_up)
    assert isinstance(backed_up.storage, LocalStorageSettings)
    path = backed_up.storage.path / str(manifest.dump_key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BackupCorruptError):
        verify_physical_backup(backed_up, manifest.id, run_id="tests")
    assert only_backup(backed_up).state is BackupState.FAILED


@pytest.mark.parametrize("front", [b"no header of tar" * 640, b""], ids=["tar fails", "tar sees the end"])
def test_stored_files_that_end_tar_early_are_compared_to_their_end(backed_up: Target, front: bytes) -> None:
    manifest = only_backup(backed_up)
    assert isinstance(backed_up.storage, LocalStorageSettings)
    path = backed_up.storage.path / str(manifest.dump_key)
    path.write_bytes(zstandard.compress(front + bytes(64 * 2**20)).ljust(manifest.size_bytes, b"\0"))
    with pytest.raises(BackupCorruptError, match="sha256"):
        verify_physical_backup(backed_up, manifest.id, run_id="tests")
    assert only_backup(backed_up).state is BackupState.FAILED


def test_on_a_full_disk_nobody_waits_for_the_rest_of_the_archive(
    backed_up: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FULL_DISK_BYTES", 1 << 62)
    manifest = only_backup(backed_up)
    assert isinstance(backed_up.storage, LocalStorageSettings)
    path = backed_up.storage.path / str(manifest.dump_key)
    path.write_bytes(zstandard.compress(b"no tar" * 99 + bytes(64 * 2**20)).ljust(manifest.size_bytes, b"\0"))
    with pytest.raises(ProgramError, match="tar failed"):
        verify_physical_backup(backed_up, manifest.id, run_id="tests")
    assert only_backup(backed_up).state is not BackupState.FAILED


def test_a_missing_segment_of_the_log_makes_the_backup_failed(backed_up: Target) -> None:
    manifest = only_backup(backed_up)
    assert manifest.physical is not None
    open_storage(backed_up.storage).delete(
        segment_key(backed_up.name, manifest.id, manifest.physical.last_segment)
    )
    with pytest.raises(BackupCorruptError, match="its manifest says"):
        verify_physical_backup(backed_up, manifest.id, run_id="tests")
    assert only_backup(backed_up).state is BackupState.FAILED


def test_content_that_differs_from_production_is_named(backed_up: Target) -> None:
    manifest = only_backup(backed_up)
    assert manifest.data_fingerprint is not None
    tables = dict(manifest.data_fingerprint.tables)
    tables["public.notes"] = tables["public.notes"].model_copy(update={"rows": 201})
    other = manifest.data_fingerprint.model_copy(update={"tables": tables})
    storage = open_storage(backed_up.storage)
    save_manifest(storage, manifest.model_copy(update={"data_fingerprint": other}))
    with pytest.raises(BackupCorruptError, match=r"public\.notes: 201 rows before, 200 rows after"):
        verify_physical_backup(backed_up, manifest.id, run_id="tests")


def test_nothing_stays_on_the_server_or_in_storage_when_the_copy_is_killed(
    database: URL, physical: Callable[..., Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fill(physical(database))
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(base_backup, "pg_basebackup_cmd", lambda _: [sys.executable, "-c", kill])
    with pytest.raises(BackupError, match="failed"):
        create_physical_backup(target, run_id="tests")
    manifest = only_backup(target)
    assert manifest.state is BackupState.FAILED
    keys = [item.key for item in open_storage(target.storage).list(backup_prefix(target.name, manifest.id))]
    assert [key.rsplit("/", 1)[1] for key in keys] == ["manifest.json"]
    with connect(target.maintenance_url, "tests") as connection:
        query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'lockkeeper_moment%'"
        assert fetch_value(connection, query) == 0


_HANGING = """
import os, pathlib
from pydantic import SecretStr
from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.physical import base_backup
base_backup.pg_basebackup_cmd = lambda _: ["sleep", "600"]
target = Target(
    name="shop", database_url=SecretStr(os.environ["TEST_URL"]),
    storage=LocalStorageSettings(path=pathlib.Path(os.environ["TEST_STORAGE"])),
    policies=Policies(physical_folder=os.environ["TEST_FOLDER"]),
)
base_backup.create_physical_backup(target, run_id="killed")
"""


def test_a_backup_that_is_killed_keeps_no_log_back_and_the_next_one_is_made(
    database: URL, physical: Callable[..., Target]
) -> None:
    target = fill(physical(database))
    assert isinstance(target.storage, LocalStorageSettings)
    environment = {
        **os.environ,
        "TEST_URL": target.database_url.get_secret_value(),
        "TEST_STORAGE": str(target.storage.path),
        "TEST_FOLDER": target.policies.physical_folder,
    }

    def count_of(query: str) -> int:
        with connect(target.maintenance_url, "tests") as connection:
            return int(fetch_value(connection, query))

    slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'lockkeeper_log%'"
    receivers = "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE '%:physical:killed'"
    with subprocess.Popen([sys.executable, "-c", _HANGING], env=environment) as process:
        until(lambda: count_of(slots) and count_of(receivers))
        process.kill()
    until(lambda: not count_of(slots) and not count_of(receivers))
    assert only_backup(target).state is BackupState.STARTED
    manifest = create_physical_backup(target, run_id="tests")
    assert manifest.state is BackupState.UPLOADED
    assert list(Path(target.policies.physical_folder).glob("lockkeeper-scratch-*")) == []


def test_expired_backups_leave_no_byte_and_the_last_verified_of_each_kind_stays(backed_up: Target) -> None:
    keep_one = Policies(retention_count=1, retention_days=0)
    target = backed_up.model_copy(update={"policies": keep_one})
    storage, newest = open_storage(target.storage), only_backup(target)
    verified = {"state": BackupState.VERIFIED, "created_at": utc_now() - timedelta(days=3)}
    save_manifest(storage, newest.model_copy(update=verified))
    dump = create_backup(target, run_id="tests")
    save_manifest(storage, dump.model_copy(update={"state": BackupState.VERIFIED}))
    assert expire_backups(target) == []
    old = newest.model_copy(update={**verified, "id": "20200101T000000Z-aaaaaa"})
    save_manifest(storage, old)
    for key in (base_key(target.name, old.id), segment_key(target.name, old.id, "0" * 24)):
        storage.put_bytes(key, b"content")
    assert expire_backups(target) == [old.id]
    left = [item.key for item in storage.list(backup_prefix(target.name, old.id))]
    assert [key.rsplit("/", 1)[1] for key in left] == ["manifest.json"]


def test_a_restore_that_was_killed_begins_anew(backed_up: Target) -> None:
    manifest = only_backup(backed_up)
    half = instance_folder(backed_up, manifest.id)
    (half / "data").mkdir(parents=True)
    (half / "data" / "PG_VERSION").write_text("16")
    report = restore_physical_backup(backed_up, manifest.id, run_id="tests")
    assert report.instance is not None
    there = backed_up.url.set(host=report.instance.host, port=report.instance.port)
    assert count(there, "users") == 500
    assert only_backup(backed_up).state is BackupState.VERIFIED
    former = load(half / "serving.json", Serving)
    assert former is not None
    (half / "serving.json").rename(half / "was.json")  # killed just before it could write that it was done
    again = restore_physical_backup(backed_up, manifest.id, run_id="tests")
    assert again.instance is not None
    assert count(backed_up.url.set(host=again.instance.host, port=again.instance.port), "users") == 500
    assert not is_running(former.process)


def test_the_switch_command_runs_with_the_new_address_only_when_loss_is_accepted(
    backed_up: Target, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = f"sh -c 'echo $LOCKKEEPER_HOST:$LOCKKEEPER_PORT/$LOCKKEEPER_DATABASE > {told}'"
    policies = backed_up.policies.model_copy(update={"switch_command": command})
    target = backed_up.model_copy(update={"policies": policies})
    manifest = only_backup(target)
    report = run_restore(Engine(target, "r1"), request(target, "r1"), manifest.id, accept_loss=True)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert report.restore is not None
    instance = report.restore.instance
    assert instance is not None
    assert told.read_text().strip() == f"{instance.host}:{instance.port}/{target.database}"


def test_a_drill_times_the_way_back_from_the_physical_backup(backed_up: Target) -> None:
    verify_physical_backup(backed_up, only_backup(backed_up).id, run_id="tests")
    report = run_drill(Engine(backed_up, "d1"), request(backed_up, "d1"))
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert report.drill is not None
    assert report.drill.backup_kind is BackupKind.PHYSICAL
    assert report.drill.rows == 700
    assert report.drill.restore_s <= report.drill.predicted_recovery_s
    assert list(Path(backed_up.policies.physical_folder).glob("lockkeeper-scratch-*")) == []
