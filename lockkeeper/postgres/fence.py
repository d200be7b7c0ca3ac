"""The write fence and the swap: for a moment nobody is in a database, then another one has its name.

The fence is ``ALLOW_CONNECTIONS false``, which holds superusers off too: whoever tries to connect gets
PostgreSQL's own error 55000, "database ... is not currently accepting connections". Both renames of the
swap are one transaction: a kill leaves the original or the copy under the name, never neither. A fence
that outlives its process is found by its note and lifted with ``unfence``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping

from psycopg2 import sql

from lockkeeper.errors import DatabaseError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, execute, fetch_all, named_query
from lockkeeper.postgres.databases import (
    FENCED,
    QUARANTINE,
    READ_ONLY,
    Note,
    prepared_transactions,
    rename,
    set_comment,
    terminate_sessions,
)
from lockkeeper.postgres.properties import read_properties

SWAP_ATTEMPTS = 5
_OBJECT_IN_USE = "55006"


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run the block as one transaction of an autocommit connection."""
    execute(connection, "BEGIN")
    try:
        yield
    except BaseException:
        with contextlib.suppress(DatabaseError):
            execute(connection, "ROLLBACK")
        raise
    execute(connection, "COMMIT")


def refuse_prepared_transactions(connection: Connection, database: str) -> None:
    """Raise DatabaseError when prepared transactions hold the database: no rename is possible then."""
    names = prepared_transactions(connection, database)
    if names:
        raise DatabaseError(
            f"Database {database!r} has prepared transactions ({', '.join(names[:5])}): it cannot be "
            "renamed. Finish each with COMMIT PREPARED or ROLLBACK PREPARED, then try again.",
            _OBJECT_IN_USE,
        )


def allow_connections(connection: Connection, database: str, allow: bool) -> None:
    """Open a database, or close it to everybody, superusers too; who is in it stays. Transactional."""
    statement = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    execute(connection, statement.format(sql.Identifier(database), sql.SQL(str(allow).lower())))


def fence(
    connection: Connection,
    database: str,
    *,
    run_id: str | None,
    reason: str,
    keep: Collection[int] = (),
    timeout_s: float = 30.0,
) -> float:
    """Close a database and end all its sessions but ``keep``; returns ``time.monotonic()`` of its begin.

    Args:
        connection: autocommit connection to the maintenance database, as owner or superuser.
        database: what to close.
        run_id: the run that does it, for the note.
        reason: why, for the note.
        keep: process ids of our own sessions that stay (they must only read).
        timeout_s: limit for ending the sessions.

    Raises:
        DatabaseError: not permitted, prepared transactions, or sessions that do not end; no fence stays.
    """
    refuse_prepared_transactions(connection, database)
    former = _comment_below(connection, database)
    note = Note(
        lockkeeper=FENCED,
        database=database,
        run_id=run_id,
        created_at=utc_now(),
        reason=reason,
        former_comment=former,
    )
    began = time.monotonic()
    with transaction(connection):
        set_comment(connection, database, note.model_dump_json())
        allow_connections(connection, database, False)
    try:
        terminate_sessions(connection, database, keep=keep, timeout_s=timeout_s)
        refuse_prepared_transactions(connection, database)
    except BaseException:
        unfence(connection, database)
        raise
    return began


def _comment_below(connection: Connection, database: str) -> str | None:
    """Return the comment that is to come back: the user's, or that which says who may only read."""
    read_only = {
        name: comment
        for name, _, comment, _ in fetch_all(connection, named_query("noted_databases"))
        if (note := Note.parse(comment)) and note.lockkeeper == READ_ONLY
    }
    return read_only.get(database, read_properties(connection, database).comment)


def unfence(connection: Connection, database: str) -> bool:
    """Lift Lockkeeper's fence; returns False when there is none (somebody else's is left alone)."""
    note = find_fenced(connection).get(database)
    if note is None:
        return False
    with transaction(connection):
        set_comment(connection, database, note.former_comment)
        allow_connections(connection, database, True)
    return True


def find_fenced(connection: Connection) -> dict[str, Note]:
    """Return database -> note of every fence of this server: a live restore's, or a killed one's."""
    notes = {
        name: Note.parse(comment)
        for name, allows, comment, _ in fetch_all(connection, named_query("noted_databases"))
        if not allows
    }
    return {name: note for name, note in notes.items() if note and note.lockkeeper == FENCED}


def swap(
    connection: Connection,
    *,
    database: str,
    copy: str,
    quarantine: str,
    run_id: str | None,
    reason: str,
    comment: str | None,
) -> None:
    """Put ``copy`` in the place of a fenced ``database``, which becomes ``quarantine``: one transaction.

    The quarantined database stays closed, as evidence; its note says why and how to look into it.

    Raises:
        DatabaseError: PostgreSQL still saw sessions after several attempts; nothing has changed.
    """
    note = Note(lockkeeper=QUARANTINE, database=database, run_id=run_id, created_at=utc_now(), reason=reason)
    comments = {quarantine: note.model_dump_json(), database: comment}
    exchange_names(connection, database=database, copy=copy, aside=quarantine, comments=comments)


def exchange_names(
    connection: Connection, *, database: str, copy: str, aside: str, comments: Mapping[str, str | None]
) -> None:
    """Give ``copy`` the name of ``database``, which is called ``aside`` from then on: one transaction.

    Ends the sessions of both. ``comments`` are set in it, by the new names; else each keeps its own.

    Raises:
        DatabaseError: PostgreSQL still saw sessions after several attempts; nothing has changed.
    """
    for attempt in range(1, SWAP_ATTEMPTS + 1):
        terminate_sessions(connection, database)
        terminate_sessions(connection, copy)
        try:
            with transaction(connection):
                rename(connection, database, aside)
                rename(connection, copy, database)
                for name, comment in comments.items():
                    set_comment(connection, name, comment)
        except DatabaseError as error:
            if error.sqlstate != _OBJECT_IN_USE or attempt == SWAP_ATTEMPTS:
                raise
        else:
            return


def take_name(connection: Connection, *, database: str, copy: str, comment: str | None) -> None:
    """Give ``copy`` the name of a database that does not exist (any more)."""
    terminate_sessions(connection, copy)
    with transaction(connection):
        rename(connection, copy, database)
        set_comment(connection, database, comment)
