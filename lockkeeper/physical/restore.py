"""Brings a physical backup back as a server of its own, beside the one that it came from.

Nothing of the target's server is touched, so nothing can be lost by it; what was written there since the
backup's moment is not in the new one. Applications are pointed at it by a human, or by the target's
``switch_command`` when somebody has accepted that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from pathlib import Path

from lockkeeper.backup.manifest import note_failure, read_manifest
from lockkeeper.backup.progress import Progress, ProgressCallback, silent
from lockkeeper.backup.verify import mark_verified, require_state, summary
from lockkeeper.config import Target
from lockkeeper.errors import BackupCorruptError, ConfigurationError, ProgramError, RefusedError
from lockkeeper.local.daemons import end_process
from lockkeeper.models import BackupManifest, BackupState, RestoreReport
from lockkeeper.models import Instance as InstanceReport
from lockkeeper.physical.instance import Instance, instance_of, require_room
from lockkeeper.physical.point import RecoveryPoint
from lockkeeper.physical.serving import STARTING, Serving, serve
from lockkeeper.physical.verify import compared, with_content
from lockkeeper.process import run_program
from lockkeeper.recovery.capture.files import claimed, load, save
from lockkeeper.redaction import redact
from lockkeeper.storage import open_storage

SWITCH_TIMEOUT_S = 600.0
_RECORD = "serving.json"


def restore_physical_backup(
    target: Target,
    backup_id: str,
    *,
    run_id: str,
    switch: bool = False,
    until: RecoveryPoint | None = None,
    progress: ProgressCallback | None = None,
) -> RestoreReport:
    """Start a server from a backup, compare it with its manifest, let it serve on an address of its own.

    Run again after it died, it begins anew; after it was done, it refuses and says where the server is.

    Args:
        target: whose backup; its policies say where the server's files go.
        backup_id: a backup that is ``uploaded`` or ``verified``; it is compared anyway.
        run_id: names the connections.
        switch: run the target's ``switch_command`` at the end, if it has one.
        until: a later moment than the backup's own, out of the archive; its rows are read, not compared.
        progress: told the stages and the downloaded bytes.

    Raises:
        BackupCorruptError: the archive does not reach so far, or the backup is not what its manifest says.
        RefusedError: no folder, no programs, no room, or it is there already.
        ProgramError: the server does not start with its own configuration.
    """
    began, tell = time.monotonic(), progress or silent
    manifest = read_manifest(open_storage(target.storage), target.name, backup_id)
    require_state(manifest)
    folder = instance_folder(target, backup_id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with claimed(folder.with_name(f".{folder.name}.lock")) as ours:
        if not ours:
            raise RefusedError(f"Somebody else is bringing backup {backup_id} back in {folder}.")
        _make_empty(folder)
        try:
            require_room(folder, manifest)
            serving = _bring_back(target, instance_of(target, manifest, folder, until), run_id, tell)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    switched, warnings = _switch(target, serving) if switch else (False, [])
    return _report(manifest, target, folder, serving, switched, warnings, time.monotonic() - began)


def _bring_back(target: Target, instance: Instance, run_id: str, progress: ProgressCallback) -> Serving:
    """Lay out, recover, compare, start; what the comparison shows is written into the manifest."""
    began, storage, manifest = time.monotonic(), open_storage(target.storage), instance.manifest
    try:
        with compared(target, storage, instance, run_id, progress) as found:
            proof = summary(manifest, found.restore_s, time.monotonic() - began)
    except BackupCorruptError as error:
        if instance.until is None:  # else it may be the archive that does not reach so far
            note_failure(storage, manifest, redact(str(error)))
        raise
    if manifest.state is BackupState.UPLOADED and instance.until is None:
        mark_verified(storage, with_content(manifest, found.content), proof)
    progress(Progress("start"))
    serving = serve(instance, target, run_id)
    save(instance.folder / _RECORD, serving)
    return serving


def instance_folder(target: Target, backup_id: str) -> Path:
    """Return where a backup comes back; raises ConfigurationError when the target names no place."""
    if not target.policies.physical_folder:
        raise ConfigurationError(
            f"Target {target.name!r} names no folder for a server of its own. Set the policy physical_folder "
            "(--set physical_folder=/srv/postgresql) to one with room for the whole server."
        )
    return Path(target.policies.physical_folder).absolute() / f"{target.name}-{backup_id}"


def _make_empty(folder: Path) -> None:
    """Make the folder anew; what a restore that died has left goes, a server that is complete never does."""
    done = load(folder / _RECORD, Serving)
    if done is not None:
        raise RefusedError(
            f"Backup {done.backup_id} has come back already: {folder} serves on {done.host}:{done.port}. "
            f"Start it with {folder}/start, or stop it and remove the folder to bring the backup back anew."
        )
    begun = load(folder / STARTING, Serving)
    end_process(begun.process if begun else None)  # started, and then its restore was killed
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)


def _switch(target: Target, serving: Serving) -> tuple[bool, list[str]]:
    """Run the target's own command; returns whether it said yes, and a warning when it did not."""
    if not target.policies.switch_command:
        return False, []
    environment = {
        **os.environ,
        "LOCKKEEPER_HOST": serving.host,
        "LOCKKEEPER_PORT": str(serving.port),
        "LOCKKEEPER_DATABASE": target.database,
    }
    try:
        argv = shlex.split(target.policies.switch_command)
        run_program(argv, env=environment, timeout_s=SWITCH_TIMEOUT_S)
    except ProgramError as error:
        return False, [f"the switch_command has failed: {error}"]
    return True, []


def _report(
    manifest: BackupManifest,
    target: Target,
    folder: Path,
    serving: Serving,
    switched: bool,
    warnings: list[str],
    duration_s: float,
) -> RestoreReport:
    empty = manifest.physical.not_logged if manifest.physical else ()
    if empty:
        warnings.append(f"unlogged, so empty in the new server: {', '.join(empty)}")
    return RestoreReport(
        backup_id=manifest.id,
        database=target.database,
        quarantine_database=None,
        fence_s=0.0,
        duration_s=round(duration_s, 3),
        revisions=manifest.revisions,
        warnings=tuple(warnings),
        instance=InstanceReport(
            host=serving.host,
            port=serving.port,
            folder=str(folder),
            recovery_lsn=serving.recovery_lsn,
            switched=switched,
        ),
    )
