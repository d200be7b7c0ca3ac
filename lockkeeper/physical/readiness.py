"""Whether a physical backup of a target can be made from here, said before anything is begun."""

from __future__ import annotations

from lockkeeper.config import Target
from lockkeeper.errors import ConfigurationError, PreflightError
from lockkeeper.models import Check, CheckState
from lockkeeper.physical.cluster import Cluster, read_cluster
from lockkeeper.physical.programs import find_physical_programs
from lockkeeper.postgres.connection import connect

NAME = "physical backup"
WAL_SENDERS = SLOTS = 2


def problems(target: Target, cluster: Cluster) -> list[str]:
    """Return why no physical backup can be made; empty: one can."""
    found = []
    role = target.url.username
    if not cluster.may_replicate:
        found.append(f"role {role} may not copy the server's files: ALTER ROLE {role} REPLICATION")
    if cluster.wal_level == "minimal":
        found.append("wal_level is minimal: set it to replica, or to logical, and restart the server")
    if cluster.tablespaces:
        found.append(
            f"the server has {cluster.tablespaces} tablespaces of its own: pg_basebackup cannot stream "
            "more than one, so nothing could be stored without a copy on this machine"
        )
    if cluster.max_wal_senders - cluster.wal_senders < WAL_SENDERS:
        found.append(
            f"{WAL_SENDERS} WAL senders are needed, max_wal_senders is {cluster.max_wal_senders} and "
            f"{cluster.wal_senders} are in use"
        )
    if cluster.max_slots - cluster.slots < SLOTS:
        found.append(
            f"{SLOTS} replication slots are needed for a while, max_replication_slots is {cluster.max_slots} "
            f"and {cluster.slots} are in use"
        )
    try:
        find_physical_programs(cluster.server_version_num, target.client_bin_dir)
    except ConfigurationError as error:
        found.append(str(error))
    return found


def require_ready(target: Target, cluster: Cluster) -> None:
    """Raise PreflightError with every problem at once."""
    if found := problems(target, cluster):
        raise PreflightError([f"{NAME}: {problem}" for problem in found])


def check_readiness(target: Target, run_id: str) -> list[Check]:
    """Return the preflight's checks where the policy asks for physical backups, which no migration needs."""
    if target.policies.backup_kind != "physical":
        return []
    with connect(target.url, "preflight", run_id=run_id) as connection:
        cluster = read_cluster(connection)
    found = problems(target, cluster)
    if not target.policies.physical_folder:
        found.append("it could not be restored: set the policy physical_folder")
    if found:
        return [Check(name=NAME, state=CheckState.WARNING, message=problem) for problem in found]
    message = f"{cluster.size_bytes / 2**20:.0f} MiB can be copied, " + (
        "and compared with production"
        if cluster.wal_level == "logical"
        else "and read back, but not compared with production: that needs wal_level = logical"
    )
    return [Check(name=NAME, state=CheckState.OK, message=message)]
