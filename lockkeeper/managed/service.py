"""What is asked of the managed service, in its own words: of RDS instances, and of Aurora clusters.

Every method makes its calls and returns; waiting is done above. Each can run twice: what is there already, or
gone already, is no error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lockkeeper.config import Target
from lockkeeper.errors import ConfigurationError, ManagedServiceError
from lockkeeper.redaction import redact

TAGS = [{"Key": "made-by", "Value": "lockkeeper"}]
_THERE = ("DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault", "DBInstanceAlreadyExists",
          "DBClusterAlreadyExistsFault")  # fmt: skip
_GONE = ("DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault", "DBInstanceNotFound",
         "DBClusterNotFoundFault", "InvalidDBInstanceState", "InvalidDBClusterStateFault")  # fmt: skip


class Server(NamedTuple):
    """An instance of the service: what the service says of it, and where it answers."""

    status: str
    host: str | None
    port: int | None


class Service(Protocol):
    """One source of the service, its snapshots, and instances made from them."""

    source: str

    def create_snapshot(self, snapshot: str) -> None:
        """Begin a snapshot of the source."""
        ...

    def snapshot_status(self, snapshot: str) -> str | None:
        """Return its status, or None when there is none of that name."""
        ...

    def delete_snapshot(self, snapshot: str) -> None:
        """Delete a snapshot."""
        ...

    def restore_snapshot(self, snapshot: str, name: str) -> None:
        """Begin to make the instance ``name`` from a snapshot, in the source's network and class."""
        ...

    def restore_point(self, name: str, time: datetime | None) -> None:
        """Begin to make the instance ``name`` as the source was at ``time``, or as late as can be."""
        ...

    def server(self, name: str) -> Server | None:
        """Return how an instance stands, or None when there is none."""
        ...

    def delete(self, name: str) -> None:
        """Begin to delete an instance that a restore has made, without a last snapshot."""
        ...


def open_service(target: Target, client: Any = None) -> Service:
    """Return the service that the policy ``managed_source`` names, e.g. rds:shop-prod or aurora:shop.

    Raises:
        ConfigurationError: the policy is missing or names something else.
    """
    kind, _, source = target.policies.managed_source.partition(":")
    if kind not in ("rds", "aurora") or not source:
        raise ConfigurationError(
            f"Target {target.name!r} does not say what to make snapshots of. Set the policy managed_source "
            "to rds:INSTANCE or aurora:CLUSTER."
        )
    with calling("open"):
        region = target.policies.managed_region or None
        made: Any = client if client is not None else boto3.client("rds", region_name=region)
    return RdsInstance(made, source) if kind == "rds" else AuroraCluster(made, source)


@contextlib.contextmanager
def calling(what: str, *harmless: str) -> Iterator[None]:
    """Convert boto3's errors, but for those whose code is ``harmless``."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code not in harmless:
            raise ManagedServiceError(f"{what}: {redact(str(error))}", code) from error
    except BotoCoreError as error:
        raise ManagedServiceError(f"{what}: {redact(str(error))}", None) from error


class RdsInstance:
    """A PostgreSQL instance of Amazon RDS."""

    def __init__(self, client: Any, source: str) -> None:
        self._client = client
        self.source = source

    def create_snapshot(self, snapshot: str) -> None:
        """See ``Service``."""
        with calling("create_db_snapshot", *_THERE):
            self._client.create_db_snapshot(
                DBSnapshotIdentifier=snapshot, DBInstanceIdentifier=self.source, Tags=TAGS
            )

    def snapshot_status(self, snapshot: str) -> str | None:
        """See ``Service``."""
        with calling("describe_db_snapshots", *_GONE):
            answer = self._client.describe_db_snapshots(DBSnapshotIdentifier=snapshot)
            return str(answer["DBSnapshots"][0]["Status"])
        return None

    def delete_snapshot(self, snapshot: str) -> None:
        """See ``Service``."""
        with calling("delete_db_snapshot", *_GONE):
            self._client.delete_db_snapshot(DBSnapshotIdentifier=snapshot)

    def restore_snapshot(self, snapshot: str, name: str) -> None:
        """See ``Service``."""
        with calling("restore_db_instance_from_db_snapshot", *_THERE):
            self._client.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot, Tags=TAGS, **self._like_source()
            )

    def restore_point(self, name: str, time: datetime | None) -> None:
        """See ``Service``."""
        when: dict[str, Any] = {"UseLatestRestorableTime": True} if time is None else {"RestoreTime": time}
        with calling("restore_db_instance_to_point_in_time", *_THERE):
            self._client.restore_db_instance_to_point_in_time(
                SourceDBInstanceIdentifier=self.source,
                TargetDBInstanceIdentifier=name,
                Tags=TAGS,
                **when,
                **self._like_source(),
            )

    def server(self, name: str) -> Server | None:
        """See ``Service``."""
        with calling("describe_db_instances", *_GONE):
            found = self._client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
            endpoint = found.get("Endpoint", {})
            return Server(str(found["DBInstanceStatus"]), endpoint.get("Address"), endpoint.get("Port"))
        return None

    def delete(self, name: str) -> None:
        """See ``Service``."""
        with calling("delete_db_instance", *_GONE):
            self._client.delete_db_instance(
                DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
            )

    def _like_source(self) -> dict[str, Any]:
        """Return class, network and parameters of the source: the service's defaults would be others."""
        answer = self._client.describe_db_instances(DBInstanceIdentifier=self.source)
        source: Mapping[str, Any] = answer["DBInstances"][0]
        groups = [group["VpcSecurityGroupId"] for group in source.get("VpcSecurityGroups", [])]
        parameters = [group["DBParameterGroupName"] for group in source.get("DBParameterGroups", [])]
        return {
            "DBInstanceClass": source["DBInstanceClass"],
            "DBSubnetGroupName": source["DBSubnetGroup"]["DBSubnetGroupName"],
            "PubliclyAccessible": bool(source.get("PubliclyAccessible")),
            "VpcSecurityGroupIds": groups,
            **({"DBParameterGroupName": parameters[0]} if parameters else {}),
        }


class AuroraCluster:
    """An Aurora PostgreSQL cluster; a restore is a cluster with one instance of the writer's class."""

    def __init__(self, client: Any, source: str) -> None:
        self._client = client
        self.source = source

    def create_snapshot(self, snapshot: str) -> None:
        """See ``Service``."""
        with calling("create_db_cluster_snapshot", *_THERE):
            self._client.create_db_cluster_snapshot(
                DBClusterSnapshotIdentifier=snapshot, DBClusterIdentifier=self.source, Tags=TAGS
            )

    def snapshot_status(self, snapshot: str) -> str | None:
        """See ``Service``."""
        with calling("describe_db_cluster_snapshots", *_GONE):
            answer = self._client.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot)
            return str(answer["DBClusterSnapshots"][0]["Status"])
        return None

    def delete_snapshot(self, snapshot: str) -> None:
        """See ``Service``."""
        with calling("delete_db_cluster_snapshot", *_GONE):
            self._client.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot)

    def restore_snapshot(self, snapshot: str, name: str) -> None:
        """See ``Service``."""
        with calling("restore_db_cluster_from_snapshot"):
            source = self._source()
            with calling("restore_db_cluster_from_snapshot", *_THERE):
                self._client.restore_db_cluster_from_snapshot(
                    DBClusterIdentifier=name,
                    SnapshotIdentifier=snapshot,
                    Engine=source["Engine"],
                    Tags=TAGS,
                    **_network(source),
                )
            self._add_instance(name, source)

    def restore_point(self, name: str, time: datetime | None) -> None:
        """See ``Service``."""
        when: dict[str, Any] = {"UseLatestRestorableTime": True} if time is None else {"RestoreToTime": time}
        with calling("restore_db_cluster_to_point_in_time"):
            source = self._source()
            with calling("restore_db_cluster_to_point_in_time", *_THERE):
                self._client.restore_db_cluster_to_point_in_time(
                    DBClusterIdentifier=name,
                    SourceDBClusterIdentifier=self.source,
                    Tags=TAGS,
                    **when,
                    **_network(source),
                )
            self._add_instance(name, source)

    def server(self, name: str) -> Server | None:
        """See ``Service``; available when the cluster's instance is."""
        with calling("describe_db_clusters", *_GONE):
            cluster = self._client.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
            status = str(cluster["Status"])
            if status == "available":
                with calling("describe_db_instances", *_GONE):
                    status = "creating"
                    answer = self._client.describe_db_instances(DBInstanceIdentifier=_writer(name))
                    status = str(answer["DBInstances"][0]["DBInstanceStatus"])
            return Server(status, cluster.get("Endpoint"), cluster.get("Port"))
        return None

    def delete(self, name: str) -> None:
        """See ``Service``."""
        with calling("delete_db_instance", *_GONE):
            self._client.delete_db_instance(DBInstanceIdentifier=_writer(name), SkipFinalSnapshot=True)
        with calling("delete_db_cluster", *_GONE):
            self._client.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)

    def _source(self) -> Mapping[str, Any]:
        answer = self._client.describe_db_clusters(DBClusterIdentifier=self.source)
        found: Mapping[str, Any] = answer["DBClusters"][0]
        return found

    def _add_instance(self, name: str, source: Mapping[str, Any]) -> None:
        """Give a new cluster an instance of the class that the source's writer has."""
        members = sorted(source["DBClusterMembers"], key=lambda member: not member.get("IsClusterWriter"))
        writer = members[0]["DBInstanceIdentifier"]
        like = self._client.describe_db_instances(DBInstanceIdentifier=writer)["DBInstances"][0]
        with calling("create_db_instance", *_THERE):
            self._client.create_db_instance(
                DBInstanceIdentifier=_writer(name),
                DBClusterIdentifier=name,
                Engine=source["Engine"],
                DBInstanceClass=like["DBInstanceClass"],
                PubliclyAccessible=bool(like.get("PubliclyAccessible")),
                Tags=TAGS,
            )


def _network(source: Mapping[str, Any]) -> dict[str, Any]:
    groups = [group["VpcSecurityGroupId"] for group in source.get("VpcSecurityGroups", [])]
    parameters = source.get("DBClusterParameterGroup")
    return {
        "DBSubnetGroupName": source["DBSubnetGroup"],
        "VpcSecurityGroupIds": groups,
        **({"DBClusterParameterGroupName": parameters} if parameters else {}),
    }


def _writer(name: str) -> str:
    return f"{name}-1"
