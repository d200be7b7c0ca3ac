"""Every error that Lockkeeper raises, in one tree.

An error carries its facts as attributes and says in its message what is wrong and what to do next.
No message holds a secret. The class decides the exit code of the command line and of the report:
1 failed and the database is as before (or recovered), 2 refused before anything was touched,
3 needs a human.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lockkeeper.models import Check, RevisionTiming

FAILED, REFUSED, NEEDS_HUMAN = 1, 2, 3

# lock_not_available, deadlock_detected, serialization_failure, cannot_connect_now
TRANSIENT_SQLSTATES = frozenset({"55P03", "40P01", "40001", "57P03"})
CONNECTION_EXCEPTION_CLASS = "08"


class LockkeeperError(Exception):
    """Root of the tree."""

    exit_code: ClassVar[int] = FAILED


class RefusedError(LockkeeperError):
    """Nothing was touched: the input or the state of the world forbids the operation."""

    exit_code = REFUSED


class ConfigurationError(RefusedError):
    """A target, a file or an option is wrong or missing."""


class PreflightError(RefusedError):
    """At least one preflight check failed; ``problems`` has one readable line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("Preflight refused: " + "; ".join(self.problems))


class ApprovalNeededError(RefusedError):
    """A human must approve first; nothing was changed. ``command`` is how."""

    def __init__(self, why: Sequence[str], command: str) -> None:
        self.command = command
        shown = "; ".join(why[:5]) + (f"; and {len(why) - 5} more" if len(why) > 5 else "")
        super().__init__(f"This needs somebody's approval: {shown}.")


class RejectedError(LockkeeperError):
    """A human has said no; nothing was changed."""


class LockHeldError(RefusedError):
    """Another run holds the migration lock of this database; ``holder`` names it."""

    def __init__(self, database: str, holder: str) -> None:
        self.database = database
        self.holder = holder
        super().__init__(
            f"Another migration of database {database!r} is running ({holder}). "
            "Wait for it to end, or cancel it, and start again."
        )


class ProgramError(LockkeeperError):
    """An external program failed. ``command`` is free of secrets; ``stderr`` is its redacted end."""

    def __init__(self, command: Sequence[str], exit_code: int | None, stderr: str) -> None:
        self.command = tuple(command)
        self.program_exit_code = exit_code
        self.stderr = stderr
        how = f"exit code {exit_code}" if exit_code is not None else "could not be started"
        super().__init__(f"{self.command[0]} failed ({how}): {stderr.strip()[-2000:] or 'no message'}")


class ProgramTimeoutError(ProgramError):
    """An external program was killed because it ran longer than its time limit."""


class DatabaseError(LockkeeperError):
    """PostgreSQL refused a statement or a connection. ``sqlstate`` is its code, or None."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class LockTimeoutError(DatabaseError):
    """SQLSTATE 55P03: a lock was not available within ``lock_timeout``."""


class ConnectionLostError(DatabaseError):
    """The server cannot be reached, or ended the session (class 08, 57P01 to 57P03)."""


class StorageError(LockkeeperError):
    """Storage could not be read or written. ``key`` is the object concerned."""

    def __init__(self, message: str, key: str | None = None) -> None:
        self.key = key
        super().__init__(message)


class BackupError(LockkeeperError):
    """A backup could not be made; no object is left that could be taken for one."""

    def __init__(self, message: str, backup_id: str | None = None) -> None:
        self.backup_id = backup_id
        super().__init__(message)


class BackupCorruptError(BackupError):
    """A stored backup is missing, truncated, changed, or does not restore to what its manifest says."""


class BackupNotFoundError(RefusedError):
    """No backup of that id in the target's storage."""

    def __init__(self, backup_id: str) -> None:
        self.backup_id = backup_id
        super().__init__(f"No backup {backup_id!r} in the target's storage. `lockkeeper backups` lists them.")


class ManagedServiceError(LockkeeperError):
    """A managed service refused, failed or cannot be reached; ``code`` is its own, or None."""

    def __init__(self, message: str, code: str | None) -> None:
        self.code = code
        super().__init__(f"The managed service: {message}.")


class CaptureError(LockkeeperError):
    """The application's changes cannot be captured, or no longer: zero loss is not promised from here on."""


class CaptureEndedError(CaptureError):
    """A capture has ended and cannot be taken up again; ``reason`` says why."""

    def __init__(self, run_id: str, reason: str) -> None:
        self.run_id = run_id
        self.reason = reason
        super().__init__(
            f"The capture of run {run_id} has ended: {reason}. Start a new one with a new backup."
        )


class DecodingError(CaptureError):
    """A captured change cannot be read; nothing after it may be replayed."""


class ReplayError(LockkeeperError):
    """Captured changes could not be replayed into a copy; the copy may be replayed into again."""


class WouldLoseWritesError(LockkeeperError):
    """Going on would lose what applications have written; ``findings`` has a line for each table."""

    def __init__(self, subject: str, findings: Sequence[str]) -> None:
        self.findings = tuple(findings)
        shown = "; ".join(self.findings[:10])
        more = len(self.findings) - 10
        super().__init__(f"{subject}: {shown}" + (f"; and {more} more." if more > 0 else "."))


class ReplayLagError(ReplayError):
    """The copy did not catch up in time."""


class MigrationError(LockkeeperError):
    """A revision failed.

    ``left_partial`` says that part of it may have been committed; ``completed`` holds the timings
    (``models.RevisionTiming``) of the revisions before it, which were.
    """

    def __init__(
        self,
        message: str,
        revision: str | None = None,
        sqlstate: str | None = None,
        left_partial: bool = False,
        completed: Sequence[RevisionTiming] = (),
    ) -> None:
        self.completed = tuple(completed)
        self.revision = revision
        self.sqlstate = sqlstate
        self.left_partial = left_partial
        super().__init__(message)

    def because(self, reason: str) -> MigrationError:
        """Return the same failure with what brought it about in front."""
        message = f"{reason} {self}"
        return MigrationError(message, self.revision, self.sqlstate, self.left_partial, self.completed)


class AlembicProjectError(RefusedError):
    """The user's Alembic project cannot be loaded, or the revision asked for does not exist in it."""


class VerificationError(LockkeeperError):
    """What was checked is not what it must be; ``findings`` has one readable line for each difference.

    ``checks`` holds all that was checked, good and bad, where that is more than the findings.
    """

    def __init__(self, subject: str, findings: Sequence[str], checks: Sequence[Check] = ()) -> None:
        self.subject = subject
        self.checks = tuple(checks)
        self.findings = tuple(findings)
        shown = "; ".join(self.findings[:10])
        more = len(self.findings) - 10
        super().__init__(f"{subject}: {shown}" + (f"; and {more} more" if more > 0 else ""))


class FlagSwitchError(LockkeeperError):
    """An external flag service did not take a flip; our table still has the former percentage."""


class FlagRevertedError(LockkeeperError):
    """Something broke while a flag was watched, so it is at 0 % again. ``percent`` is where it broke."""

    def __init__(self, flag: str, percent: int, reason: str) -> None:
        self.flag = flag
        self.percent = percent
        self.reason = reason
        if percent == 0:
            super().__init__(f"Flag {flag!r} was not flipped: even before that, {reason}.")
            return
        super().__init__(
            f"Flag {flag!r} was flipped back to 0 % by itself: at {percent} % {reason}. Every application "
            "reads the old column again; mend the cause and flip again."
        )


class KilledRunError(LockkeeperError):
    """A run ended in the middle of ``step`` without being able to say so; it is what a recovery is for."""

    def __init__(self, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(f"Run {run_id} ended in the middle of step {step!r}.")


class ObjectiveError(LockkeeperError):
    """A recovery would take longer than the target's objective allows; ``predicted_s`` says how long."""

    def __init__(self, message: str, predicted_s: float, objective_s: float) -> None:
        self.predicted_s = predicted_s
        self.objective_s = objective_s
        super().__init__(message)


class NeedsHumanError(LockkeeperError):
    """Lockkeeper stopped where going on could lose data. ``command`` is what an operator may run next."""

    exit_code = NEEDS_HUMAN

    def __init__(self, message: str, command: str) -> None:
        self.command = command
        super().__init__(f"{message} Next: {command}")


class RecoveryError(NeedsHumanError):
    """No step of the recovery ladder brought the database back to a verified state."""


class RenameError(LockkeeperError):
    """A change of a column under way could not go on; its ledger says where it stands."""


class StageRefusedError(RefusedError):
    """The ledger stands elsewhere: ``stage`` is where, ``allowed`` the stages that may follow."""

    def __init__(self, wanted: str, stage: str, allowed: Sequence[str], why: str = "") -> None:
        self.wanted = wanted
        self.stage = stage
        self.allowed = tuple(allowed)
        following = " or ".join(self.allowed) or "none: it is over"
        why = why or f"What may follow is {following}."
        super().__init__(f"The change is {stage}; it cannot become {wanted} now. {why}")


class PlanRefusedError(RefusedError):
    """Something on the column cannot be carried over; ``reasons`` has a line for each, with its name."""

    def __init__(self, subject: str, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(f"{subject} is refused, nothing was touched: " + "; ".join(self.reasons))


class ParityError(RenameError):
    """Old and new column differ; ``keys`` names rows (not all of them), ``differing`` counts them."""

    def __init__(self, subject: str, differing: int, keys: Sequence[str]) -> None:
        self.differing = differing
        self.keys = tuple(keys)
        super().__init__(
            f"{subject}: {differing} rows differ, among them {', '.join(self.keys) or 'rows without a key'}. "
            "Nothing was switched. Run the backfill again for rows that are not filled; a row that still "
            "differs was written past the trigger."
        )


class BackfillError(RenameError):
    """Rows could not be filled; ``rows`` names them (not all of them) with the server's words."""

    def __init__(self, message: str, rows: Sequence[str] = ()) -> None:
        self.rows = tuple(rows)
        super().__init__(f"{message} " + "; ".join(self.rows) if self.rows else message)


class BackfillStoppedError(RenameError):
    """Somebody asked the backfill to stop; run again, it goes on where it stopped."""


class FencedError(RenameError):
    """Another worker has taken the change over since; this one has written nothing more."""


class ScreamTestFailedError(RenameError):
    """The application failed while the old column was hidden; it is back. ``errors`` counts its failures."""

    def __init__(self, subject: str, errors: int) -> None:
        self.errors = errors
        super().__init__(
            f"{subject}: the application reported {errors} errors while the old column was hidden. It is "
            "back under its name, in step. Find what still uses it before you try again."
        )


class QuarantineRetainedError(RefusedError):
    """The quarantined column's retention time is not over."""


def is_transient(error: BaseException) -> bool:
    """Say whether trying again can help: lock time-outs, deadlocks, serialization, lost connections."""
    if isinstance(error, ConnectionLostError):
        return True
    sqlstate = getattr(error, "sqlstate", None)
    if not isinstance(sqlstate, str):
        return False
    return sqlstate in TRANSIENT_SQLSTATES or sqlstate.startswith(CONNECTION_EXCEPTION_CLASS)
