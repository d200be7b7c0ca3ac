"""A database that applications may read and not write, for as long as a migration needs it.

The database's own default makes every transaction read-only: writers get PostgreSQL's error 25006, "cannot
execute ... in a read-only transaction". Sessions from before it are ended, since a default reaches new ones
only. No table is locked and the schema is not changed. Lockkeeper's own sessions set the default off again;
so can an application that asks for READ WRITE itself, which is why a restore still looks for such writes.

The note in the database's comment says whose it is, so that one that has outlived its process is found.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from psycopg2 import sql

from lockkeeper.errors import DatabaseError
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import Connection, execute, fetch_all, named_query
from lockkeeper.postgres.databases import READ_ONLY, Note, set_comment
from lockkeeper.postgres.fence import refuse_prepared_transactions, transaction
from lockkeeper.postgres.properties import read_properties

SETTING = "default_transaction_read_only"
WRITE_AGAIN = "SET SESSION default_transaction_read_only = off"
"""What a session of ours runs to write all the same."""
KEPT = "kept"
"""The stage of a note: its run needs a human, and nobody may write until then."""
_STARTING_S = 0.5
_POLL_INTERVAL_S = 0.05


def make_read_only(
    connection: Connection, database: str, *, run_id: str | None, reason: str, timeout_s: float = 30.0
) -> None:
    """Let nobody but us write to the database, and end the sessions that began before.

    Args:
        connection: autocommit connection to the maintenance database, as owner or superuser.
        database: what may only be read.
        run_id: the run that does it, for the note.
        reason: why, for the note.
        timeout_s: limit for ending the sessions.

    Raises:
        DatabaseError: prepared transactions, enabled subscriptions, a setting of the user's own in its place
            or a role's that counts more, not permitted, or sessions that do not end; everything is as it was.
    """
    refuse_prepared_transactions(connection, database)
    _refuse_subscriptions(connection, database)
    _refuse_roles_that_write_anyway(connection, database)
    former = read_properties(connection, database)
    if database in find_read_only(connection) or any(name == SETTING for _, name, _ in former.settings):
        raise DatabaseError(
            f"Database {database!r} has a setting {SETTING} already (of its own, of a role in it, or of "
            "another run: lockkeeper status). RESET it, then try again."
        )
    note = Note(
        lockkeeper=READ_ONLY,
        database=database,
        run_id=run_id,
        created_at=utc_now(),
        reason=reason,
        former_comment=former.comment,
    )
    with transaction(connection):
        set_comment(connection, database, note.model_dump_json())
        _set(connection, database, "SET {} = on")
    try:
        _end_sessions(connection, database, timeout_s)
        refuse_prepared_transactions(connection, database)
    except BaseException:
        make_writable(connection, database)
        raise


def _refuse_subscriptions(connection: Connection, database: str) -> None:
    """Raise DatabaseError when replication writes to the database: it asks for no transaction's default."""
    names = [name for (name,) in fetch_all(connection, named_query("enabled_subscriptions"), (database,))]
    if names:
        raise DatabaseError(
            f"Subscriptions write to {database!r} whatever applications may: {', '.join(names[:5])}. "
            "ALTER SUBSCRIPTION ... DISABLE, then try again."
        )


def _refuse_roles_that_write_anyway(connection: Connection, database: str) -> None:
    """Raise DatabaseError when a role's own default would let its sessions write."""
    names = [name for (name,) in fetch_all(connection, named_query("roles_that_write_anyway"), (database,))]
    if names:
        raise DatabaseError(
            f"Roles have {SETTING} = off of their own, which counts more than a setting of {database!r}: "
            f"{', '.join(names[:5])}. ALTER ROLE ... RESET {SETTING}, then try again."
        )


def make_writable(connection: Connection, database: str, timeout_s: float = 30.0) -> bool:
    """Let everybody write again; returns False when it was not us who forbade it. Can run twice.

    Sessions that began meanwhile are ended too: they would go on with the default of their beginning.

    Raises:
        DatabaseError: not permitted, or sessions that do not end (new ones may write).
    """
    note = find_read_only(connection).get(database)
    if note is None:
        return False
    with transaction(connection):
        set_comment(connection, database, note.former_comment)
        _set(connection, database, "RESET {}")
    _end_sessions(connection, database, timeout_s)
    return True


def keep_read_only(connection: Connection, database: str, reason: str) -> None:
    """Say in the note that a human has to decide when applications may write again."""
    note = find_read_only(connection).get(database)
    if note is not None:
        kept = note.model_copy(update={"stage": KEPT, "reason": reason})
        set_comment(connection, database, kept.model_dump_json())


def find_read_only(connection: Connection) -> dict[str, Note]:
    """Return database -> note of every database of this server that Lockkeeper has made read-only."""
    notes = {
        name: Note.parse(comment)
        for name, _, comment, _ in fetch_all(connection, named_query("noted_databases"))
    }
    return {name: note for name, note in notes.items() if note and note.lockkeeper == READ_ONLY}


def _set(connection: Connection, database: str, clause: str) -> None:
    statement = sql.SQL("ALTER DATABASE {} " + clause)
    execute(connection, statement.format(sql.Identifier(database), sql.Identifier(SETTING)))


def _end_sessions(connection: Connection, database: str, timeout_s: float) -> None:
    """End everybody's sessions, twice: one that was just starting shows itself only after its settings."""
    deadline = time.monotonic() + timeout_s
    for pause_s in (0.0, _STARTING_S):
        time.sleep(pause_s)
        ending = {pid for pid, _ in _sessions(connection, database)}
        while left := [(pid, user) for pid, user in _sessions(connection, database) if pid in ending]:
            if time.monotonic() >= deadline:
                who = ", ".join(f"{pid} ({user})" for pid, user in left)
                raise DatabaseError(f"Sessions of {database!r} do not end: {who}. End them by hand.", "55006")
            execute(
                connection,
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM unnest(%s) AS pid",
                ([pid for pid, _ in left],),
            )
            time.sleep(_POLL_INTERVAL_S)


def _sessions(connection: Connection, database: str) -> Collection[tuple[int, str]]:
    execute(connection, "SELECT pg_catalog.pg_stat_clear_snapshot()")
    return fetch_all(connection, named_query("application_sessions"), (database,))
