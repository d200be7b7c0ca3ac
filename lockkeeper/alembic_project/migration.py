"""Plans, applies and reverts revisions, one at a time, each with its own transaction and its own timing."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.engine import URL

from lockkeeper.alembic_project.outcome import Commits, drop_empty_version_table
from lockkeeper.alembic_project.session import (
    AlembicSession,
    ChildFailure,
    converting_failures,
    revision_from,
    wrong_database_message,
)
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.errors import AlembicProjectError, DatabaseError, MigrationError
from lockkeeper.models import Fact, MigrationPlan, Revision, RevisionTiming

LOCK_NOT_AVAILABLE = "55P03"


class MigrationEvent(Fact):
    """What ``on_event`` is told: one revision has begun, waits for its next attempt, ended or failed."""

    kind: Literal["started", "lock_timeout", "finished", "failed"]
    revision: str
    message: str = ""
    downgrade: bool = False
    position: int
    total: int
    attempt: int = 1
    delay_s: float = Field(default=0.0, description="lock_timeout: the pause before the next attempt.")
    duration_s: float = 0.0
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None, description="finished, failed: see RevisionTiming.own_writes."
    )


Listener = Callable[[MigrationEvent], None]


def plan_migration(
    settings: AlembicSettings,
    url: URL,
    destination: str,
    *,
    current: Sequence[str] | None = None,
    run_id: str | None = None,
) -> MigrationPlan:
    """Say which revisions would be applied, in Alembic's own order. Reads only.

    Args:
        settings: the project.
        url: the database.
        destination: "head", "heads", a revision's id or its unique beginning, "+2", "label@head".
        current: plan from these revisions instead of the database's own (for a copy, or for a dry run).
        run_id: the run that it belongs to.

    Raises:
        AlembicProjectError: the project cannot be loaded, the destination is unknown, ambiguous or behind,
            the database is at a revision that the project does not have, or env.py connects elsewhere.
        DatabaseError: the database cannot be read.
    """
    with AlembicSession(settings, url, run_id=run_id) as session, converting_failures(settings):
        given = None if current is None else sorted(current)
        value = session.request("plan", destination=destination, current=given).value
    return MigrationPlan(
        before=tuple(value["heads"]),
        after=tuple(value["after"]),
        steps=tuple(revision_from(each) for each in value["steps"]),
        destination=destination,
        reaches_head=value["reaches_head"],
        version_table=value.get("version_table"),
        version_table_exists=value.get("version_table_exists", True),
    )


def current_revisions(settings: AlembicSettings, url: URL, *, run_id: str | None = None) -> tuple[str, ...]:
    """Return the version table's content, sorted. Reads only; raises as ``plan_migration``."""
    with AlembicSession(settings, url, run_id=run_id) as session:
        return session.current()


def history(settings: AlembicSettings, url: URL) -> tuple[Revision, ...]:
    """Return all revisions of the project, each after those that it builds upon. Reads only."""
    with AlembicSession(settings, url) as session:
        return session.history()


def model_differences(settings: AlembicSettings, url: URL, *, run_id: str | None = None) -> list[str] | None:
    """Return where the database differs from the models, as ``alembic check`` sees it; None without models.

    Reads only; raises as ``plan_migration``.
    """
    with AlembicSession(settings, url, run_id=run_id) as session:
        return session.model_differences()


def offline_sql(settings: AlembicSettings, url: URL, plan: MigrationPlan) -> dict[str, str]:
    """Return revision -> its SQL in Alembic's offline mode; revisions that need a database are left out."""
    found = {}
    with AlembicSession(settings, url) as session:
        with converting_failures(settings):
            value = session.request("plan", destination=plan.destination, current=list(plan.before)).value
        before = [list(plan.before), *value["contents"]]
        for step, heads in zip(value["steps"], before, strict=False):
            text = session.offline_sql(step["id"], heads)
            if text is not None:
                found[step["id"]] = text
    return found


def upgrade(
    settings: AlembicSettings,
    url: URL,
    plan: MigrationPlan,
    *,
    policies: Policies,
    run_id: str,
    on_event: Listener | None = None,
) -> list[RevisionTiming]:
    """Apply the plan. Not to be run twice at a time on one database: hold the migration lock.

    Each revision waits at most ``lock_timeout_ms`` for a lock and is tried again after that, up to
    ``lock_retries`` times; nothing else is tried again. A version table that Alembic made for a revision
    which then failed is removed again.

    Raises:
        MigrationError: a revision failed; those before it stay applied. ``left_partial`` says whether part
            of it may have been committed.
        AlembicProjectError: nothing was run: env.py connects elsewhere, or the database is not (any more)
            where the plan begins.
    """
    with _Walk.opened(settings, url, policies, run_id, on_event) as walk:
        try:
            contents = _contents(walk.session, plan)
            return walk.through(plan.steps, list(plan.before), contents)
        except (MigrationError, AlembicProjectError):
            if not plan.before and not plan.version_table_exists and plan.version_table:
                with contextlib.suppress(DatabaseError):
                    drop_empty_version_table(url, plan.version_table)
            raise


def _contents(session: AlembicSession, plan: MigrationPlan) -> list[list[str]]:
    """Return the version table's content after each step, and check that the plan still is what it was."""
    with converting_failures(session.settings):
        value = session.request("plan", destination=plan.destination, current=list(plan.before)).value
    if [each["id"] for each in value["steps"]] != [step.id for step in plan.steps]:
        raise AlembicProjectError(
            "The project's revisions have changed since the plan was made. Start again."
        )
    return list(value["contents"])


def downgrade(
    settings: AlembicSettings,
    url: URL,
    to: tuple[str, ...],
    *,
    policies: Policies,
    run_id: str,
    on_event: Listener | None = None,
    drop_version_table: bool = False,
) -> list[RevisionTiming]:
    """Revert revisions, the last applied first, until the version table holds ``to`` again.

    Args:
        settings: the project.
        url: the database.
        to: the content to return to; () is before the first revision.
        policies: time-outs and retries, as for ``upgrade``.
        run_id: the run that it belongs to.
        on_event: told of every step.
        drop_version_table: drop the version table when it ends up empty (``not plan.version_table_exists``).

    Raises:
        MigrationError: a revision cannot be reverted. One that says so (no downgrade, an empty one, one that
            only raises) is found before anything is run.
        AlembicProjectError: no downgrade leads to ``to``.
    """
    with _Walk.opened(settings, url, policies, run_id, on_event, downgrade=True) as walk:
        with converting_failures(settings):
            value = walk.session.request("plan_downgrade", to=list(to)).value
        steps = [revision_from(each) for each in value["steps"]]
        for step in steps:
            if step.irreversible:
                raise MigrationError(
                    f"Revision {step.id} ({step.message}) has no downgrade, so nothing was reverted.", step.id
                )
        timings = walk.through(steps, value["heads"], value["contents"])
        if drop_version_table and not to:
            drop_empty_version_table(url, value["version_table"], lock_timeout_ms=policies.lock_timeout_ms)
        return timings


@dataclass
class _Walk:
    """Goes through steps in one session."""

    session: AlembicSession
    policies: Policies
    on_event: Listener | None
    downgrade: bool
    timings: list[RevisionTiming] = field(default_factory=list)
    total: int = 0

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls,
        settings: AlembicSettings,
        url: URL,
        policies: Policies,
        run_id: str,
        on_event: Listener | None,
        *,
        downgrade: bool = False,
    ) -> Iterator[_Walk]:
        """Open the session that the steps run in."""
        with AlembicSession(settings, url, role="migrate", run_id=run_id, policies=policies) as session:
            yield cls(session, policies, on_event, downgrade)

    def through(
        self, steps: Sequence[Revision], heads: list[str], contents: Sequence[list[str]]
    ) -> list[RevisionTiming]:
        """Take all steps; ``contents`` is what the version table holds after each."""
        self.total = len(steps)
        for step, after in zip(steps, contents, strict=True):
            self.timings.append(self._one(step, heads))
            heads = after
        return self.timings

    def _one(self, step: Revision, heads: list[str]) -> RevisionTiming:
        started = time.monotonic()
        deadline = started + self.policies.migration_timeout_s
        self._tell("started", step)
        attempt = 0
        while True:
            attempt += 1
            commits = Commits()
            try:
                reply = self.session.request(
                    "step",
                    revision=step.id, heads=heads, downgrade=self.downgrade,
                    deadline=deadline, listener=commits,
                )  # fmt: skip
            except ChildFailure as failure:
                delay = self._pause(failure, commits, attempt, deadline)
                if delay is None:
                    raise self._failed(step, failure, commits, attempt, started) from failure
                self._tell("lock_timeout", step, attempt=attempt, delay_s=delay)
                time.sleep(delay)
            else:
                break
        timing = RevisionTiming(
            revision=step.id,
            duration_s=time.monotonic() - started,
            attempts=attempt,
            lock_timeouts=attempt - 1,
            own_writes=reply.writes,
        )
        self._tell("finished", step, attempt=attempt, duration_s=timing.duration_s, own_writes=reply.writes)
        return timing

    def _pause(self, failure: ChildFailure, commits: Commits, attempt: int, deadline: float) -> float | None:
        """How long to wait before the next attempt (exponential, full jitter), or None when there is none."""
        policies = self.policies
        if failure.sqlstate != LOCK_NOT_AVAILABLE or attempt > policies.lock_retries:
            return None
        if commits.may_remain(self.session.url):
            return None
        ceiling = min(policies.retry_max_delay_s, policies.retry_base_delay_s * 2 ** min(attempt - 1, 30))
        delay = random.uniform(0, ceiling)  # noqa: S311
        return delay if time.monotonic() + delay < deadline else None

    def _failed(
        self, step: Revision, failure: ChildFailure, commits: Commits, attempt: int, started: float
    ) -> MigrationError | AlembicProjectError:
        """Judge a failure: what remains of the revision, and which error says so."""
        if failure.kind in ("wrong_database", "stale") and not self.timings:
            wrong = failure.kind == "wrong_database"
            message = wrong_database_message(self.session.settings, str(failure)) if wrong else str(failure)
            return AlembicProjectError(message)
        partial = commits.may_remain(self.session.url)
        applied = partial and commits.is_applied(self.session.url)
        facts = failure.facts
        self._tell(
            "failed", step, attempt=attempt, duration_s=time.monotonic() - started,
            own_writes=facts.get("writes"),
        )  # fmt: skip
        verb = "Reverting revision" if self.downgrade else "Revision"
        name = f"{verb} {step.id} ({step.message})" if step.message else f"{verb} {step.id}"
        tries = f" in {attempt} attempts" if attempt > 1 else ""
        text = f"{name} failed{tries}: {_reason(failure)} {_what_remains(partial, applied)}"
        trace = facts.get("traceback", "")
        return MigrationError(
            f"{text}\n{trace}".rstrip(),
            step.id,
            failure.sqlstate,
            left_partial=partial,
            completed=self.timings,
        )

    def _tell(
        self, kind: Literal["started", "lock_timeout", "finished", "failed"], step: Revision, **facts: Any
    ) -> None:
        if self.on_event is not None:
            self.on_event(
                MigrationEvent(
                    kind=kind,
                    revision=step.id,
                    message=step.message,
                    downgrade=self.downgrade,
                    position=len(self.timings) + 1,
                    total=self.total,
                    **facts,
                )
            )


def _reason(failure: ChildFailure) -> str:
    if failure.facts.get("irreversible"):
        return f"it says that it cannot be reverted ({failure})."
    return str(failure).strip().rstrip(".") + "."


def _what_remains(partial: bool, applied: bool) -> str:
    if applied:
        return "Its changes were committed nevertheless, the version table included."
    if partial:
        return "Part of it may have been committed: it did not run in one transaction."
    return "Its transaction was rolled back; nothing of it remains."
