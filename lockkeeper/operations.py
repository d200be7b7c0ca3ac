"""Runs other than a migration: a backup for itself, and a restore that an operator asked for.

As the migration's runbook they keep a record, write the journal after every step and tell the team, and
end as a report whose outcome is the exit code.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from lockkeeper import backup, recovery
from lockkeeper.engine import Engine
from lockkeeper.errors import LockkeeperError, NeedsHumanError, RefusedError
from lockkeeper.models import BackupManifest, BackupState, Outcome, RunReport, utc_now
from lockkeeper.record import RunRecord
from lockkeeper.redaction import redact
from lockkeeper.runbook import MigrationRequest
from lockkeeper.signals import uninterrupted

logger = logging.getLogger(__name__)


def run_backup(engine: Engine, request: MigrationRequest) -> RunReport:
    """Make a backup, prove it by restoring it, let old ones expire.

    Holds the migration lock: a migration would wait for the dump's ACCESS SHARE on every table, and takes
    scratch databases that nobody holds the lock for as left over. Can be run again after any crash.
    """

    def play(record: RunRecord) -> None:
        with engine.exclusive():
            with record.step("backup") as note:
                manifest = backup.create_backup(
                    engine.target, run_id=request.run_id, progress=engine.say("backup")
                )
                record.update(backup_id=manifest.id)
                note(f"{manifest.id}, {manifest.size_bytes or 0} bytes")
            with record.step("verify-backup") as note:
                verification = engine.verify_backup(manifest.id)
                note(f"{verification.tables} tables and {verification.rows} rows equal")
        with record.step("expire-backups") as note:
            expired = backup.expire_backups(engine.target)
            note(", ".join(expired) or "none is old enough")

    return _play("backup", engine, request, play)


def run_restore(
    engine: Engine, request: MigrationRequest, backup_id: str, *, accept_loss: bool = False
) -> RunReport:
    """Let a backup take the place of the database, which is kept as quarantine.

    Holds the migration lock. Refuses, under the fence and before the swap, when anything was written since
    the backup, unless ``accept_loss`` says that these writes may go (they stay in the quarantine). Only
    that counts here: the target's recovery policy is about recoveries that nobody watches.
    """
    target = engine.target

    def play(record: RunRecord) -> None:
        with record.step("preflight") as note:
            manifest = _restorable(engine, backup_id)
            record.update(backup_id=manifest.id)
            note(f"{manifest.id} of {manifest.created_at:%Y-%m-%d %H:%M:%S %Z}, {manifest.state.value}")

        with engine.exclusive(), contextlib.ExitStack() as shield, record.step("restore") as note:

            def before_swap(fenced: recovery.FencedScene) -> None:
                if not accept_loss:
                    _prove_lossless(engine, manifest, fenced)
                # An interruption from here on could not say which database serves.
                shield.enter_context(uninterrupted("the swap"))

            done = recovery.restore_backup(
                target,
                manifest.id,
                run_id=request.run_id,
                reason=f"restore asked for by {request.initiator or 'an operator'}",
                before_swap=before_swap,
                progress=engine.say("restore"),
            )
            record.update(restore=done)
            note(f"writes were refused for {done.fence_s:.2f} s")

    return _play("restore", engine, request, play)


def _restorable(engine: Engine, backup_id: str) -> BackupManifest:
    manifest = backup.load_manifest(engine.target, backup_id)
    if manifest.state not in (BackupState.VERIFIED, BackupState.UPLOADED):
        raise RefusedError(
            f"Backup {backup_id} is {manifest.state.value} ({manifest.reason or 'no reason known'}): "
            f"it cannot be restored. `lockkeeper backups {engine.target.name}` lists the others."
        )
    return manifest


def _prove_lossless(engine: Engine, manifest: BackupManifest, fenced: recovery.FencedScene) -> None:
    written = recovery.written_since(fenced, manifest, {})
    if written:
        raise RefusedError(_would_lose(engine.target.name, manifest.id, written))


def _would_lose(target: str, backup_id: str, written: list[str]) -> str:
    shown = "; ".join(written[:10]) + (f"; and {len(written) - 10} more" if len(written) > 10 else "")
    return (
        f"Since backup {backup_id} there were writes that it does not have: {shown}. Nothing was changed. "
        "To go on without them (they stay in the quarantine database): "
        f"lockkeeper restore {target} {backup_id} --accept-loss"
    )


def _play(
    operation: str, engine: Engine, request: MigrationRequest, runbook: Callable[[RunRecord], None]
) -> RunReport:
    report = RunReport(
        run_id=request.run_id,
        operation=operation,
        target=request.target,
        database=request.database,
        started_at=utc_now(),
        initiator=request.initiator,
        link=request.link,
    )
    record = RunRecord(report, engine.journal)
    interruption: BaseException | None = None
    try:
        runbook(record)
        record.conclude(Outcome.SUCCEEDED)
    except RefusedError as error:
        record.conclude(Outcome.REFUSED, error)
    except NeedsHumanError as error:
        record.conclude(Outcome.NEEDS_HUMAN, error, next_command=error.command)
    except Exception as error:
        if not isinstance(error, LockkeeperError):
            logger.error("Unexpected %s: %s", type(error).__name__, redact(str(error)))
        record.conclude(Outcome.UNCHANGED, error)
    except BaseException as error:
        interruption = error
        record.conclude(Outcome.UNCHANGED, error)
    with uninterrupted("telling the team"):
        report = record.close()
        warning = engine.notify(report)
        report = record.warn(warning) if warning else report
    if interruption is not None:
        raise interruption
    return report
