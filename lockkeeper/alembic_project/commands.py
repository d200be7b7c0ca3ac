"""One operation each, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.engine import URL

from lockkeeper.alembic_project.conversation import OwnMarks
from lockkeeper.alembic_project.session import AlembicSession
from lockkeeper.alembic_project.walk import Listener
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.costs import CostMeter
from lockkeeper.models import MigrationPlan, Revision, RevisionTiming

PRODUCTION_SAMPLE_INTERVAL_S = 0.05
"""How often the locks are looked at there while a statement runs outside of any transaction."""


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
    with AlembicSession(settings, url, run_id=run_id) as session:
        return session.plan(destination, current=current)


def current_revisions(settings: AlembicSettings, url: URL, *, run_id: str | None = None) -> tuple[str, ...]:
    """Return the version table's content, sorted. Reads only; raises as ``plan_migration``."""
    with AlembicSession(settings, url, run_id=run_id) as session:
        return session.current()


def version_table(settings: AlembicSettings, url: URL, *, run_id: str | None = None) -> str:
    """Return the version table's name, qualified and quoted. Reads only; raises as ``plan_migration``."""
    with AlembicSession(settings, url, run_id=run_id) as session:
        return session.version_table()


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
    with AlembicSession(settings, url) as session:
        return session.offline_sql(plan)


def upgrade(
    settings: AlembicSettings,
    url: URL,
    plan: MigrationPlan,
    *,
    policies: Policies,
    run_id: str,
    marks: OwnMarks | None = None,
    on_event: Listener | None = None,
    stopping: Callable[[], bool] | None = None,
) -> list[RevisionTiming]:
    """Apply the plan. Not to be run twice at a time on one database: hold the migration lock.

    Each revision waits at most ``lock_timeout_ms`` for a lock and is tried again after that, up to
    ``lock_retries`` times; nothing else is tried again. A version table that Alembic made for a first
    revision which then failed is removed again. Exceptions of ``on_event`` end the migration; so does
    ``stopping``, asked twice a second, when it stays true while a revision goes on.

    Raises:
        MigrationError: a revision failed; those before it stay applied. ``left_partial`` says whether part
            of it may have been committed.
        AlembicProjectError: nothing was run: env.py connects elsewhere, or the database is not (any more)
            where the plan begins.
    """
    with AlembicSession(
        settings, url, role="migrate", run_id=run_id, policies=policies, marks=marks
    ) as session:
        session.meter = CostMeter(url, run_id, sample_interval_s=PRODUCTION_SAMPLE_INTERVAL_S)
        session.stopping = stopping or session.stopping
        return session.upgrade(plan, on_event=on_event)


def downgrade(
    settings: AlembicSettings,
    url: URL,
    to: tuple[str, ...],
    *,
    policies: Policies,
    run_id: str,
    marks: OwnMarks | None = None,
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
        marks: how the sessions mark what they write as the migration's own.
        on_event: told of every step.
        drop_version_table: drop the version table when it ends up empty (``not plan.version_table_exists``).

    Raises:
        MigrationError: a revision cannot be reverted. One that says so (no downgrade, an empty one, one that
            only raises) is found before anything is run.
        AlembicProjectError: no downgrade leads to ``to``.
    """
    with AlembicSession(
        settings, url, role="migrate", run_id=run_id, policies=policies, marks=marks
    ) as session:
        return session.downgrade(to, on_event=on_event, drop_version_table=drop_version_table)
