"""Every connection that the project opens: checked, named, bounded in its waits, and watched.

* A connection to any other database than the expected one becomes read-only, and no migration runs on it.
* ``lock_timeout``, ``statement_timeout`` and ``application_name`` are set on the session by SQL when it is
  opened, so they hold whatever the driver, and are committed, so that a rollback does not undo them.
* ``client_connection_check_interval`` (14 and later) makes the server end a statement whose client is gone.
* Sessions that may write mark what they write as the migration's own (``own_sessions``), so that whoever
  reads the write-ahead log can tell it from the application's; a session that cannot does not migrate.
* ``own_commit`` runs before each COMMIT, and after DDL that commits by itself.
* Before each COMMIT the parent is told the transaction's id: should this process or the connection die, the
  parent can still ask the server what became of it.
"""

from typing import Any, Dict, List, Optional, Set

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from .channel import Channel
from .failures import WrongDatabaseError
from .measuring import Cost
from .statements import (
    ends_transaction,
    is_ddl,
    is_harmless,
    is_plain_dml,
    undone_on_error,
    writes_no_row,
)

IDENTITY, BACKEND, FAILURE, OUTSIDE, PENDING, MARKED = (
    f"lockkeeper_{name}" for name in ("id", "backend", "failure", "outside", "pending", "marked")
)
SHOWN_CHARACTERS = 200
REMEMBERED_SESSIONS = 50
IDENTIFYING_FIELDS = 3
_XID = "SELECT pg_catalog.txid_current_if_assigned()::text"
_FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush()"
_BACKEND = (
    "SELECT a.pid::text || '@' || EXTRACT(EPOCH FROM a.backend_start)::text "
    "FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = pg_catalog.pg_backend_pid()"
)


_LOST_CLIENTS = {"client_connection_check_interval": "2s"}


class Attempt:
    """What the project did to the database while one revision was applied or reverted."""

    def __init__(self) -> None:
        self.versions_written = 0
        self.versions_committed = 0
        self.writes: Dict[str, List[int]] = {}
        self.writes_complete = True

    def add(self, table: str, counts: List[int]) -> None:
        """Count rows written to ``table``."""
        total = self.writes.setdefault(table, [0, 0, 0])
        for index, count in enumerate(counts):
            total[index] += count


class Connections:
    """Watches all connections of this process; ``install`` once, before the project is loaded."""

    def __init__(self, opening: Dict[str, Any], channel: Channel) -> None:
        self._opening = opening
        self._channel = channel
        self.expected: List[str] = opening["identity"]
        self.read_only = True
        self.attempt: Optional[Attempt] = None
        self.cost: Optional[Cost] = None
        self.foreign: Optional[str] = None
        self.last_statements: Dict[str, str] = {}
        self._engines: Set[Any] = set()
        self._opening_sql = f"SELECT i.*, ({_BACKEND}) FROM (\n{opening['identity_sql']}\n) AS i"  # noqa: S608
        self._notices_lost_clients: Optional[bool] = None

    def install(self) -> None:
        """Listen to every pool and engine that will ever be made."""
        event.listen(Pool, "connect", self._on_connect)
        event.listen(Engine, "engine_connect", self._on_engine_connect)
        event.listen(Engine, "before_cursor_execute", self._before_execute, retval=True)
        event.listen(Engine, "after_cursor_execute", self._after_execute)
        event.listen(Engine, "after_cursor_execute", self._after_ddl_outside)
        event.listen(Engine, "handle_error", self._on_error)
        event.listen(Engine, "commit", self._before_commit)
        event.listen(Engine, "rollback", self._before_rollback)
        event.listen(Engine, "rollback_savepoint", self._on_rollback_to_savepoint)
        event.listen(Pool, "checkin", self._on_checkin)

    def _on_engine_connect(self, connection: Any, *_branch: Any) -> None:
        self._engines.add(connection.engine)
        self._notice_end_of_commits(connection.dialect)

    def _notice_end_of_commits(self, dialect: Any) -> None:
        """SQLAlchemy has an event before COMMIT only, but locks are held until it returns."""
        original = dialect.do_commit
        if getattr(original, "lockkeeper", False):
            return

        def do_commit(pooled: Any) -> None:
            original(pooled)
            info = getattr(pooled, "info", None)
            if self.cost is not None and isinstance(info, dict):
                self.cost.let_go(info)

        do_commit.lockkeeper = True  # type: ignore[attr-defined]
        dialect.do_commit = do_commit

    def _on_checkin(self, _connection: Any, record: Any) -> None:
        if self.cost is not None and record is not None:
            self.cost.let_go(record.info)

    def forget_pooled(self) -> None:
        """Empty the pools of engines that outlive env.py, as an application's own engine does.

        The next operation may need sessions with other settings, or run in another event loop; there, old
        connections cannot even be closed, so they are let go.
        """
        for engine in list(self._engines):
            try:
                engine.dispose(close=not getattr(engine.dialect, "is_async", False))
            except TypeError:  # before SQLAlchemy 1.4.33
                engine.dispose()
        self._engines.clear()

    # -- opening ---------------------------------------------------------------------------------------

    def _on_connect(self, connection: Any, record: Any) -> None:
        try:
            *identity, backend = _first(connection, self._opening_sql)
        except Exception as error:
            connection.rollback()
            record.info[FAILURE] = str(error)
            self.foreign = "a database that could not be identified"
            return
        record.info[IDENTITY], record.info[BACKEND] = identity, backend
        ours = identity[:IDENTIFYING_FIELDS] == self.expected[:IDENTIFYING_FIELDS]
        settings = {"default_transaction_read_only": "on"} if self.read_only or not ours else {}
        if ours:
            self._channel.send("connected", backend=backend)
            settings.update(self._opening["session_settings"])
            if self._notices_lost_clients:
                settings.update(_LOST_CLIENTS)
        else:
            self.foreign = _place(identity)
        if settings:
            _run(connection, _settings_sql(settings))
        connection.commit()
        if ours:
            if self._notices_lost_clients is None:
                self._notices_lost_clients = self._accepts_lost_clients(connection)
            if not self.read_only:
                self._mark_session(connection)

    def _mark_session(self, connection: Any) -> None:
        """Mark what the session will write; raises when none of the alternatives succeeds."""
        failure: Optional[Exception] = None
        for statements in self._opening["own_sessions"]:
            try:
                for statement in statements:
                    _run(connection, statement)
                connection.commit()
                return
            except Exception as error:  # another session of ours carries this mark
                connection.rollback()
                failure = error
        if failure is not None:
            raise failure

    def _accepts_lost_clients(self, connection: Any) -> bool:
        """Set it, once; older servers and some platforms lack the setting: do without it there."""
        try:
            _run(connection, _settings_sql(_LOST_CLIENTS))
            connection.commit()
        except Exception:
            connection.rollback()
            return False
        return True

    def require_expected(self, connection: Any, dialect_name: str) -> None:
        """Raise WrongDatabaseError unless ``connection`` is to the database that the project was given."""
        if dialect_name != "postgresql":
            raise WrongDatabaseError(f"a {dialect_name} database")
        identity = connection.info.get(IDENTITY)
        if identity is None:
            raise WrongDatabaseError(
                "a database that could not be identified ({})".format(
                    connection.info.get(FAILURE, "the connection was not opened by a pool")
                )
            )
        if identity[:IDENTIFYING_FIELDS] != self.expected[:IDENTIFYING_FIELDS]:
            same = identity[:2] == self.expected[:2]
            raise WrongDatabaseError(
                _place(identity) + (" (a copy, or the server was restarted meanwhile)" if same else "")
            )

    # -- watching --------------------------------------------------------------------------------------

    def _before_execute(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> Any:
        if self.read_only:
            # env.py often creates the version table's schema: to read, it need not be there.
            return ("SELECT 1", ()) if is_ddl(statement) else (statement, parameters)
        if self.attempt is not None and self._is_ours(connection):
            self._remember(connection.info[BACKEND], statement)
            if self.cost is not None:
                self.cost.begins(connection.info, statement, not self._outside_transaction(connection))
            if ends_transaction(statement):
                self._before_commit(connection)
                connection.info[OUTSIDE] = True
                connection.info[MARKED] = False
            elif self._outside_transaction(connection) and not is_harmless(statement):
                if not writes_no_row(statement):
                    self.attempt.writes_complete = False  # its own transaction is over before it can be asked
                self._channel.send("autocommit", statement=statement[:SHOWN_CHARACTERS])
            elif not is_harmless(statement):
                self._mark_transaction(connection)
        return statement, parameters

    def _remember(self, backend: str, statement: str) -> None:
        """Keep what each session was sent last: the server shows questions of our own after it."""
        self.last_statements.pop(backend, None)
        self.last_statements[backend] = statement[:SHOWN_CHARACTERS]
        if len(self.last_statements) > REMEMBERED_SESSIONS:
            del self.last_statements[next(iter(self.last_statements))]

    def _mark_transaction(self, connection: Any) -> None:
        """Mark the transaction before its first statement that may write."""
        mark = self._opening["own_transaction"]
        if mark and not connection.info.get(MARKED):
            _run(connection.connection, mark)
            connection.info[MARKED] = True

    def _on_rollback_to_savepoint(self, connection: Any, _name: str, _context: Any) -> None:
        connection.info[MARKED] = False

    def _after_execute(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if self.cost is None or self.attempt is None or self.read_only or not self._is_ours(connection):
            return
        if ends_transaction(statement):
            self.cost.let_go(connection.info)
            return
        if not self._outside_transaction(connection):
            self.cost.ended(connection.connection, connection.info, statement)
        elif not is_harmless(statement):
            self._outside_ended(statement)

    def _after_ddl_outside(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if self.read_only or self.attempt is None or not self._is_ours(connection):
            return
        can_make_tables = not (
            is_harmless(statement) or is_plain_dml(statement) or ends_transaction(statement)
        )
        if can_make_tables and self._outside_transaction(connection):
            self._before_end(connection.connection)

    def _before_end(self, raw: Any) -> None:
        for statement in self._opening["own_commit"]:
            _run(raw, statement)

    def _outside_ended(self, statement: str) -> None:
        if self.cost is not None:
            self.cost.ended_outside(statement)
            self._channel.send("autocommit_ended")

    def _on_error(self, context: Any) -> None:
        connection, statement = context.connection, context.statement
        if self.attempt is None or connection is None or not statement or self.read_only:
            return
        if not self._outside_transaction(connection):
            return
        if not is_harmless(statement):
            self._outside_ended(statement)
        if undone_on_error(statement):
            self._channel.send("autocommit_undone", statement=statement[:SHOWN_CHARACTERS])

    def _before_commit(self, connection: Any) -> None:
        attempt = self.attempt
        if attempt is None or not self._is_ours(connection):
            return
        connection.info[MARKED] = False
        if self._outside_transaction(connection):
            connection.info[OUTSIDE] = False
        else:
            raw = connection.connection
            if self.cost is not None:
                self.cost.committing(raw, connection.info)
            xid = _first(raw, _XID)[0]
            if xid is not None:
                self._before_end(raw)
                self._count_writes(raw, connection.info, attempt)
                final = attempt.versions_written > attempt.versions_committed
                self._channel.send("committing", xid=int(xid), final=final)
        attempt.versions_committed = attempt.versions_written

    def _before_rollback(self, connection: Any) -> None:
        connection.info[OUTSIDE] = connection.info[MARKED] = False
        if self.cost is not None:
            self.cost.let_go(connection.info)

    def _is_ours(self, connection: Any) -> bool:
        identity = connection.info.get(IDENTITY) or []
        return bool(identity[:IDENTIFYING_FIELDS] == self.expected[:IDENTIFYING_FIELDS])

    def _outside_transaction(self, connection: Any) -> bool:
        """Whether a statement commits by itself: the driver's autocommit, or after a COMMIT sent as text."""
        if connection.info.get(OUTSIDE):
            return True
        pooled = connection.connection
        raw = getattr(pooled, "dbapi_connection", None) or pooled.connection
        return bool(getattr(raw, "autocommit", False))

    def version_written(self, connection: Any) -> None:
        """Note that Alembic has just changed the version table."""
        if self.attempt is not None:
            self.attempt.versions_written += 1
            # SQLAlchemy 1.4 commits each statement by itself where env.py begins no transaction.
            if self._outside_transaction(connection) or not connection.in_transaction():
                self.attempt.versions_committed = self.attempt.versions_written

    def _count_writes(self, raw: Any, info: Dict[str, Any], attempt: Attempt) -> None:
        """Add what this transaction wrote; never more than that.

        The view shows what was not yet flushed to the shared statistics. From 15 on a flush at the end of
        this transaction is forced, so the next one begins at nothing. Before, an earlier transaction's
        rows may still be in it: then the smaller number is taken, and is not called complete.
        """
        if not self._opening["counts_writes"]:
            attempt.writes_complete = False
            return
        seen = {
            str(row[0]): [int(count) for count in row[1:]] for row in _all(raw, self._opening["writes_sql"])
        }
        if self._opening["can_flush"]:
            _run(raw, _FLUSH)
        before = {} if self._opening["can_flush"] else info.get(PENDING, {})
        for table, counts in seen.items():
            earlier = before.get(table, [0, 0, 0])
            if any(earlier) and all(now >= then for now, then in zip(counts, earlier)):
                attempt.writes_complete = False
                attempt.add(table, [now - then for now, then in zip(counts, earlier)])
            else:
                attempt.add(table, counts)
        info[PENDING] = seen


def _settings_sql(settings: Dict[str, Any]) -> str:
    """One statement for all, of the session; the values are ours and hold no percent sign."""
    calls = (
        "pg_catalog.set_config('{}', '{}', false)".format(name, str(value).replace("'", "''"))
        for name, value in settings.items()
    )
    return "SELECT " + ", ".join(calls)


def _place(identity: List[str]) -> str:
    return f"database {identity[0]!r} at {identity[3]} {identity[4]}".rstrip()


def _all(connection: Any, statement: str) -> List[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _first(connection: Any, statement: str) -> List[Any]:
    return list(_all(connection, statement)[0])


def _run(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
