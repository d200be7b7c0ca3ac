"""The connection of an online operation: which locks it may wait for, how long, and how often.

Two kinds of statements:

* *short* ones need a lock that stops the application (ACCESS EXCLUSIVE, SHARE ROW EXCLUSIVE) and read no
  row. Whoever waits for such a lock holds up everybody behind it, so the wait is ``lock_timeout_ms`` and
  the attempts are many. First comes SHARE UPDATE EXCLUSIVE, which blocks no reader and no writer: an
  autovacuum gives way to it after ``deadlock_timeout``, longer than a short wait could ever last.
* *patient* ones (CREATE INDEX CONCURRENTLY, VALIDATE CONSTRAINT) block nobody while they wait or work, so
  they may wait for minutes, though not for ever.

Settings of short ones are local to their transaction; a patient one puts the former value back.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from lockkeeper.online.ddl import literal
from lockkeeper.online.errors import (
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    LockWaitError,
    OnlineOperationError,
    sqlstate_of,
)
from lockkeeper.online.sql_files import named_query

logger = logging.getLogger("lockkeeper.ops")
_T = TypeVar("_T")

# Longer than the default deadlock_timeout (1 s), after which an autovacuum in the way is cancelled.
QUIET_WAIT_MS = 3_000
SHOWN_BLOCKERS = 3


@dataclass(frozen=True)
class LockPolicy:
    """Bounds of all waiting, for one operation or for ``context.configure(lockkeeper_lock_policy=...)``.

    Attributes:
        lock_timeout_ms: longest wait for a lock that stops the application; a smaller ``lock_timeout`` of the
            session wins.
        attempts: how often a short statement is tried; with the default delays about a minute.
        base_delay_ms: bound of the first pause; it doubles up to ``max_delay_ms``. Each pause is random
            between 0 and its bound (full jitter).
        max_delay_ms: bound of the later pauses.
        hold_limit_ms: a short statement that takes longer than this is cancelled; a smaller
            ``statement_timeout`` of the session wins.
        patience_ms: longest wait of a statement that blocks nobody, for locks and for old snapshots.
        builds: how often a patient statement is tried.
    """

    lock_timeout_ms: int = 50
    attempts: int = 100
    base_delay_ms: int = 25
    max_delay_ms: int = 1_000
    hold_limit_ms: int = 3_000
    patience_ms: int = 300_000
    builds: int = 3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name.endswith("delay_ms") else 1):
                raise ValueError(f"LockPolicy.{name} must be positive, not {value}.")

    def delay_s(self, attempt: int) -> float:
        """Return the pause after ``attempt`` (from 1), in seconds."""
        bound = min(self.max_delay_ms, self.base_delay_ms * 2 ** min(attempt - 1, 30))
        return random.uniform(0, bound) / 1000  # noqa: S311 - jitter, not a secret


class Session:
    """Runs statements, each committed by itself; offline it writes them down instead."""

    def __init__(self, context: MigrationContext, policy: LockPolicy) -> None:
        self.context = context
        self.policy = policy
        self.offline = bool(context.as_sql)
        self.server_version_num = 0
        self._lock_timeout_ms = self._statement_timeout_ms = 0
        if not self.offline:
            facts = self.rows(named_query("session_settings"))[0]
            self.server_version_num, self._lock_timeout_ms, self._statement_timeout_ms = facts

    # -- plain statements ----------------------------------------------------------------------------

    def run(self, sql: str) -> int:
        """Execute one statement as it stands and return the number of rows it wrote."""
        if self.offline:
            self.context.impl.static_output(f"{sql};")
            return 0
        return int(execute(self.context, sql).rowcount)

    def rows(self, sql: str) -> list[Any]:
        """Return the rows of a query; not to be used offline."""
        return rows_of(self.context, sql)

    def note(self, text: str) -> None:
        """Write a comment into offline SQL."""
        if self.offline:
            self.context.impl.static_output(f"-- {text}")

    @contextlib.contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Run the block in a transaction of its own, committed at its end (or rolled back if not ``keep``).

        BEGIN is sent as text: the connection is in the driver's autocommit mode throughout.
        """
        self.run("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(DBAPIError, PendingRollbackError):  # the first error is the one to tell
                self.run("ROLLBACK")
            raise
        self.run("COMMIT" if keep else "ROLLBACK")

    def limits(self, lock_timeout_ms: int, statement_timeout_ms: int) -> str:
        """Return the statement that bounds this transaction, also against a client that falls silent."""
        settings = {
            "lock_timeout": lock_timeout_ms,
            "statement_timeout": _smaller(self._statement_timeout_ms, statement_timeout_ms),
            "idle_in_transaction_session_timeout": QUIET_WAIT_MS,
        }
        return "SELECT " + ", ".join(
            f"pg_catalog.set_config('{name}', '{value}ms', true)" for name, value in settings.items()
        )

    @property
    def lock_timeout_ms(self) -> int:
        """The wait for a lock that stops the application: ours, or the session's when that is smaller."""
        return _smaller(self._lock_timeout_ms, self.policy.lock_timeout_ms)

    # -- statements under a lock that stops the application ----------------------------------------------

    def short(self, table: str, *statements: str) -> None:
        """Run statements that need a strong lock on ``table`` and read no row, in one short transaction.

        Raises:
            LockWaitError: the lock was not to be had in ``attempts`` attempts; nothing was changed.
        """
        if self.offline:
            self.context.impl.static_output(_retrying_block(statements, self.policy))
            return

        def run_all() -> None:
            for statement in statements:
                self.run(statement)

        self.short_work(table, statements[0], run_all)

    def short_work(self, table: str, doing: str, work: Callable[[], _T]) -> _T:
        """Return what ``work`` does in one short transaction as ``short`` has it; not to be used offline.

        ``work`` may be called many times, each time in a new transaction; ``doing`` names it in messages.

        Raises:
            LockWaitError: the lock was not to be had in ``attempts`` attempts; nothing was changed.
        """
        for attempt in range(1, self.policy.attempts + 1):
            try:
                with self.transaction():
                    self._limit_short(table)
                    return work()
            except DBAPIError as error:
                self._only_lock_timeouts(error, table, doing)
                logger.info("%s: attempt %d found %s locked", doing, attempt, table)
            self.pause(attempt)
        raise LockWaitError(doing, table=table, attempts=self.policy.attempts, blockers=self.blockers(table))

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt: random, longer each time, bounded."""
        time.sleep(self.policy.delay_s(attempt))

    def warn(self, text: str) -> None:
        """Log what an operator should know."""
        logger.warning("%s", text)

    def progress(self, text: str) -> None:
        """Log how far a long stage has come."""
        logger.info("%s", text)

    def _limit_short(self, table: str) -> None:
        self.run(self.limits(QUIET_WAIT_MS, QUIET_WAIT_MS + self.policy.hold_limit_ms))
        self.run(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
        self.run(self.limits(self.lock_timeout_ms, self.policy.hold_limit_ms))

    def _only_lock_timeouts(self, error: DBAPIError, table: str, statement: str) -> None:
        """Raise anything that trying again cannot mend."""
        sqlstate = sqlstate_of(error)
        if sqlstate == QUERY_CANCELED:
            raise OnlineOperationError(
                f"{statement}: cancelled, since it would have held its lock on {table} for more than "
                f"{self.policy.hold_limit_ms} ms (or somebody cancelled it). Nothing was changed by it.",
                table=table,
                sqlstate=sqlstate,
            ) from error
        if sqlstate != LOCK_NOT_AVAILABLE:
            raise error

    # -- statements that block nobody ------------------------------------------------------------------

    def patient(self, table: str, statement: str) -> None:
        """Run a statement that blocks neither readers nor writers, waiting up to ``patience_ms`` a time.

        Raises:
            LockWaitError: it had to wait longer, ``builds`` times.
        """
        for attempt in range(1, self.policy.builds + 1):
            if self.try_patient(table, statement):
                return
            self.pause(attempt)
        raise self.waited_too_long(table, statement)

    def try_patient(self, table: str, statement: str) -> bool:
        """Run it once; False when it waited too long for a lock or an old snapshot."""
        with self._patience():
            try:
                self.run(statement)
            except DBAPIError as error:
                if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
                    raise
                logger.warning("%s: waited too long on %s", statement, table)
                return False
        return True

    def waited_too_long(self, table: str, statement: str) -> LockWaitError:
        """Return the error that names who is in the way."""
        return LockWaitError(
            statement, table=table, attempts=self.policy.builds, blockers=self.blockers(table)
        )

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Let the session wait longer. No transaction is open here, so the setting is the session's own."""
        self.run(f"SET lock_timeout = '{self.policy.patience_ms}ms'")
        try:
            yield
        finally:
            former = "RESET lock_timeout" if self.offline else f"SET lock_timeout = {self._lock_timeout_ms}"
            with contextlib.suppress(DBAPIError, PendingRollbackError):  # with its connection it is gone, too
                self.run(former)

    def blockers(self, table: str) -> list[str]:
        """Name the sessions that hold a lock on the table or an old snapshot; never their statements."""
        query = named_query("blockers", relation=literal(table), shown=str(SHOWN_BLOCKERS))
        return [str(row[0]) for row in self.rows(query)]


def _smaller(session_ms: int, ours_ms: int) -> int:
    """Return the smaller bound, where 0 in the session means none."""
    return min(session_ms, ours_ms) if session_ms > 0 else ours_ms


def execute(context: MigrationContext, sql: str) -> Any:
    """Send the text untouched: no parameter, so that no driver looks for placeholders in it."""
    connection = context.connection
    if connection is None:
        raise OnlineOperationError("Alembic's context has no connection.")
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def rows_of(context: MigrationContext, sql: str) -> list[Any]:
    """Return the rows of a query."""
    return list(execute(context, sql).fetchall())


def _retrying_block(statements: Sequence[str], policy: LockPolicy) -> str:
    """Return a DO block that tries the statements under a short lock_timeout, for a script run by psql.

    A failed attempt is a subtransaction rolled back: its locks are gone while the block sleeps.
    """
    body = "".join(f"      {statement};\n" for statement in statements)
    tag = "$lockkeeper$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    base, most = policy.base_delay_ms / 1000, policy.max_delay_ms / 1000
    return (
        f"DO {tag}\nBEGIN\n  FOR attempt IN 1..{policy.attempts} LOOP\n    BEGIN\n"
        f"      SET LOCAL lock_timeout = '{policy.lock_timeout_ms}ms';\n{body}      RETURN;\n"
        "    EXCEPTION WHEN lock_not_available THEN\n"
        f"      PERFORM pg_sleep(random() * least({most:g}, {base:g} * 2 ^ least(attempt - 1, 30)));\n"
        "    END;\n  END LOOP;\n"
        f"  RAISE lock_not_available USING MESSAGE = 'no lock in {policy.attempts} attempts';\n"
        f"END {tag};"
    )
