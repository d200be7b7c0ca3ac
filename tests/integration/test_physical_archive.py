"""The archive of the log: a physical backup comes back at any later moment, up to the last seconds."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.backup.progress import silent
from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.errors import BackupCorruptError, RefusedError
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.local.daemons import end_process
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import BackupManifest, Outcome
from lockkeeper.operations import run_restore
from lockkeeper.physical import Archiver, archive, create_physical_backup, parse_point
from lockkeeper.physical.archive import archive_prefix
from lockkeeper.physical.instance import instance_of
from lockkeeper.physical.scratch import scratch_folder
from lockkeeper.physical.serving import Serving
from lockkeeper.physical.verify import compared
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.recovery.capture.files import load
from lockkeeper.runbook import MigrationRequest
from lockkeeper.storage import open_storage
from tests.integration.restorable import fill, until

_RECEIVED = """
SELECT count(*) FROM pg_stat_replication WHERE application_name = 'lockkeeper:archive' AND write_lsn >= %s
"""


@pytest.fixture
def target(
    every_server: EmbeddedPostgres,
    make_database: Callable[..., URL],
    make_target: Callable[..., Target],
    server_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Target]:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(archive, "PARTIAL_INTERVAL_S", 0.1)
    folder = server_folder / "from-the-archive"
    policies = {"backup_kind": "physical", "physical_folder": str(folder)}
    yield fill(make_target(make_database(every_server), policies=policies))
    for record in folder.glob("*/serving.json"):
        end_process(load(record, Serving).process)
    shutil.rmtree(folder, ignore_errors=True)


class Archiving:
    """An archiver at work in a thread, until ``stop``."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.told: list[str] = []
        self._stopped = threading.Event()
        self.archiver = Archiver(target, self.told.append)
        self._thread = threading.Thread(target=self.archiver.run, args=(self._stopped.is_set,))
        self._thread.start()
        until(lambda: received(target, "0/0"))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def archiving(target: Target) -> Iterator[Archiving]:
    at_work = Archiving(target)
    yield at_work
    at_work.stop()


def received(target: Target, lsn: str) -> bool:
    with connect(target.maintenance_url, "tests") as connection:
        return bool(fetch_value(connection, _RECEIVED, (lsn,)))


def write(target: Target, statement: str) -> str:
    """Run a statement and return a position of the log behind it."""
    with connect(target.url, "tests") as connection:
        execute(connection, statement)
        return str(fetch_value(connection, "SELECT pg_current_wal_insert_lsn()::text"))


def users_at(target: Target, manifest: BackupManifest, moment: str) -> int:
    with scratch_folder(target) as folder:
        instance = instance_of(target, manifest, folder, parse_point(moment))
        with (
            compared(target, open_storage(target.storage), instance, "tests", silent) as found,
            connect(found.url, "tests") as connection,
        ):
            return int(fetch_value(connection, "SELECT count(*) FROM users"))


def test_a_backup_comes_back_just_before_a_mistake_and_at_the_end_of_the_archive(
    target: Target, archiving: Archiving
) -> None:
    manifest = create_physical_backup(target, run_id="tests")
    before = write(target, "INSERT INTO users (name) SELECT 'late' FROM generate_series(1, 300)")
    write(target, "DELETE FROM users WHERE id <= 500")  # the mistake
    with connect(target.maintenance_url, "tests") as connection:
        fetch_value(connection, "SELECT pg_switch_wal()::text")  # a segment is completed, another begins
    last = write(target, "INSERT INTO users (name) VALUES ('last')")
    until(lambda: received(target, last))
    archiving.stop()
    assert archiving.archiver.segments >= 1
    assert users_at(target, manifest, before) == 800
    assert users_at(target, manifest, "latest") == 301

    steps, request = Engine(target, "r1"), MigrationRequest("r1", target.name, target.database)
    report = run_restore(steps, request, manifest.id, until=before)
    assert report.outcome is Outcome.NEEDS_HUMAN, report.error
    assert report.restore is not None
    instance = report.restore.instance
    assert instance is not None
    assert instance.recovery_lsn == before
    with connect(target.url.set(host=instance.host, port=instance.port), "tests") as connection:
        assert fetch_value(connection, "SELECT count(*) FROM users") == 800


@pytest.mark.parametrize("every_server", [16], indirect=True)
def test_an_archiver_that_was_stopped_goes_on_where_it_was_and_is_alone(
    target: Target, archiving: Archiving
) -> None:
    manifest = create_physical_backup(target, run_id="tests")
    with pytest.raises(RefusedError, match="archived by another process"):
        Archiver(target, print).run(lambda: False)
    archiving.stop()
    write(target, "INSERT INTO users (name) SELECT 'meanwhile' FROM generate_series(1, 7)")
    again = Archiving(target)
    last = write(target, "INSERT INTO users (name) SELECT 'after' FROM generate_series(1, 5)")
    until(lambda: received(target, last))
    again.stop()
    assert again.told == []
    assert users_at(target, manifest, "latest") == 512


@pytest.mark.parametrize("every_server", [16], indirect=True)
def test_an_archive_that_does_not_reach_the_backup_or_the_moment_says_so(
    target: Target, archiving: Archiving
) -> None:
    manifest = create_physical_backup(target, run_id="tests")
    last = write(target, "INSERT INTO users (name) VALUES ('last')")
    until(lambda: received(target, last))
    archiving.stop()
    with pytest.raises(BackupCorruptError, match="does not recover"):
        users_at(target, manifest, "FF/0")
    storage = open_storage(target.storage)
    for item in storage.list(archive_prefix(target.name, str(manifest.system_identifier))):
        storage.delete(item.key)
    with pytest.raises(BackupCorruptError, match="does not reach back to backup"):
        users_at(target, manifest, "latest")
