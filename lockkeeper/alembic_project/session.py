"""What can be done with a project while its process is open."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import Self

from lockkeeper.alembic_project.conversation import Facts, ProjectProcess
from lockkeeper.alembic_project.failures import ChildFailure, converting_failures, explained
from lockkeeper.alembic_project.outcome import drop_empty_version_table
from lockkeeper.alembic_project.walk import Listener, Walk
from lockkeeper.errors import AlembicProjectError, DatabaseError, MigrationError
from lockkeeper.models import MigrationPlan, Revision, RevisionTiming
from lockkeeper.redaction import redact


class AlembicSession(ProjectProcess):
    """A context manager for several operations in one process: loading Alembic and the project costs most.

    Open it with ``role="migrate"`` and the run's id to change anything, else it only reads.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    # -- reading, in read-only sessions -------------------------------------------------------------------

    def current(self) -> tuple[str, ...]:
        """Return the version table's content, sorted; nothing is created when there is none."""
        return tuple(self._ask("current")["heads"])

    def version_table(self) -> str:
        """Return the version table's name, qualified and quoted, whether it is there or not."""
        return str(self._ask("current")["version_table"])

    def history(self) -> tuple[Revision, ...]:
        """Return all revisions of the project, each after those that it builds upon."""
        return tuple(_revision(each) for each in self._ask("history")["revisions"])

    def model_differences(self) -> list[str] | None:
        """Return where the database differs from the models, in sentences; None when there are no models."""
        found: list[str] | None = self._ask("differences")["differences"]
        return found

    def plan(self, destination: str, *, current: Sequence[str] | None = None) -> MigrationPlan:
        """Return what ``plan_migration`` returns."""
        given = None if current is None else sorted(current)
        value = self._ask("plan", destination=destination, current=given)
        return MigrationPlan(
            before=tuple(value["heads"]),
            after=tuple(value["after"]),
            steps=tuple(_revision(each) for each in value["steps"]),
            destination=destination,
            reaches_head=value["reaches_head"],
            version_table=value.get("version_table"),
            version_table_exists=value.get("version_table_exists", True),
        )

    def offline_sql(self, plan: MigrationPlan, *, timeout_s: float | None = None) -> dict[str, str]:
        """Return revision -> its SQL in Alembic's offline mode; those that need a database are left out.

        Raises:
            AlembicProjectError: the process has died, or was ended after ``timeout_s`` for all of them.
        """
        found = {}
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        before = [list(plan.before), *self._contents(plan)]
        for step, heads in zip(plan.steps, before, strict=False):
            try:
                value = self.request("offline_sql", deadline=deadline, revision=step.id, heads=heads).value
            except ChildFailure as failure:
                if failure.kind in ("died", "timeout"):
                    raise AlembicProjectError(f"Alembic's offline mode: {failure}") from failure
            else:
                found[step.id] = redact(str(value["sql"]))
        return found

    def _ask(self, operation: str, **facts: Any) -> dict[str, Any]:
        with converting_failures(self.settings):
            return self.request(operation, **facts).value

    def _contents(self, plan: MigrationPlan) -> list[list[str]]:
        """Return the version table's content after each step; the plan must still be what it was."""
        value = self._ask("plan", destination=plan.destination, current=list(plan.before))
        if [each["id"] for each in value["steps"]] != [step.id for step in plan.steps]:
            raise AlembicProjectError(
                "The project's revisions have changed since the plan was made. Start again."
            )
        return list(value["contents"])

    # -- writing ------------------------------------------------------------------------------------------

    def upgrade(self, plan: MigrationPlan, *, on_event: Listener | None = None) -> list[RevisionTiming]:
        """Apply the plan; see ``lockkeeper.alembic_project.upgrade``."""
        walk = Walk(self, on_event)
        try:
            return walk.through(plan.steps, list(plan.before), self._contents(plan))
        except (MigrationError, AlembicProjectError):
            if not walk.timings and not plan.version_table_exists and plan.version_table:
                with contextlib.suppress(DatabaseError):  # the failure is what counts
                    drop_empty_version_table(self.url, plan.version_table)
            raise

    def prepare(self) -> tuple[str, ...]:
        """Run env.py without any revision; returns the version tables, which it has made, quoted."""
        return tuple(self._ask("prepare")["version_tables"])

    def take(
        self,
        step: Revision,
        heads: Sequence[str],
        *,
        downgrade: bool = False,
        on_event: Listener | None = None,
    ) -> tuple[RevisionTiming, tuple[str, ...]]:
        """Apply or revert exactly one revision; the version table must hold ``heads``.

        Even a downgrade that is empty or only raises is run: for scratch databases.

        Returns:
            The timing, and what the version table holds afterwards.

        Raises:
            MigrationError: it failed.
            AlembicProjectError: nothing was run.
        """
        after = self._ask("outcome", revision=step.id, heads=list(heads), downgrade=downgrade)["after"]
        walk = Walk(self, on_event, downgrade=downgrade)
        return walk.through([step], list(heads), [after])[0], tuple(after)

    def upgrade_in_one_go(self, destination: str, heads: Sequence[str], *, limit_s: float) -> None:
        """Apply all up to ``destination`` in one run of env.py, as ``alembic upgrade`` does.

        The version table must hold ``heads``. For scratch databases: nothing is tried again.

        Raises:
            MigrationError: it failed, or took longer than ``limit_s``; ``revision`` tells which one it was
                at, and is None before the first.
        """
        revision: str | None = None

        def listen(event: Facts) -> None:
            nonlocal revision
            if event["event"] == "begins":
                revision = event["revision"]

        deadline = time.monotonic() + limit_s
        try:
            self.request(
                "in_one_go", destination=destination, heads=list(heads), deadline=deadline, listener=listen
            )
        except ChildFailure as failure:
            at = f"Revision {revision}" if revision else "Alembic's upgrade"
            text = f"{at} failed: {explained(failure)}\n{failure.facts.get('traceback', '')}"
            raise MigrationError(text.rstrip(), revision, failure.sqlstate) from failure

    def downgrade(
        self, to: Sequence[str], *, on_event: Listener | None = None, drop_version_table: bool = False
    ) -> list[RevisionTiming]:
        """Go back; see ``lockkeeper.alembic_project.downgrade``."""
        value = self._ask("plan_downgrade", to=list(to))
        steps = [_revision(each) for each in value["steps"]]
        for step in steps:
            if step.irreversible:
                raise MigrationError(
                    f"Revision {step.id} ({step.message}) has no downgrade, so nothing was reverted.", step.id
                )
        timings = Walk(self, on_event, downgrade=True).through(steps, value["heads"], value["contents"])
        if drop_version_table and not to:
            timeout = self.policies.lock_timeout_ms
            drop_empty_version_table(self.url, value["version_table"], lock_timeout_ms=timeout)
        return timings


def _revision(facts: Mapping[str, Any]) -> Revision:
    return Revision(
        id=facts["id"],
        down=tuple(facts["down"]),
        depends_on=tuple(facts["depends_on"]),
        branch_labels=tuple(facts["branch_labels"]),
        message=facts["message"],
        path=facts["path"],
        irreversible=facts["irreversible"],
        irreversible_because=facts.get("irreversible_because"),
        leaves=facts.get("leaves") or {},
    )
