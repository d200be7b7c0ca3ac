"""Where the migration's transaction ends and an online operation begins.

Every online operation commits: CONCURRENTLY needs it, and a lock is only short when its transaction is.
Alembic's ``autocommit_block`` commits whatever came before it, so an operation first makes sure that this is
something whole: nothing at all, or complete revisions with their entries in the version table (one chained
transaction for all revisions). Anything that this revision has done already would be committed while the
version table says that it never ran, and be done again after a failure. So: online operations first in a
revision, ordinary ones after them; the ordinary ones then commit together with the version table's entry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from alembic.runtime.migration import MigrationContext

from lockkeeper.online.ddl import literal, quote_table
from lockkeeper.online.errors import NotOnlineError, OnlineOperationError, UncommittedWorkError
from lockkeeper.online.session import LockPolicy, Session, execute, rows_of
from lockkeeper.online.sql_files import named_query

POLICY_OPTION = "lockkeeper_lock_policy"
_PROBE = "lockkeeper probe"


@contextlib.contextmanager
def own_transactions(context: MigrationContext, policy: LockPolicy | None, name: str) -> Iterator[Session]:
    """Leave the migration's transaction, committed; yield a session whose statements commit by themselves.

    Afterwards Alembic has a new transaction open, for the rest of the revision and the version table.

    Raises:
        NotOnlineError: not a PostgreSQL database.
        UncommittedWorkError: there is something unfinished to commit.
    """
    if context.dialect.name != "postgresql":
        raise NotOnlineError(f"{name} needs PostgreSQL; this is {context.dialect.name}.")
    policy = policy or context.opts.get(POLICY_OPTION) or LockPolicy()
    if not context.as_sql and _is_autocommit(context):
        yield Session(context, policy)
        return
    if not context.as_sql:
        _refuse_foreign_transaction(context, name)
        _refuse_unfinished_work(context, name)
    with context.autocommit_block():
        yield Session(context, policy)


def _is_autocommit(context: MigrationContext) -> bool:
    """Whether the driver commits each statement: the engine's setting, or the user's autocommit_block."""
    pooled: Any = context.connection.connection if context.connection is not None else None
    return bool(getattr(getattr(pooled, "dbapi_connection", None), "autocommit", False))


def _refuse_foreign_transaction(context: MigrationContext, name: str) -> None:
    """Alembic can only commit a transaction that it has begun itself."""
    connection = context.connection
    if connection is None:
        raise OnlineOperationError(f"{name}: Alembic's context has no connection.")
    if connection.in_transaction() and context._transaction is None:
        raise UncommittedWorkError(
            f"{name} has to commit, but the transaction it runs in was begun outside of Alembic (by env.py "
            "or a test). In env.py give context.configure() a connection that is not in a transaction "
            "(connection.commit() after any statement of your own) and run the migrations inside "
            "`with context.begin_transaction():`. Nothing was done."
        )


def _refuse_unfinished_work(context: MigrationContext, name: str) -> None:
    """Alembic would commit what this revision did before."""
    if not _this_revision_wrote(context):
        return
    raise UncommittedWorkError(
        f"{name} has to commit, and this revision has already changed something in the open transaction: "
        "that would be committed although the version table says that the revision never ran. Put online "
        "operations first in upgrade() and downgrade(), or ordinary ones into a revision of their own before "
        "it. Nothing was done."
    )


def _this_revision_wrote(context: MigrationContext) -> bool:
    """Ask the server whether the open transaction holds more than complete revisions.

    A transaction has an id once it has written. In a chained one the earlier revisions have: then the newest
    row of the version table, written by this transaction, ends the last complete revision, and any command
    after it belongs to this revision. PostgreSQL numbers the commands of a transaction (cmin).
    """
    if not rows_of(context, "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL")[0][0]:
        return False
    version = quote_table(context.version_table, context.version_table_schema)
    newest = f"SELECT max(cmin::text::bigint) FROM {version} WHERE xmin = pg_current_xact_id()::xid"
    last_stamp = rows_of(context, newest)[0][0]
    if last_stamp is None:  # no revision in this transaction, but Alembic may just have made its table
        query = named_query("other_locks", "lockkeeper.ops", version_table=literal(version))
        return bool(rows_of(context, query)[0][0])
    return _next_command(context, version) != int(last_stamp) + 1


def _next_command(context: MigrationContext, version: str) -> int:
    """Return the number that the next writing command of the transaction has."""
    execute(context, "SAVEPOINT lockkeeper_probe")
    probe = f"INSERT INTO {version} (version_num) VALUES ('{_PROBE}') RETURNING cmin::text::bigint"
    number = int(rows_of(context, probe)[0][0])
    execute(context, "ROLLBACK TO SAVEPOINT lockkeeper_probe")
    execute(context, "RELEASE SAVEPOINT lockkeeper_probe")
    return number
