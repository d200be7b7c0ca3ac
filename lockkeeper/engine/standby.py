"""The way back of a run, kept ready: what is written since the backup is captured, a copy is kept warm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from lockkeeper.alembic_project import OwnMarks
from lockkeeper.backup.manifest import note_identities
from lockkeeper.backup.snapshot import ExportedSnapshot
from lockkeeper.engine.run import EngineRun
from lockkeeper.errors import DatabaseError, LockkeeperError
from lockkeeper.models import BackupManifest, Outcome, WarmCopy, utc_now
from lockkeeper.postgres.read_only import WRITE_AGAIN
from lockkeeper.recovery.capture import (
    adopt_tables_statements,
    own_session_statements,
    own_transaction_statements,
    starting_capture,
)
from lockkeeper.recovery.provision import Provided, Provision, provision_of
from lockkeeper.recovery.standby import (
    BAKING,
    HUMAN,
    KEPT_FOR_A_HUMAN,
    Standby,
    let_go_of_earlier,
)
from lockkeeper.recovery.write_fence import WriteFence
from lockkeeper.text_units import format_duration

RUN_LIMIT = timedelta(hours=24)
"""How long a capture goes on for a run that was killed; each revision may take its own limit beside it."""
SESSIONS_AT_ONCE = 8
"""How many connections a migration may hold open at the same time, each with a mark of its own."""


class StandbyEngine(EngineRun):
    """Holds the way back of this run: ``standby`` is None while, or where, nothing is captured."""

    standby: Standby | None = None
    _write_fence: WriteFence | None = None
    _provided: Provided | None = None

    def provided(self) -> Provided:
        """Return how this run provides for writes that come after its backup; asked once."""
        if self._provided is None:
            self._provided = provision_of(self.target, self.run_id)
        return self._provided

    def captures(self) -> bool:
        """Whether a migration of this target captures what is written since its backup."""
        return self.provided().provision is Provision.CAPTURE

    def captured_backup(
        self, revisions: int, dump: Callable[[ExportedSnapshot | None], BackupManifest]
    ) -> BackupManifest:
        """Start the capture and make the backup at its first moment; without a capture just the backup.

        By policy applications may only read from then on, where nothing can be captured.

        What earlier runs keep of theirs is let go of: only one way back can be kept for one database.
        """
        if self.provided().provision is Provision.FENCE:
            self._write_fence = WriteFence(self.target, self.run_id)
        if not self.captures():
            return dump(None)
        for told in let_go_of_earlier(self.target, self.run_id):
            self._progress("capture", told)
        until = (
            utc_now() + RUN_LIMIT + revisions * timedelta(seconds=self.target.policies.migration_timeout_s)
        )
        with starting_capture(self.target, self.run_id, until=until) as started:
            record = started.capture.record
            former = {one.identity: one.former_identity for one in record.tables if one.full}
            manifest = note_identities(self.target, dump(started.snapshot), former)
        self.standby = Standby(self.target, self.run_id, started.capture)
        return manifest

    def stand_by(self, backup: BackupManifest, copy_database: str) -> WarmCopy:
        """Keep the verified copy and replay into it from now on; a clone of it is for the rehearsal.

        On a scratch server of its own the copy cannot take the database's place: it is not kept warm, and
        a recovery restores the backup and replays. So it is where there is no room for a clone.
        """
        rehearses = self.target.policies.rehearsal != "off"
        standby = self.standby
        if standby is None:
            return WarmCopy(rehearsal_database=copy_database, warm=False, message="nothing is captured")
        if self.target.scratch_server_url != self.target.maintenance_url:
            message = "the copy is on another server: a recovery restores the backup and replays"
            return WarmCopy(rehearsal_database=copy_database, warm=False, message=message)
        standby.copy = copy_database
        try:
            rehearsal = standby.clone() if rehearses else None
        except DatabaseError as error:
            standby.copy = None
            message = f"no clone could be made for the rehearsal, so no copy is kept warm: {error}"
            return WarmCopy(rehearsal_database=copy_database, warm=False, message=message)
        standby.warm_up(copy_database, backup.id)
        message = f"{copy_database} takes over when need be; everything that is written is replayed into it"
        return WarmCopy(rehearsal_database=rehearsal, warm=True, message=message)

    def marks(self) -> OwnMarks | None:
        """Return what a migration's sessions run first: a mark that keeps their writes from being replayed.

        Under a write fence they let themselves write.
        """
        if self.standby is None:
            return OwnMarks(((WRITE_AGAIN,),)) if self._write_fence else None
        record = self.standby.capture.record
        sessions = tuple(tuple(own_session_statements(record, number)) for number in range(SESSIONS_AT_ONCE))
        return OwnMarks(
            sessions,
            next(iter(own_transaction_statements(record)), None),
            tuple(adopt_tables_statements(record)),
        )

    def settle(self, outcome: Outcome | None, backup_id: str | None) -> list[str]:
        """Keep the way back for an undo or for a human, else let go of it; returns warnings, raises none.

        An outcome of None means that the run ended before anything was changed.
        """
        told = self._settle_write_fence(outcome)
        if self.standby is None:
            return told
        try:
            return told + self._settle(self.standby, outcome, backup_id)
        except LockkeeperError as error:
            return [*told, f"The way back of this run could not be settled: {error}"]

    def _settle_write_fence(self, outcome: Outcome | None) -> list[str]:
        fence, self._write_fence = self._write_fence, None
        if fence is None:
            return []
        try:
            if outcome is Outcome.NEEDS_HUMAN:
                fence.keep(f"run {self.run_id} needs a human")
                return [
                    "Applications may still only read, so that nothing gets lost. A restore ends that; "
                    f"`{self.by_hand.clean(waiting=True)}` lets them write to the database as it is."
                ]
            return [f"Applications could only read for {format_duration(fence.lift())}."]
        except LockkeeperError as error:
            return [f"Applications may still only read; `{self.by_hand.clean()}` ends that: {error}"]

    def _settle(self, standby: Standby, outcome: Outcome | None, backup_id: str | None) -> list[str]:
        policies = self.target.policies
        if outcome is Outcome.SUCCEEDED and policies.bake_time_s and standby.is_warm:
            until = utc_now() + timedelta(seconds=policies.bake_time_s)
            reason = f"kept for `{self.by_hand.undo()}` until {until:%Y-%m-%d %H:%M} UTC"
            standby.keep(BAKING, until, backup_id, reason)
            return []
        if outcome is Outcome.NEEDS_HUMAN:
            reason = f"kept for `{self.by_hand.recover()}`"
            standby.keep(HUMAN, utc_now() + KEPT_FOR_A_HUMAN, backup_id, reason)
            return []
        return standby.let_go("its run has ended")
