"""The steps of backups and restores that somebody asked for: see ``lockkeeper.operations``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from lockkeeper import alembic_project, backup, managed, physical, recovery
from lockkeeper.drill import drill_backup, last_drill, write_drill
from lockkeeper.engine.standby import StandbyEngine
from lockkeeper.errors import LockkeeperError, RefusedError, StorageError
from lockkeeper.models import BackupKind, BackupManifest, BackupState, DrillReport, RestoreReport
from lockkeeper.recovery.standby import let_go_of_earlier
from lockkeeper.signals import uninterrupted
from lockkeeper.storage import open_storage


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
        with contextlib.ExitStack() as shield:

            def before_swap(scene: recovery.FencedScene) -> None:
                if not accept_loss and (written := recovery.written_since(scene, manifest, {})):
                    raise RefusedError(_would_lose(self.target.name, manifest.id, written))
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


def _would_lose(target: str, backup_id: str, written: Sequence[str]) -> str:
    shown = "; ".join(written[:10]) + (f"; and {len(written) - 10} more" if len(written) > 10 else "")
    return (
        f"Since backup {backup_id} there were writes that it does not have: {shown}. Nothing was changed. "
        "To go on without them (they stay in the quarantine database): "
        f"lockkeeper restore {target} {backup_id} --accept-loss"
    )
