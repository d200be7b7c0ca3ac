"""Snapshots of a managed service: botocore's Stubber checks every call, a real server answers.

What the service really does with these calls could not be tried: there is none here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from sqlalchemy.engine import URL

from lockkeeper.backup import list_backups
from lockkeeper.backup.manifest import save_manifest
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, BackupError, ConfigurationError, RefusedError
from lockkeeper.managed import (
    backups,
    create_snapshot_backup,
    delete_expired_snapshots,
    drill_snapshot_backup,
    restore_snapshot_backup,
    verify_snapshot_backup,
)
from lockkeeper.managed.service import open_service
from lockkeeper.models import BackupKind, BackupManifest, BackupState
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.storage import open_storage
from tests.integration.restorable import fill

SOURCE = {
    "DBInstanceIdentifier": "shop-prod",
    "DBInstanceClass": "db.m6g.large",
    "DBInstanceStatus": "available",
    "DBSubnetGroup": {"DBSubnetGroupName": "private"},
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
    "DBParameterGroups": [{"DBParameterGroupName": "shop16"}],
    "PubliclyAccessible": False,
}
LIKE_SOURCE = {
    "DBInstanceClass": "db.m6g.large",
    "DBSubnetGroupName": "private",
    "VpcSecurityGroupIds": ["sg-1"],
    "DBParameterGroupName": "shop16",
    "PubliclyAccessible": False,
    "Tags": ANY,
}
PROOF = "lockkeeper-proof-shop"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    monkeypatch.setattr(backups, "POLL_S", 0.0)
    client = boto3.client(
        "rds", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="not-a-real-one"
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def target(database: URL, make_target: Callable[..., Target]) -> Target:
    policies = {"backup_kind": "snapshot", "managed_source": "rds:shop-prod"}
    return fill(make_target(database, policies=policies))


class Rds:
    """Answers in order, and the service that is asked."""

    def __init__(self, stub: Stubber, target: Target) -> None:
        self.stub = stub
        self.target = target
        self.service = open_service(target, stub.client)

    def snapshot(self, *statuses: str) -> None:
        self.stub.add_response(
            "create_db_snapshot",
            {},
            {"DBSnapshotIdentifier": ANY, "DBInstanceIdentifier": "shop-prod", "Tags": ANY},
        )
        for status in statuses:
            self.snapshot_is(status)

    def snapshot_is(self, status: str) -> None:
        answer = {"DBSnapshots": [{"Status": status}]}
        self.stub.add_response("describe_db_snapshots", answer, {"DBSnapshotIdentifier": ANY})

    def source(self) -> None:
        self.stub.add_response(
            "describe_db_instances", {"DBInstances": [SOURCE]}, {"DBInstanceIdentifier": "shop-prod"}
        )

    def instance(self, name: str, status: str, **more: Any) -> None:
        answer = {"DBInstances": [{"DBInstanceStatus": status, **more}]}
        self.stub.add_response("describe_db_instances", answer, {"DBInstanceIdentifier": name})

    def no_instance(self, name: str) -> None:
        self.stub.add_client_error(
            "describe_db_instances", "DBInstanceNotFound", expected_params={"DBInstanceIdentifier": name}
        )

    def comes_up(self, name: str) -> None:
        """The instance is made, and is this test's own server."""
        self.instance(name, "creating")
        where = {"Address": "127.0.0.1", "Port": self.target.url.port}
        self.instance(name, "available", Endpoint=where)
        self.instance(name, "available", Endpoint=where)

    def restored(self, name: str, manifest: BackupManifest) -> None:
        self.source()
        self.stub.add_response(
            "restore_db_instance_from_db_snapshot",
            {},
            {
                "DBInstanceIdentifier": name,
                "DBSnapshotIdentifier": backups.snapshot_name(manifest),
                **LIKE_SOURCE,
            },
        )

    def deleted(self, name: str) -> None:
        wanted = {"DBInstanceIdentifier": name, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        self.stub.add_response("delete_db_instance", {}, wanted)

    def proof(self, manifest: BackupManifest) -> None:
        self.no_instance(PROOF)
        self.restored(PROOF, manifest)
        self.comes_up(PROOF)
        self.deleted(PROOF)


@pytest.fixture
def rds(stub: Stubber, target: Target) -> Rds:
    return Rds(stub, target)


@pytest.fixture
def made(rds: Rds) -> BackupManifest:
    rds.snapshot("creating", "available")
    return create_snapshot_backup(rds.target, run_id="tests", service=rds.service)


def test_a_snapshot_is_uploaded_when_available_and_verified_when_every_row_was_read(
    rds: Rds, made: BackupManifest
) -> None:
    assert (made.kind, made.state) == (BackupKind.SNAPSHOT, BackupState.UPLOADED)
    assert made.dump_key == f"lockkeeper-shop-{made.id.lower()}"
    rds.proof(made)
    manifest, verification = verify_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)
    assert manifest.state is BackupState.VERIFIED
    assert (verification.tables, verification.rows) == (2, 700)


def test_a_snapshot_that_comes_back_with_other_rows_than_at_its_first_proof_is_corrupt(
    rds: Rds, made: BackupManifest
) -> None:
    rds.proof(made)
    verify_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)
    with connect(rds.target.url, "tests") as connection:
        execute(connection, "DELETE FROM notes WHERE id = 1")
    rds.proof(made)  # deleted, too, when it is found to be bad
    with pytest.raises(BackupCorruptError, match=r"public\.notes: 200 rows before, 199 rows after"):
        verify_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)
    assert list_backups(rds.target)[0].state is BackupState.FAILED


def test_a_snapshot_that_fails_is_deleted_and_its_backup_failed(rds: Rds) -> None:
    rds.snapshot("creating", "failed")
    rds.stub.add_response("delete_db_snapshot", {}, {"DBSnapshotIdentifier": ANY})
    with pytest.raises(BackupError, match="is failed"):
        create_snapshot_backup(rds.target, run_id="tests", service=rds.service)
    assert list_backups(rds.target)[0].state is BackupState.FAILED


def test_the_service_that_refuses_is_quoted_and_nothing_is_left_uploaded(rds: Rds) -> None:
    rds.stub.add_client_error("create_db_snapshot", "AccessDenied", "not authorized to rds:CreateDBSnapshot")
    rds.stub.add_client_error("delete_db_snapshot", "DBSnapshotNotFound")
    with pytest.raises(BackupError, match="not authorized to rds:CreateDBSnapshot"):
        create_snapshot_backup(rds.target, run_id="tests", service=rds.service)


def test_an_instance_that_a_killed_proof_left_is_deleted_before_the_next(
    rds: Rds, made: BackupManifest
) -> None:
    rds.instance(PROOF, "available")
    rds.deleted(PROOF)
    rds.instance(PROOF, "deleting")
    rds.proof(made)
    verify_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)


def test_a_restore_makes_an_instance_that_stays_and_goes_on_with_it_when_run_again(
    rds: Rds, made: BackupManifest
) -> None:
    name = f"lockkeeper-{made.id.lower()}"
    rds.no_instance(name)
    rds.restored(name, made)
    rds.comes_up(name)
    report = restore_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)
    assert report.instance is not None
    assert (report.instance.host, report.instance.port) == ("127.0.0.1", rds.target.url.port)
    rds.instance(name, "creating")  # it was killed meanwhile: nothing is made twice
    rds.comes_up(name)
    restore_snapshot_backup(rds.target, made.id, run_id="tests", service=rds.service)


@pytest.mark.parametrize(
    ("until", "when"),
    [
        ("latest", {"UseLatestRestorableTime": True}),
        ("2026-11-23T10:45:00Z", {"RestoreTime": datetime(2026, 11, 23, 10, 45, tzinfo=timezone.utc)}),
    ],
)
def test_a_point_in_time_is_the_services_own_restore(
    rds: Rds, made: BackupManifest, until: str, when: dict[str, object]
) -> None:
    name = f"lockkeeper-{made.id.lower()}-pit"
    rds.no_instance(name)
    rds.source()
    ids = {"SourceDBInstanceIdentifier": "shop-prod", "TargetDBInstanceIdentifier": name}
    rds.stub.add_response("restore_db_instance_to_point_in_time", {}, {**ids, **when, **LIKE_SOURCE})
    rds.comes_up(name)
    report = restore_snapshot_backup(rds.target, made.id, run_id="tests", until=until, service=rds.service)
    assert report.instance is not None
    assert report.instance.recovery_lsn == until


def test_a_position_in_the_log_is_refused_before_anything_is_made(rds: Rds, made: BackupManifest) -> None:
    rds.no_instance(f"lockkeeper-{made.id.lower()}-pit")
    with pytest.raises(RefusedError, match="comes back at 'latest' or at a time"):
        restore_snapshot_backup(rds.target, made.id, run_id="tests", until="0/3000060", service=rds.service)


def test_a_drill_makes_times_and_deletes_an_instance(rds: Rds, made: BackupManifest) -> None:
    save_manifest(open_storage(rds.target.storage), made.model_copy(update={"state": BackupState.VERIFIED}))
    rds.proof(made)
    drill = drill_snapshot_backup(rds.target, run_id="tests", service=rds.service)
    assert (drill.backup_kind, drill.rows) == (BackupKind.SNAPSHOT, 700)


def test_snapshots_of_expired_backups_are_deleted_even_when_the_first_try_died(
    rds: Rds, made: BackupManifest
) -> None:
    save_manifest(open_storage(rds.target.storage), made.model_copy(update={"state": BackupState.EXPIRED}))
    name = backups.snapshot_name(made)
    rds.snapshot_is("available")
    rds.stub.add_response("delete_db_snapshot", {}, {"DBSnapshotIdentifier": name})
    assert delete_expired_snapshots(rds.target, rds.service) == [name]
    rds.stub.add_client_error("describe_db_snapshots", "DBSnapshotNotFound")
    assert delete_expired_snapshots(rds.target, rds.service) == []


def test_an_aurora_cluster_comes_back_with_one_instance_of_its_writers_class(
    target: Target, stub: Stubber
) -> None:
    policies = target.policies.model_copy(update={"managed_source": "aurora:shop"})
    target = target.model_copy(update={"policies": policies})
    service = open_service(target, stub.client)
    stub.add_response(
        "create_db_cluster_snapshot",
        {},
        {"DBClusterSnapshotIdentifier": ANY, "DBClusterIdentifier": "shop", "Tags": ANY},
    )
    answer = {"DBClusterSnapshots": [{"Status": "available"}]}
    stub.add_response("describe_db_cluster_snapshots", answer, {"DBClusterSnapshotIdentifier": ANY})
    made = create_snapshot_backup(target, run_id="tests", service=service)
    name = f"lockkeeper-{made.id.lower()}"
    cluster = {
        "Engine": "aurora-postgresql",
        "DBSubnetGroup": "private",
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
        "DBClusterParameterGroup": "shop16",
        "DBClusterMembers": [
            {"DBInstanceIdentifier": "shop-2", "IsClusterWriter": False},
            {"DBInstanceIdentifier": "shop-1", "IsClusterWriter": True},
        ],
    }
    stub.add_client_error("describe_db_clusters", "DBClusterNotFoundFault")
    stub.add_response("describe_db_clusters", {"DBClusters": [cluster]}, {"DBClusterIdentifier": "shop"})
    stub.add_response(
        "restore_db_cluster_from_snapshot",
        {},
        {
            "DBClusterIdentifier": name,
            "SnapshotIdentifier": backups.snapshot_name(made),
            "Engine": "aurora-postgresql",
            "DBSubnetGroupName": "private",
            "VpcSecurityGroupIds": ["sg-1"],
            "DBClusterParameterGroupName": "shop16",
            "Tags": ANY,
        },
    )
    stub.add_response("describe_db_instances", {"DBInstances": [SOURCE]}, {"DBInstanceIdentifier": "shop-1"})
    stub.add_response(
        "create_db_instance",
        {},
        {
            "DBInstanceIdentifier": f"{name}-1",
            "DBClusterIdentifier": name,
            "Engine": "aurora-postgresql",
            "DBInstanceClass": "db.m6g.large",
            "PubliclyAccessible": False,
            "Tags": ANY,
        },
    )
    up = {"Status": "available", "Endpoint": "127.0.0.1", "Port": target.url.port}
    for status in ("creating", "available", "available"):
        stub.add_response("describe_db_clusters", {"DBClusters": [up]}, {"DBClusterIdentifier": name})
        answer = {"DBInstances": [{"DBInstanceStatus": status}]}
        stub.add_response("describe_db_instances", answer, {"DBInstanceIdentifier": f"{name}-1"})
    report = restore_snapshot_backup(target, made.id, run_id="tests", service=service)
    assert report.instance is not None
    assert report.instance.port == target.url.port


def test_a_target_that_names_no_source_is_told_how(target: Target) -> None:
    policies = target.policies.model_copy(update={"managed_source": "shop"})
    with pytest.raises(ConfigurationError, match="rds:INSTANCE or aurora:CLUSTER"):
        open_service(target.model_copy(update={"policies": policies}))
