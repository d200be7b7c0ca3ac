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
from lockkeeper.physical.base_backup import pg_basebackup_cmd
from lockkeeper.physical.cluster import Cluster
from lockkeeper.physical.files import pg_verifybackup_cmd
from lockkeeper.physical.instance import Instance, closed_settings, postgres_cmd
from lockkeeper.physical.programs import PhysicalPrograms, find_physical_programs
from lockkeeper.physical.restore import instance_folder
from lockkeeper.physical.serving import serving_settings
from lockkeeper.physical.wal import pg_receivewal_cmd, received_segments

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
        "--endpos=0/3000060",
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
