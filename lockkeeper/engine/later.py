"""The steps of ``undo`` and ``recover``, done for real: see ``lockkeeper.recoveries``."""

from __future__ import annotations

from lockkeeper.backup import load_manifest
from lockkeeper.engine.operations import LOOKED_THROUGH, OperationEngine
from lockkeeper.engine.recovery import RecoveryEngine
from lockkeeper.errors import ConfigurationError, RefusedError
from lockkeeper.journal import read_reports, write_report
from lockkeeper.models import BackupManifest, Outcome, RestoreReport, RunReport
from lockkeeper.postgres.databases import QUARANTINE, list_leftovers
from lockkeeper.recoveries import Unfinished
from lockkeeper.recovery.capture.names import slot_name
from lockkeeper.recovery.capture.orphans import SLOT, find_orphans
from lockkeeper.recovery.remains import remove_remains
from lockkeeper.recovery.standby import baking_standby, find_standby
from lockkeeper.recovery.take_over import swap_warm_copy
from lockkeeper.signals import uninterrupted
from lockkeeper.storage import open_storage


class LaterEngine(RecoveryEngine, OperationEngine):
    """The real ``LaterSteps``."""

    def undoable(self) -> BackupManifest:
        """Find the copy that is kept for an undo, and have what feeds it run.

        Raises:
            RefusedError: none is kept, or it is fed from another machine.
            CaptureError: what feeds it has ended.
        """
        standby, note = baking_standby(self.target)
        if note.backup_id is None:
            raise ConfigurationError(f"The note of {standby.copy} names no backup: it cannot be verified.")
        standby.ensure_running()
        self.standby = standby
        return load_manifest(self.target, note.backup_id)

    def undo(self, backup: BackupManifest, asked_by: str) -> RestoreReport:
        """Let the kept copy take over with everything that was written since; verify.

        Raises:
            LockkeeperError: as ``recovery.swap_warm_copy``; the database serves as before.
        """
        if self.standby is None:
            raise ConfigurationError("No copy was found to undo with.")
        with uninterrupted("the undo"), self.asking_about_losses(backup):
            done = swap_warm_copy(
                self.standby,
                backup,
                reason=f"undone by {asked_by or 'an operator'}",
                own_writes={},
                progress=self.say("undo"),
            )
            self.require_schema_of(backup)
        return done

    def unfinished(self) -> Unfinished:
        """Find the newest run that did not end, and its way back, whatever became of its processes.

        Raises:
            RefusedError: the newest migrations have all ended, or what this one has captured is on another
                machine: without it a recovery would lose writes.
        """
        reports = read_reports(open_storage(self.target.storage), self.target.name, newest=LOOKED_THROUGH)
        migrations = [report for report in reports if report.operation == "migrate"]
        if not migrations or migrations[0].outcome not in (None, Outcome.NEEDS_HUMAN):
            raise RefusedError(
                f"No migration of {self.target.name} waits for a recovery: the last one has ended. "
                f"`{self.by_hand.undo()}` undoes one that succeeded."
            )
        report = migrations[0]
        if self.target.policies.recovery == "manual":
            # Whoever has started this is the human that the policy asks for.
            policies = self.target.policies.model_copy(update={"recovery": "lossless"})
            self.target = self.target.model_copy(update={"policies": policies})
        self.standby = find_standby(self.target, report.run_id)
        if self.standby is not None and self.standby.is_complete:
            self.standby.ensure_running()
        self.ways_back = report.risk.ways_back if report.risk else ()
        backup = load_manifest(self.target, report.backup_id) if report.backup_id else None
        exchanged = self._exchanged_by(report.run_id)
        if backup is not None and backup.captured and self.standby is None and exchanged is None:
            self._require_no_capture_elsewhere(report.run_id, backup.id)
        return Unfinished(report, backup, exchanged)

    def _require_no_capture_elsewhere(self, run_id: str, backup_id: str) -> None:
        """Refuse while the server keeps a slot of the run whose folder is not on this machine."""
        name = slot_name(run_id)
        if any(one.kind == SLOT and one.capture_name == name for one in find_orphans(self.target)):
            raise RefusedError(
                f"Run {run_id} has captured what applications wrote, and that is not on this machine "
                f"(slot {name}). Recover on the machine of that run; if it is lost, "
                f"`{self.by_hand.restore(backup_id, accept_loss=True)}` "
                "brings back the backup without those writes."
            )

    def _exchanged_by(self, run_id: str) -> str | None:
        """Return the database that a run has put aside, when its exchange was done."""
        for left in list_leftovers(self.target.maintenance_url, self.target.database):
            if left.kind == QUARANTINE and left.note is not None and left.note.run_id == run_id:
                return left.name
        return None

    def clean(self, quarantine: str | None, waiting: bool) -> tuple[list[str], list[str]]:
        """Remove what earlier runs have left; returns what was removed, and what could not be."""
        return remove_remains(self.target, self.run_id, quarantine=quarantine, waiting=waiting)

    def close_unfinished(self, report: RunReport, outcome: Outcome) -> None:
        """Write down how a run ended that could not do so itself; raises StorageError."""
        error = report.error or f"killed, and taken up again by run {self.run_id}"
        closed = report.model_copy(update={"outcome": outcome, "error": error})
        write_report(open_storage(self.target.storage), closed)
