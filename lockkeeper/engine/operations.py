"""The steps of backups and restores that somebody asked for: see ``lockkeeper.operations``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from lockkeeper import alembic_project, backup, managed, physical, recovery
from lockkeeper.backup.counters import Counters
from lockkeeper.by_hand import ByHand
from lockkeeper.drill import drill_backup, last_drill, write_drill
from lockkeeper.engine.standby import StandbyEngine
from lockkeeper.errors import LockkeeperError, RefusedError, StorageError
from lockkeeper.journal import read_reports
from lockkeeper.models import (
    BackupKind,
    BackupManifest,
    BackupState,
    DrillReport,
    Outcome,
    RestoreReport,
)
from lockkeeper.recovery.standby import let_go_of_earlier
from lockkeeper.signals import uninterrupted
from lockkeeper.storage import open_storage

LOOKED_THROUGH = 50
"""How many of the newest runs are searched for the one that something is about."""


class OperationEngine(StandbyEngine):
    """The real ``OperationSteps``, but for the proof of a backup, which migrations need too."""

    def back_up(self) -> BackupManifest:
        """Back the database up, whatever revision it is at, in the way that the target's policy names."""
        kinds = {"physical": physical.create_physical_backup, "snapshot": managed.create_snapshot_backup}
        create = kinds.get(self.target.policies.backup_kind, backup.create_backup)
        return create(
            self.target,
            run_id=self.run_id,
            version_table=self._version_table(),
            progress=self.say("backup"),
        )

    def _version_table(self) -> str | None:
        """Ask the project for its version table; a project that cannot tell must not cost the backup."""
        if self.target.alembic is None:
            return None
        try:
            return alembic_project.version_table(self.target.alembic, self.target.url, run_id=self.run_id)
        except LockkeeperError as error:
            self._progress("backup", f"the project does not say where its revision stands: {error}")
            return None

    def expire_backups(self) -> list[str]:
        """Remove the backups that the retention policy lets go, never the last verified one."""
        gone = backup.expire_backups(self.target)
        kept = [one for one in backup.list_backups(self.target) if one.state is not BackupState.EXPIRED]
        physical.expire_archived(open_storage(self.target.storage), self.target.name, kept)
        managed.delete_expired_snapshots(self.target)
        return gone

    def restorable(self, backup_id: str) -> BackupManifest:
        """Return the manifest of a backup that an operator may restore; raises RefusedError."""
        manifest = backup.load_manifest(self.target, backup_id)
        if manifest.state not in (BackupState.VERIFIED, BackupState.UPLOADED):
            raise RefusedError(
                f"Backup {backup_id} is {manifest.state.value} ({manifest.reason or 'no reason known'}): "
                f"it cannot be restored. `lockkeeper backups {self.target.name}` lists the others."
            )
        return manifest

    def drill(self) -> DrillReport:
        """Bring the newest verified backup back on the scratch server, time it, keep the figures.

        Raises:
            RefusedError: there is no verified backup.
            BackupCorruptError: it does not come back.
        """
        if self.target.policies.backup_kind == "physical":
            drill = physical.drill_physical_backup(
                self.target, run_id=self.run_id, progress=self.say("drill")
            )
        elif self.target.policies.backup_kind == "snapshot":
            drill = managed.drill_snapshot_backup(self.target, run_id=self.run_id, progress=self.say("drill"))
        else:
            drill = drill_backup(
                self.target, run_id=self.run_id, captures=self.captures(), progress=self.say("drill")
            )
        write_drill(open_storage(self.target.storage), drill)
        return drill

    def last_drill(self) -> DrillReport | None:
        """Return the newest drill; None when there is none, or none that can be read (preflight says so)."""
        with contextlib.suppress(StorageError):
            return last_drill(open_storage(self.target.storage), self.target.name)
        return None

    def put_back(
        self, manifest: BackupManifest, asked_by: str, accept_loss: bool, until: str | None = None
    ) -> RestoreReport:
        """Restore what an operator asked for; only ``accept_loss`` counts, not the recovery policy.

        What the migration itself wrote that made the backup, and needs a human, is not lost with it.

        Raises:
            RefusedError: there were writes since the backup; nothing was changed.
        """
        if manifest.kind is BackupKind.PHYSICAL:
            return physical.restore_physical_backup(
                self.target,
                manifest.id,
                run_id=self.run_id,
                switch=accept_loss,
                until=physical.parse_point(until) if until else None,
                progress=self.say("restore"),
            )
        if manifest.kind is BackupKind.SNAPSHOT:
            return managed.restore_snapshot_backup(
                self.target, manifest.id, run_id=self.run_id, until=until, progress=self.say("restore")
            )
        if until is not None:
            raise RefusedError(f"Backup {manifest.id} is a dump: it has one moment only. Leave --to out.")
        own = None if accept_loss else self._own_writes_since(manifest.id)
        with contextlib.ExitStack() as shield:

            def before_swap(scene: recovery.FencedScene) -> None:
                written = [] if accept_loss else recovery.written_since(scene, manifest, own)
                if written:
                    raise RefusedError(_would_lose(manifest.id, written, self.by_hand))
                # An interruption from here on could not say which database serves.
                shield.enter_context(uninterrupted("the swap"))

            done = recovery.restore_backup(
                self.target,
                manifest.id,
                run_id=self.run_id,
                reason=f"restore asked for by {asked_by or 'an operator'}",
                before_swap=before_swap,
                progress=self.say("restore"),
            )
            # What earlier migrations had kept leads back to the database that is a quarantine now.
            for told in let_go_of_earlier(self.target, self.run_id):
                self._progress("restore", told)
            return done

    def _own_writes_since(self, backup_id: str) -> dict[str, Counters]:
        """Return the rows that are known to be written by the failed migration that made the backup.

        Nothing where the journal cannot be read: then all that was written counts as somebody else's.
        """
        storage = open_storage(self.target.storage)
        try:
            reports = read_reports(storage, self.target.name, newest=LOOKED_THROUGH)
        except StorageError as error:
            self._progress("restore", f"what a failed migration itself has written is not known: {error}")
            return {}
        for report in reports:
            if report.backup_id == backup_id and report.outcome is Outcome.NEEDS_HUMAN and report.own_writes:
                return report.own_writes
        return {}


def _would_lose(backup_id: str, written: Sequence[str], by_hand: ByHand) -> str:
    shown = "; ".join(written[:10]) + (f"; and {len(written) - 10} more" if len(written) > 10 else "")
    return (
        f"Since backup {backup_id} there were writes that it does not have: {shown}. Nothing was changed. "
        "To go on without them (they stay in the quarantine database): "
        f"{by_hand.restore(backup_id, accept_loss=True)}"
    )
