"""Break what a migration stands on (storage, backup, disk, the run itself): the database equals before.

``docs/faults.md`` lists these tests.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute
from tests.acceptance.aftermath import assert_as_before

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"


class GoneStorageEngine(Engine):
    """Loses its storage for good when the first of the dump has arrived there."""

    def say(self, step):
        tell = super().say(step)
        folder = self.target.storage.path

        def tell_and_unmount(message):
            tell(message)
            if getattr(message, "stage", "") == "dump" and message.done_bytes and folder.is_dir():
                folder.rename(folder.with_name("unmounted"))
                folder.write_text("not a folder any more")

        return tell_and_unmount


def test_a_storage_that_is_gone_during_the_backup_changes_nothing(shop) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(engine_type=GoneStorageEngine)
    folder = shop.target.storage.path
    assert folder.is_file(), "it went while the dump was streaming"
    folder.unlink()
    folder.with_name("unmounted").rename(folder)
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["backup"]
    assert "in the storage folder" in report.error
    assert any("The journal could not be written" in warning for warning in report.warnings)
    assert_as_before(shop)


@contextmanager
def damaged(path) -> Iterator[None]:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    yield


class FlippedBitEngine(Engine):
    """Flips one bit of the stored dump."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        with damaged(dump):
            return super().verify_backup(backup_id, keep_copy)


class TruncatedEngine(Engine):
    """Cuts the stored dump in half."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        os.truncate(dump, dump.stat().st_size // 2)
        return super().verify_backup(backup_id, keep_copy)


class MissingEngine(Engine):
    """Deletes the stored dump."""

    def verify_backup(self, backup_id, keep_copy=False):
        (dump,) = self.target.storage.path.rglob("dump*")
        dump.unlink()
        return super().verify_backup(backup_id, keep_copy)


@pytest.mark.parametrize("engine_type", [FlippedBitEngine, TruncatedEngine, MissingEngine])
def test_a_damaged_backup_is_noticed_before_anything_is_migrated(shop, engine_type) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(engine_type=engine_type)
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["verify-backup"]
    assert report.backup_id in report.error
    assert_as_before(shop)


def test_a_full_disk_under_the_scratch_database_changes_nothing(server_folder, make_shop) -> None:
    with temporary_postgres(server_folder / "shop") as own, ExitStack() as scratch_server:
        # PostgreSQL reports a file-size limit as it reports a full disk: "could not extend file".
        with limited_file_size(20 * 2**20):
            scratch = scratch_server.enter_context(temporary_postgres(server_folder / "scratch"))
        scratch_url = scratch.url().render_as_string(hide_password=False)
        shop = make_shop(own, scratch_url=scratch_url)
        with connect(shop.url, "setup") as connection:
            execute(connection, "CREATE TABLE big AS SELECT repeat('x', 1900) FROM generate_series(1, 20000)")
        shop.remember()
        shop.add_revision("r1", ADD_STATUS)
        report = shop.migrate()
        assert report.outcome is Outcome.UNCHANGED
        assert "could not extend file" in report.error
        assert_as_before(shop)


@contextmanager
def limited_file_size(limit: int) -> Iterator[None]:
    """Limit the size of files that this process and the servers started in the block can write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class InterruptedEngine(Engine):
    """Gets SIGINT, as from Ctrl-C, while the migration runs."""

    def _on_revision(self, *event):
        os.kill(os.getpid(), signal.SIGINT)
        return super()._on_revision(*event)


def test_an_interrupt_in_mid_migration_changes_nothing_and_ends_the_statement(shop) -> None:
    shop.add_revision("r1", ADD_STATUS + '\nop.execute("SELECT pg_sleep(60)")')
    with pytest.raises(KeyboardInterrupt):
        shop.migrate(engine_type=InterruptedEngine)
    (journal,) = shop.target.storage.path.rglob("runs/*.json")
    assert "interrupted (KeyboardInterrupt)" in journal.read_text()
    assert_as_before(shop)
