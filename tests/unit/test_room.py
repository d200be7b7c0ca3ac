"""What is said of a disk: what cannot fit is refused, what may not is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from lockkeeper.backup.manifest import save_manifest
from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.models import BackupManifest, BackupState, CheckState, utc_now
from lockkeeper.room import Need, dump, judge, proof
from lockkeeper.storage import open_storage
from lockkeeper.storage.local import disk_of

MIB = 2**20
COPY = Need(Path("/data"), "the verified copy takes", 100 * MIB, "name a scratch server")
DUMP = Need(Path("/backups"), "the backup takes at most", 50 * MIB, "store backups elsewhere", certain=False)


@pytest.mark.parametrize(
    ("free_mib", "needs", "state"),
    [
        (100, [COPY], CheckState.OK),
        (99, [COPY], CheckState.FAILED),
        (50, [DUMP], CheckState.OK),
        (49, [DUMP], CheckState.WARNING),
        (150, [COPY, DUMP], CheckState.OK),
        (149, [COPY, DUMP], CheckState.WARNING),
        (149, [COPY, DUMP._replace(certain=True)], CheckState.FAILED),
        (99, [COPY, DUMP], CheckState.FAILED),
    ],
)
def test_all_that_goes_to_one_disk_must_fit_together(
    free_mib: int, needs: list[Need], state: CheckState
) -> None:
    check = judge(free_mib * MIB, needs)
    assert check.state is state
    assert f"{free_mib} MiB are free" in check.message
    for need in needs:
        assert str(need.folder) in check.message
        assert (need.remedy in check.message) == (state is not CheckState.OK)


@pytest.mark.parametrize(
    ("captures", "rehearsal", "scratch", "times"),
    [
        (True, "full", None, 2),
        (True, "schema-only", None, 2),
        (True, "off", None, 1),
        (False, "full", None, 1),
        (True, "full", "postgresql://u@elsewhere/postgres", 1),
        (True, "full", "postgresql://u@here/postgres", 2),
    ],
)
def test_a_copy_that_stands_by_beside_the_clone_of_the_rehearsal_takes_as_much_again(
    tmp_path: Path, captures: bool, rehearsal: str, scratch: str | None, times: int
) -> None:
    target = Target(
        name="shop",
        database_url=SecretStr("postgresql://u@here/shop"),
        storage=LocalStorageSettings(path=tmp_path),
        scratch_url=SecretStr(scratch) if scratch else None,
        policies=Policies(rehearsal=rehearsal),
    )
    assert proof(target, 10, captures).size_bytes == 10 * times


def test_a_first_backup_takes_at_most_the_databases_size_the_next_one_as_much_as_the_last(
    tmp_path: Path,
) -> None:
    target = Target(
        name="shop",
        database_url=SecretStr("postgresql://u@here/shop"),
        storage=LocalStorageSettings(path=tmp_path),
    )
    need = dump(target, 10, tmp_path)
    assert (need.size_bytes, need.certain) == (10, False)
    last = BackupManifest(
        id="20260101T000000Z-abcdef",
        target="shop",
        database="shop",
        state=BackupState.VERIFIED,
        created_at=utc_now(),
        updated_at=utc_now(),
        server_version_num=160000,
        size_bytes=30,
        database_bytes=100,
    )
    save_manifest(open_storage(target.storage), last)
    need = dump(target, 200, tmp_path)
    assert (need.size_bytes, need.certain) == (60, True)


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_above(tmp_path: Path) -> None:
    assert disk_of(tmp_path / "not" / "yet").device == tmp_path.stat().st_dev
    (tmp_path / "file").touch()
    assert disk_of(tmp_path / "file" / "below").device == tmp_path.stat().st_dev
