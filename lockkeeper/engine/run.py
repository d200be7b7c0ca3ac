"""What every step of a run rests on: the target, the run's id, the lock, the journal and the team.

One engine serves one run. Its steps hand each other values only, except for the migration lock, which
``exclusive`` holds and a migration checks before every revision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from lockkeeper import alembic_project, backup, recovery
from lockkeeper.by_hand import ByHand, CommandLine
from lockkeeper.config import Target
from lockkeeper.delivery import Patience, deliver, post_to_webhook
from lockkeeper.errors import DatabaseError, LockkeeperError
from lockkeeper.journal import page_key, write_page, write_report
from lockkeeper.models import RunReport
from lockkeeper.monitoring import Alert, DatabaseMonitor
from lockkeeper.notices import slack_notice
from lockkeeper.postgres.locks import MigrationLock, end_leftover_sessions, migration_lock
from lockkeeper.storage import open_storage

Progress = Callable[[str, str], None]


def _silent(_step: str, _message: str) -> None:
    pass


class EngineRun:
    """One run on one target: who may work on the database, what is told to whom."""

    def __init__(self, target: Target, run_id: str, progress: Progress | None = None) -> None:
        self.target = target
        self.run_id = run_id
        self._progress = progress or _silent
        self._lock: MigrationLock | None = None
        self._monitor: DatabaseMonitor | None = None
        self.on_alert: Callable[[Alert], None] | None = None
        self.on_fraction: Callable[[float], None] | None = None
        self.link: str | None = None
        self.patience = Patience()
        self.by_hand: ByHand = CommandLine(target.name)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the migration lock, and end what a killed run left behind; raises LockHeldError."""
        policies = self.target.policies
        maintenance, database = self.target.maintenance_url, self.target.database
        with migration_lock(maintenance, database, self.run_id, wait_s=policies.lock_wait_s) as lock:
            self._lock = lock
            try:
                end_leftover_sessions(maintenance, database, self.run_id)
                if note := recovery.lift_write_fence(self.target):
                    self._progress("leftovers", f"let applications write again, whom {note.run_id} had kept")
                for name in recovery.drop_scratch_databases(self.target):
                    self._progress("leftovers", f"dropped {name}, which an earlier run left behind")
                yield
            finally:
                self._lock = None
                # A server that is gone now must not hide why; the next run drops what is left there.
                with contextlib.suppress(DatabaseError):
                    recovery.drop_scratch_databases(self.target, self.run_id)

    def journal(self, report: RunReport) -> str | None:
        """Write the report to the storage, at the end with its page; returns a warning.

        A storage that fails, or a page that cannot be made, never fails a migration.
        """
        storage = open_storage(self.target.storage)
        try:
            write_report(storage, report)
        except LockkeeperError as error:
            return f"The journal could not be written: {error}"
        if report.outcome is not None and report.duration_s:  # which is set when it is closed
            try:
                write_page(storage, report)
            except Exception as error:  # whatever its libraries raise: the run has ended as it has
                return f"The page with pictures could not be written: {error}"
        return None

    def page_place(self, report: RunReport) -> str:
        """Return the address of the run's page with pictures, for people."""
        return f"{open_storage(self.target.storage).describe()}/{page_key(report)}"

    def notify(self, report: RunReport) -> str | None:
        """Send one message to the target's Slack webhook, if it has one; returns a warning."""
        url = self.target.slack_webhook_url
        if url is None:
            return None
        return deliver(post_to_webhook(url), slack_notice(report), self.patience)

    def _on_revision(self, event: alembic_project.MigrationEvent) -> None:
        """Pass progress on; stop before the next revision when the lock's session is gone.

        After one that failed none follows, and what it failed of is what counts.
        """
        self._progress("migrate", str(event))
        if self._lock is not None and event.kind != "failed":
            self._lock.check()

    def say(self, step: str) -> Callable[[object], None]:
        """Return a function that tells the progress of one step, in numbers too where there are any."""

        def tell(message: object) -> None:
            if self.on_fraction is not None and isinstance(message, backup.Progress):
                self.on_fraction(message.fraction)
            self._progress(step, str(message))

        return tell
