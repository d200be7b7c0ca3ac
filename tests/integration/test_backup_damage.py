"""Backups that were damaged after they were made: found, named, and never trusted again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lockkeeper.backup import (
    create_backup,
    latest_verified,
    list_backups,
    load_manifest,
    verify_backup,
)
from lockkeeper.backup.manifest import manifest_key, save_manifest
from lockkeeper.config import Target
from lockkeeper.errors import (
    BackupCorruptError,
)
from lockkeeper.models import BackupState
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.storage import open_storage

Corrupt = Callable[[Path, Path], None]


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
