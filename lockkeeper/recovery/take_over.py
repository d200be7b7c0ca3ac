"""A copy that has everything takes the database's place, and no write is lost.

Beside the application: the copy's schema and constraints are checked, and it is waited until the replay is
less than a second behind. Under the fence: the last changes, sequences, and the proof that what is never
captured (unlogged tables, large objects) was not written. Whatever fails, the original serves on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.engine import URL

from lockkeeper.backup.capture_traces import without_capture
from lockkeeper.backup.copy import restored_copy
from lockkeeper.backup.counters import LARGE_OBJECTS, Counters
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.config import Target
from lockkeeper.errors import DatabaseError, ReplayLagError, VerificationError, WouldLoseWritesError
from lockkeeper.models import BackupManifest, RestoreReport, SchemaFingerprint
from lockkeeper.postgres.connection import Connection, connect, execute
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.postgres.properties import apply_properties
from lockkeeper.recovery.capture import Capture, tables_not_captured
from lockkeeper.recovery.exchange import Exchange, Swapped, drop_quarantine, put_in_place
from lockkeeper.recovery.replay import (
    Constraint,
    ParkedWrite,
    Replay,
    ReplayOutcome,
    check_constraints,
    start_replay,
)
from lockkeeper.recovery.standby import Standby
from lockkeeper.recovery.write_proof import FencedScene, written_since
from lockkeeper.storage import open_storage

GATE_LAG_S = 1.0
"""The fence is closed only when a mark reaches the copy within this: its drain lasts about as long."""
GATE_TIMEOUT_S = 3600.0
DRAIN_TIMEOUT_S = 30.0
CONSTRAINTS_BUDGET_S = 4.0
"""How long foreign keys and checks of the copy are looked at before the swap. They were all checked when the
copy was restored; only what was replayed since can break one. The rest is looked at after the swap."""
OWN_SCHEMAS = ("lockkeeper_replay", "lockkeeper_parked")


@dataclass
class TakeOver:
    """One copy on its way into a database's place.

    Attributes:
        target: whose database.
        manifest: the backup that the copy was restored from.
        capture: what was written since.
        replay: brings it into the copy.
        copy_url: the copy.
        run_id: the run whose way back this is: by its name on the quarantine, whoever comes after a kill
            sees that the exchange was done.
        reason: why, written on the quarantined database.
        own_writes: what the migration wrote to tables that are not captured, where that is known.
        spend: called before the copy is finished: after that nothing can be replayed into it any more.
    """

    target: Target
    manifest: BackupManifest
    capture: Capture
    replay: Replay
    copy_url: URL
    run_id: str
    reason: str
    own_writes: Mapping[str, Counters]
    spend: Callable[[], None] = lambda: None
    outcome: ReplayOutcome | None = None
    unchecked: Sequence[Constraint] = ()

    def perform(self) -> Swapped:
        """Check, gate, fence, drain, swap; raises as ``put_in_place``, and when a check or the gate fails."""
        self.replay.strip()
        self._check_copy()
        if self.manifest.properties is not None:
            with connect(self.target.maintenance_url, "restore", run_id=self.run_id) as server:
                apply_properties(server, str(self.copy_url.database), self.manifest.properties)
        return put_in_place(
            Exchange(
                self.target,
                self.copy_url,
                self.run_id,
                self.reason,
                comment=self.manifest.properties.comment if self.manifest.properties else None,
                before_fence=self._before_fence,
                before_swap=self._before_swap,
                tells_sequences=False,
            )
        )

    def _check_copy(self) -> None:
        """Hold the copy's schema against the backup's, and check its foreign keys, while all others write."""
        with connect(self.copy_url, "verify", run_id=self.run_id) as connection:
            findings = schema_as_served(self.manifest.schema_fingerprint, schema_fingerprint(connection))
        constraints = check_constraints(self.copy_url, self.run_id, budget_s=CONSTRAINTS_BUDGET_S)
        findings += constraints.findings
        self.unchecked = constraints.unchecked
        if findings:
            raise VerificationError("The copy cannot take the database's place", findings)

    def late_findings(self) -> list[str]:
        """Check, in the database that the copy has become, the constraints that there was no time for."""
        if not self.unchecked:
            return []
        try:
            return check_constraints(self.target.url, self.run_id, only=self.unchecked).findings
        except DatabaseError as error:
            names = ", ".join(f"{one.name} of {one.table}" for one in self.unchecked)
            return [f"constraints not checked after what was replayed: {names}: {error}"]

    def _before_fence(self, scene: FencedScene) -> Collection[int]:
        wait_until_close(self.replay, scene.connection)
        walsender = self.capture.walsender_pid(scene.connection)
        return [] if walsender is None else [walsender]

    def _before_swap(self, scene: FencedScene) -> None:
        self.replay.catch_up(scene.connection, DRAIN_TIMEOUT_S)
        self._prove_the_rest(scene)
        self.spend()
        self.outcome = self.replay.finish()
        self.capture.detach()

    def _prove_the_rest(self, scene: FencedScene) -> None:
        """Refuse when something that is never captured was written since the backup."""
        if self.target.policies.recovery == "accept-loss":
            return
        outside = {LARGE_OBJECTS, *(one.table for one in self.capture.record.outside)}
        outside.update(tables_not_captured(scene.connection, self.capture.record))
        findings = written_since(scene, self.manifest, self.own_writes, only=outside)
        if findings:
            raise WouldLoseWritesError(
                "What cannot be captured was written since the backup, and would be lost", findings
            )


def describe_parked(write: ParkedWrite) -> str:
    """Return one readable line: which write, when, why; by its key: contents do not belong in reports."""
    key = ", ".join(f"{name}={value}" for name, value in write.row_key.items())
    # Without a key of its own a row is known by all of its values.
    shown = key if write.row_key.keys() != write.row_values.keys() else f"{len(write.row_key)} values"
    fate = "the row is there" if write.carried else "not carried over"
    at = f"{write.committed_at:%Y-%m-%d %H:%M:%S}"
    return f"{write.operation} of {write.table} ({shown}) at {at}: {write.reason} ({fate})"


def wait_until_close(replay: Replay, source: Connection, timeout_s: float = GATE_TIMEOUT_S) -> float:
    """Wait until a mark made at the source reaches the copy within ``GATE_LAG_S``; returns how long it took.

    Raises:
        ReplayLagError: the replay does not catch up in time.
    """
    deadline = time.monotonic() + timeout_s
    while (remaining := deadline - time.monotonic()) > 0:
        took_s = replay.catch_up(source, remaining)
        if took_s <= GATE_LAG_S:
            return took_s
    raise ReplayLagError(f"The copy was never less than {GATE_LAG_S} s behind in {timeout_s:.0f} s.")


def schema_as_served(before: SchemaFingerprint | None, now: SchemaFingerprint) -> list[str]:
    """Name the differences that applications could see: not our publication, identities and bookkeeping."""
    if before is None:
        return ["the backup has no schema fingerprint"]
    return compare_schemas(without_capture(before), without_capture(now), ignore_schemas=OWN_SCHEMAS)


class TakingOver(Protocol):
    """One way of taking a database back without losing a write."""

    def __call__(
        self,
        standby: Standby,
        manifest: BackupManifest,
        *,
        reason: str,
        own_writes: Mapping[str, Counters],
        progress: ProgressCallback | None = None,
    ) -> RestoreReport:
        """Do it, or leave everything as it was and raise."""
        ...


def swap_warm_copy(
    standby: Standby,
    manifest: BackupManifest,
    *,
    reason: str,
    own_writes: Mapping[str, Counters],
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Let the warm copy take the place of the database; the caller holds the migration lock.

    Raises:
        CaptureError: what feeds the copy has ended, or does not start again.
        ReplayError: the copy does not catch up.
        VerificationError: the copy is not what it must be.
        WouldLoseWritesError: what cannot be captured was written.
        DatabaseError: PostgreSQL refused a step. In all cases the original serves on.
    """
    began = time.monotonic()
    (progress or silent)(Progress("swap"))
    standby.ensure_running()
    if standby.replay is None:
        raise VerificationError("The warm copy", ["nothing is replayed into it"])
    take_over = TakeOver(
        standby.target,
        manifest,
        standby.capture,
        standby.replay,
        standby.copy_url,
        standby.run_id,
        reason,
        own_writes,
        spend=standby.spend,
    )
    swapped = take_over.perform()
    standby.copy = standby.replay = None
    return _report(take_over, swapped, began, ())


def restore_with_replay(
    standby: Standby,
    manifest: BackupManifest,
    *,
    reason: str,
    own_writes: Mapping[str, Counters],
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Restore the backup beside the database, replay everything captured into it, let it take the place.

    Raises:
        LockkeeperError: as ``swap_warm_copy`` and ``restored_copy``; the original serves on.
    """
    began, target, run_id = time.monotonic(), standby.target, standby.run_id
    tell = progress or silent
    standby.drop_copy()
    standby.capture.ensure_running(target)
    storage = open_storage(target.storage)
    with restored_copy(
        target, storage, manifest, target.maintenance_url, "restore", run_id=run_id, progress=tell
    ) as copy:
        with connect(copy.url, "analyze", run_id=run_id) as connection:
            execute(connection, "ANALYZE")
        tell(Progress("replay"))
        replay = start_replay(target, standby.capture, copy.url)
        try:
            with connect(target.url, "gate", run_id=run_id) as source:
                wait_until_close(replay, source)
            take_over = TakeOver(
                target, manifest, standby.capture, replay, copy.url, run_id, reason, own_writes
            )
            swapped = take_over.perform()
        except BaseException:
            replay.abandon()
            raise
    return _report(take_over, swapped, began, copy.warnings)


def _report(take_over: TakeOver, swapped: Swapped, began: float, warnings: tuple[str, ...]) -> RestoreReport:
    target, told = take_over.target, [*warnings, *swapped.warnings]
    told += take_over.capture.end(target, take_over.reason, database=swapped.quarantine)
    told += replayed.warnings if (replayed := take_over.outcome) else ()
    told += take_over.late_findings()
    quarantine = swapped.quarantine
    if quarantine and not target.policies.keep_quarantine:
        quarantine = drop_quarantine(target, quarantine, take_over.run_id, told)
    return RestoreReport(
        backup_id=take_over.manifest.id,
        database=target.database,
        quarantine_database=quarantine,
        fence_s=round(swapped.fence_s, 3),
        duration_s=round(time.monotonic() - began, 3),
        revisions=take_over.manifest.revisions,
        warnings=tuple(told),
        replayed_changes=replayed.changes if replayed else None,
        parked=tuple(map(describe_parked, replayed.parked)) if replayed else (),
        parked_table=replayed.parked_table if replayed else None,
    )
