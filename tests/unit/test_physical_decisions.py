"""What is decided about physical backups without any server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.errors import ConfigurationError
from lockkeeper.models import BackupKind, BackupManifest, BackupState, PhysicalFacts, utc_now
from lockkeeper.physical import programs as programs_module
from lockkeeper.physical import readiness
from lockkeeper.physical.archive import expire_archived, next_segment
from lockkeeper.physical.base_backup import pg_basebackup_cmd
from lockkeeper.physical.cluster import Cluster
from lockkeeper.physical.files import pg_verifybackup_cmd
from lockkeeper.physical.instance import Instance, closed_settings, postgres_cmd
from lockkeeper.physical.point import parse_point
from lockkeeper.physical.programs import PhysicalPrograms, find_physical_programs
from lockkeeper.physical.restore import instance_folder
from lockkeeper.physical.serving import serving_settings
from lockkeeper.physical.wal import pg_receivewal_cmd, received_segments
from lockkeeper.storage.local import LocalStorage

PROGRAMS = PhysicalPrograms(Path("/pg/bin"), None)
TARGET = Target(
    name="shop",
    database_url=SecretStr("postgresql://app:hunter22@db:5432/shop"),
    storage=LocalStorageSettings(path=Path("/storage")),
)
CLUSTER = Cluster(160014, 10**9, 0, "logical", True, 10, 0, 10, 0)


def instance(folder: Path) -> Instance:
    now = utc_now()
    facts = PhysicalFacts(
        recovery_lsn="0/3000060",
        at_snapshot=True,
        timeline=1,
        first_segment="000000010000000000000002",
        last_segment="000000010000000000000003",
        wal_bytes=2 * 2**24,
        cluster_bytes=10**9,
        settings={"max_connections": "250"},
    )
    manifest = BackupManifest(
        id="20261123T104500Z-1a2b3c",
        kind=BackupKind.PHYSICAL,
        physical=facts,
        target="shop",
        database="shop",
        state=BackupState.UPLOADED,
        created_at=now,
        updated_at=now,
        server_version_num=160014,
    )
    return Instance(folder, PROGRAMS, manifest)


def test_no_argv_says_where_to_or_as_whom_to_connect(tmp_path: Path) -> None:
    assert pg_basebackup_cmd(PROGRAMS) == [
        "/pg/bin/pg_basebackup", "--format=tar", "--pgdata=-", "--wal-method=none", "--checkpoint=fast",
        "--no-password",
    ]  # fmt: skip
    assert pg_receivewal_cmd(PROGRAMS, tmp_path, "0/3000060") == [
        "/pg/bin/pg_receivewal", f"--directory={tmp_path}", "--no-loop", "--no-sync", "--no-password",
        "--status-interval=1",         "--endpos=0/3000060",
    ]  # fmt: skip
    assert pg_verifybackup_cmd(instance(tmp_path))[-2:] == [
        f"--wal-directory={tmp_path}/wal",
        f"{tmp_path}/data",
    ]


def test_a_server_that_is_looked_at_can_be_reached_by_nobody_and_reaches_nobody(tmp_path: Path) -> None:
    settings = closed_settings(instance(tmp_path), tmp_path / "sockets")
    assert settings["listen_addresses"] == settings["primary_conninfo"] == settings["archive_command"] == ""
    assert settings["archive_mode"] == "off"
    assert settings["max_logical_replication_workers"] == "0"
    assert settings["shared_preload_libraries"] == ""
    assert settings["max_connections"] == "250", "recovery refuses less than the primary had"
    assert settings["recovery_target_lsn"] == "0/3000060"
    assert settings["recovery_target_inclusive"] == "off"
    argv = postgres_cmd(PROGRAMS, tmp_path / "data", settings)
    assert argv[:3] == ["/pg/bin/postgres", "-D", str(tmp_path / "data")]
    assert "archive_mode=off" in argv


def test_a_folder_with_a_space_survives_the_shell_of_restore_command(tmp_path: Path) -> None:
    settings = closed_settings(instance(tmp_path / "my disk"), tmp_path)
    assert settings["restore_command"] == f"cp '{tmp_path}/my disk/wal'/%f %p"


def test_a_server_that_serves_keeps_its_own_configuration_where_it_came_along(tmp_path: Path) -> None:
    made = instance(tmp_path)
    made.data.mkdir()
    without = serving_settings(made, "127.0.0.1", 5555)
    (made.data / "postgresql.conf").write_text("max_connections = 300\n")
    own = serving_settings(made, "127.0.0.1", 5555)
    assert without["max_connections"] == "250"
    assert "max_connections" not in own
    assert (own["archive_mode"], own["max_logical_replication_workers"]) == ("off", "0")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"may_replicate": False}, "ALTER ROLE app REPLICATION"),
        ({"wal_level": "minimal"}, "wal_level is minimal"),
        ({"tablespaces": 2}, "2 tablespaces of its own"),
        ({"max_wal_senders": 3, "wal_senders": 2}, "2 WAL senders are needed"),
        ({"max_slots": 1}, "2 replication slots are needed"),
    ],
)
def test_whatever_forbids_a_physical_backup_is_said_beforehand(
    changed: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "find_physical_programs", lambda *_: PROGRAMS)
    assert readiness.problems(TARGET, CLUSTER) == []
    (problem,) = readiness.problems(TARGET, CLUSTER._replace(**changed))
    assert said in problem


def test_programs_of_another_major_are_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "program_folders", lambda: [Path("/a"), Path("/b")])
    monkeypatch.setattr(programs_module, "_major", lambda folder: 15 if folder.name == "a" else 18)
    with pytest.raises(ConfigurationError, match=r"those of 15, 18\. Install postgresql-16"):
        find_physical_programs(160014)


def test_a_target_without_a_folder_is_told_which_policy_names_it() -> None:
    with pytest.raises(ConfigurationError, match="--set physical_folder="):
        instance_folder(TARGET, "20261123T104500Z-1a2b3c")


def test_segments_are_known_by_their_names_partial_or_not(tmp_path: Path) -> None:
    for name in ("000000010000000000000003.partial", "000000010000000000000002", "archive_status", "x.gz"):
        (tmp_path / name).touch()
    assert [path.name for path in received_segments(tmp_path)] == [
        "000000010000000000000002",
        "000000010000000000000003.partial",
    ]


@pytest.mark.parametrize(
    ("name", "segment_bytes", "following"),
    [
        ("000000010000000000000003", 2**24, "000000010000000000000004"),
        ("0000000100000000000000FF", 2**24, "000000010000000100000000"),
        ("00000002000000000000000F", 2**28, "000000020000000100000000"),
    ],
)
def test_the_segment_after_a_segment_follows_its_size(name: str, segment_bytes: int, following: str) -> None:
    assert next_segment(name, segment_bytes) == following


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("latest", {}),
        ("0/300a0", {"recovery_target_lsn": "0/300A0", "recovery_target_inclusive": "off"}),
        ("2026-11-23T10:45:00Z", {"recovery_target_time": "2026-11-23 10:45:00+00:00"}),
        ("2026-11-23 10:45:00", {"recovery_target_time": "2026-11-23 10:45:00+00:00"}),
        ("2026-11-23T10:45:00+02:00", {"recovery_target_time": "2026-11-23 10:45:00+02:00"}),
    ],
)
def test_a_moment_is_a_position_a_time_or_the_end(text: str, settings: dict[str, str]) -> None:
    assert parse_point(text).settings() == settings


def test_what_is_no_moment_is_refused_with_what_one_looks_like() -> None:
    with pytest.raises(ConfigurationError, match="'yesterday' is no moment: give latest"):
        parse_point("yesterday")


def test_archived_log_goes_only_when_no_backup_that_is_kept_needs_it(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    names = ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003.partial"]
    keys = [f"shop/wal/{system}/{name}.zst" for system in ("7001", "7002") for name in names]
    for key in keys:
        storage.put_bytes(key, b"log")
    kept = instance(tmp_path).manifest.model_copy(update={"system_identifier": "7001"})
    assert expire_archived(storage, "shop", [kept]) == 1
    assert [item.key for item in storage.list("shop/wal/")] == keys[1:]
    assert expire_archived(storage, "shop", []) == 0
