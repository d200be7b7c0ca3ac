"""Drives the user's Alembic project: unchanged, with its own interpreter, in a process of its own.

Guarantees: nothing is executed on any other database than the one given (see ``runner/database.py``); one
revision at a time; only SQLSTATE 55P03 is tried again, and only while nothing can have been committed; when
a block ends, however it ends, no statement of the migration is still running. Reading (plans, current
revisions, differences) happens in read-only sessions. Refuses: databases other than PostgreSQL.
"""

from lockkeeper.alembic_project.commands import (
    current_revisions,
    downgrade,
    history,
    model_differences,
    offline_sql,
    plan_migration,
    upgrade,
    version_table,
)
from lockkeeper.alembic_project.conversation import OwnMarks
from lockkeeper.alembic_project.session import AlembicSession
from lockkeeper.alembic_project.walk import MigrationEvent

__all__ = [
    "AlembicSession",
    "MigrationEvent",
    "OwnMarks",
    "current_revisions",
    "downgrade",
    "history",
    "model_differences",
    "offline_sql",
    "plan_migration",
    "upgrade",
    "version_table",
]
