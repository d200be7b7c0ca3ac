"""The ways back, gone in the rehearsal: what a migration that fails would need has been tried before it runs.

On the copy, which is by then where the plan leads to: the downgrade of the whole plan, in a process of its
own as in production, held against the schema and the rows from before; then the exchange of databases by
which a warm copy, or a restored backup, takes over.

What fails is told, and changes the order of the recovery ladder. It speaks against the migration only when
nothing else leads back. Every database that is made or renamed here bears the run's note all the time, so
that what a kill leaves is found and dropped as any other scratch database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import Target
from lockkeeper.errors import AlembicProjectError, DatabaseError, LockkeeperError, MigrationError
from lockkeeper.measured import DOWNGRADE, SWAP, WayBack
from lockkeeper.models import (
    BackupManifest,
    Check,
    DatabaseProperties,
    DataFingerprint,
    MigrationPlan,
    SchemaFingerprint,
)
from lockkeeper.postgres.connection import Connection, connect, fetch_value, scratch_name
from lockkeeper.postgres.databases import create_scratch, drop_database
from lockkeeper.postgres.fence import allow_connections, exchange_names
from lockkeeper.postgres.properties import apply_properties
from lockkeeper.proving.data_findings import data_findings
from lockkeeper.proving.declarations import Declarations
from lockkeeper.proving.models import RevisionProof
from lockkeeper.proving.observation import Observer, schema_findings
from lockkeeper.redaction import redact
from lockkeeper.verification import failed

SHOWN = 5
_MY_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = %s"


def rehearse_downgrade(
    session: AlembicSession,
    observer: Observer,
    plan: MigrationPlan,
    proofs: Sequence[RevisionProof],
    declarations: Declarations,
    before: tuple[SchemaFingerprint, DataFingerprint],
) -> WayBack:
    """Revert the whole plan as a recovery does, and hold what comes out against what was there before.

    A recovery proves that the database is what it was, whatever the project declares that its downgrades may
    leave; so does this. Rows are not read once more where the stairway has just found a single revision's
    downgrade to bring back each of them.

    Args:
        session: open on the copy, which is at the end of the plan; a fresh process is made in it.
        observer: of the copy.
        plan: what to revert.
        proofs: what the stairway has found of it.
        declarations: the project's own.
        before: the copy's schema and rows where the plan begins.
    """
    for step in plan.steps:
        if reason := declarations.irreversible.get(step.id):
            why = f"revision {step.id} is declared irreversible ({reason}); only another database leads back"
            return WayBack(way=DOWNGRADE, worked=None, why=why, blocked_by=(step.id,))
    session.meter = session.recorded = None
    began = time.monotonic()
    try:
        session.renew()
        session.downgrade(plan.before, drop_version_table=not plan.version_table_exists)
        duration_s = time.monotonic() - began
        left = schema_findings(before[0], observer.schema())
        if len(proofs) > 1 or proofs[0].findings:
            left += data_findings(before[1], observer.data())
    except (MigrationError, AlembicProjectError, DatabaseError) as error:
        at = error.revision if isinstance(error, MigrationError) else None
        return WayBack(way=DOWNGRADE, worked=False, why=_first_line(error), blocked_by=(at,) if at else ())
    if left:
        more = f"; and {len(left) - SHOWN} more" if left[SHOWN:] else ""
        why = "; ".join(one.message for one in left[:SHOWN]) + more
        return WayBack(way=DOWNGRADE, worked=False, duration_s=duration_s, why=why)
    return WayBack(way=DOWNGRADE, worked=True, duration_s=duration_s)


def rehearse_swap(target: Target, copy_url: URL, backup: BackupManifest, run_id: str) -> WayBack:
    """Let an empty database take the copy's place as a warm copy would take the target's, and change back.

    The stand-in gets the encoding, owner, grants and settings of the target's database; then the copy is
    closed, its sessions are ended, and both are renamed in one transaction. How large a database is does not
    matter for that, so no second copy is made. Nobody may be in the copy but who may be thrown out.

    Args:
        target: its own database is not touched.
        copy_url: the copy; it has its name again afterwards.
        backup: what the copy was restored from.
        run_id: the run it belongs to.
    """
    if target.scratch_server_url != target.maintenance_url:
        why = "the copy is on another server than the database; a recovery restores beside the database"
        return WayBack(way=SWAP, worked=None, why=why)
    try:
        with connect(target.maintenance_url, "rehearse", run_id=run_id) as server:
            duration_s = _there_and_back(server, target, copy_url, backup.properties, run_id)
    except DatabaseError as error:
        return WayBack(way=SWAP, worked=False, why=_first_line(error))
    return WayBack(way=SWAP, worked=True, duration_s=duration_s)


def _there_and_back(
    server: Connection, target: Target, copy_url: URL, properties: DatabaseProperties | None, run_id: str
) -> float:
    """Return for how long nobody could connect under the copy's name."""
    copy, aside = str(copy_url.database), scratch_name(target.database, "aside")
    stand_in = create_scratch(
        server,
        target.database,
        "standin",
        run_id=run_id,
        reason="takes the place of the rehearsal's copy for a moment, as a warm copy would the database's",
        properties=properties,
    )
    if properties is not None:
        apply_properties(server, stand_in, properties)
    expected = fetch_value(server, _OID, (stand_in,))
    began = time.monotonic()
    allow_connections(server, copy, False)
    exchange_names(server, database=copy, copy=stand_in, aside=aside, comments={})
    duration_s = time.monotonic() - began
    with connect(copy_url, "rehearse", run_id=run_id) as connection:
        if fetch_value(connection, _MY_OID) != expected:
            raise DatabaseError("after the swap the former database still answers")
    exchange_names(server, database=copy, copy=aside, aside=stand_in, comments={})
    allow_connections(server, copy, True)
    drop_database(server, stand_in)
    return duration_s


def check_ways_back(ways: Sequence[WayBack]) -> list[Check]:
    """Refuse a migration that nothing was seen to lead back from, when the last resort failed as well."""
    if any(one.worked for one in ways) or all(one.worked is not False for one in ways if one.way == SWAP):
        return []
    told = "; ".join(f"{one.way}: {one.why}" for one in ways)
    return [failed("recovery", f"no way back worked in the rehearsal, so production is not touched: {told}")]


def _first_line(error: LockkeeperError) -> str:
    """Return what failed, without the traceback that follows."""
    return redact(str(error).strip().partition("\n")[0])
