"""Sessions of the standalone engine: the machinery of migration scripts over a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.pool import NullPool

from lockkeeper.errors import ConnectionLostError, LockTimeoutError, RenameError
from lockkeeper.online.errors import LockWaitError, OnlineOperationError
from lockkeeper.online.session import LockPolicy, Session
from lockkeeper.postgres.connection import application_name, convert_error, libpq_parameters

# Shorter waits and more of them than a migration script's: with 20 ms nobody behind a long reader notices.
PATIENT_POLICY = LockPolicy(lock_timeout_ms=20, attempts=400, max_delay_ms=500)
_CONNECT_TIMEOUT_S = 10


@contextlib.contextmanager
def converting_errors() -> Iterator[None]:
    """Convert what the driver and the online operations raise into errors of Lockkeeper's tree."""
    try:
        yield
    except LockWaitError as error:
        raise LockTimeoutError(str(error), error.sqlstate) from error
    except OnlineOperationError as error:
        raise RenameError(str(error)) from error
    except PendingRollbackError as error:  # what SQLAlchemy says of any statement after a connection's end
        raise ConnectionLostError("The connection to the database was lost.") from error
    except DBAPIError as error:
        if isinstance(error.orig, psycopg2.Error):
            raise convert_error(error.orig) from error
        raise


@contextlib.contextmanager
def session_on(url: URL, role: str, run_id: str | None, policy: LockPolicy) -> Iterator[Session]:
    """Yield a session in autocommit mode, closed at the end.

    The server ends its statement when this process is gone (checked every second), so that a successor need
    not wait for it.

    Raises:
        ConnectionLostError: the server cannot be reached.
    """
    arguments = {
        "connect_timeout": _CONNECT_TIMEOUT_S, "keepalives_idle": 10, "keepalives_interval": 5,
        "keepalives_count": 3, **libpq_parameters(url), "application_name": application_name(role, run_id),
    }  # fmt: skip
    engine = create_engine(
        "postgresql+psycopg2://", connect_args=arguments, poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    try:
        connection = engine.connect()
    except DBAPIError as error:
        engine.dispose()
        if isinstance(error.orig, psycopg2.Error):
            raise ConnectionLostError(str(convert_error(error.orig))) from error
        raise
    try:
        session = Session(MigrationContext.configure(connection), policy)
        session.run("SET client_connection_check_interval = '1s'")
        yield session
    finally:
        connection.close()
        engine.dispose()
