"""Connections to PostgreSQL, and the one place where driver errors become Lockkeeper's.

Every connection names itself (``application_name``), so that a leftover can be found and ended, keeps
itself alive by TCP, and carries short time-outs where asked. SQLAlchemy is not used: nothing here needs it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError, LockTimeoutError
from lockkeeper.redaction import redact, register_secret

Connection = psycopg2.extensions.connection
Query = str | bytes | sql.Composable
Row = tuple[Any, ...]

APPLICATION_PREFIX = "lockkeeper"
_CONNECTION_SQLSTATES = frozenset({"57P01", "57P02", "57P03"})


def application_name(role: str, run_id: str | None = None) -> str:
    """Return e.g. ``lockkeeper:migrate:1f0c``; PostgreSQL cuts names at 63 bytes."""
    return ":".join(part for part in (APPLICATION_PREFIX, role, run_id) if part)[:63]


def libpq_parameters(url: URL) -> dict[str, str]:
    """Return the URL as libpq keywords (host, port, user, password, dbname, and the query's parameters)."""
    names = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
    parameters = {key: str(value) for key, value in names.items() if value is not None}
    if url.password is not None:
        register_secret(url.password)
        parameters["password"] = url.password
    for key, value in url.query.items():
        parameters[key] = value if isinstance(value, str) else ",".join(value)
    return parameters


def libpq_environment(url: URL) -> dict[str, str]:
    """Return the URL as PG* environment variables, for client programs: no secret reaches argv."""
    variables = {
        "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
        "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
        "connect_timeout": "PGCONNECT_TIMEOUT", "options": "PGOPTIONS", "service": "PGSERVICE",
        "channel_binding": "PGCHANNELBINDING", "target_session_attrs": "PGTARGETSESSIONATTRS",
        "gssencmode": "PGGSSENCMODE", "krbsrvname": "PGKRBSRVNAME", "passfile": "PGPASSFILE",
    }  # fmt: skip
    return {variables[key]: value for key, value in libpq_parameters(url).items() if key in variables}


def convert_error(error: psycopg2.Error) -> DatabaseError:
    """Turn a driver error into ours, redacted; the caller raises it ``from`` the original."""
    message = redact(str(error).strip()) or type(error).__name__
    if error.pgcode == "55P03":
        return LockTimeoutError(message, error.pgcode)
    lost = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)) and error.pgcode is None
    if lost or (error.pgcode or "").startswith("08") or error.pgcode in _CONNECTION_SQLSTATES:
        return ConnectionLostError(message, error.pgcode)
    return DatabaseError(message, error.pgcode)


@contextlib.contextmanager
def converting_errors() -> Iterator[None]:
    """Convert every driver error raised in the block."""
    try:
        yield
    except psycopg2.Error as error:
        raise convert_error(error) from error


@contextlib.contextmanager
def connect(
    url: URL,
    role: str,
    *,
    run_id: str | None = None,
    autocommit: bool = True,
    lock_timeout_ms: int | None = None,
    statement_timeout_ms: int | None = None,
    connect_timeout_s: int = 10,
) -> Iterator[Connection]:
    """Yield a connection that is closed at the end of the block; an open transaction is rolled back.

    Args:
        url: what to connect to.
        role: what the connection is for; becomes part of its ``application_name``.
        run_id: the run it belongs to.
        autocommit: each statement its own transaction (default), or one transaction until commit.
        lock_timeout_ms: ``lock_timeout`` of the session; None leaves the server's.
        statement_timeout_ms: ``statement_timeout`` of the session; None leaves the server's.
        connect_timeout_s: limit for connecting.

    Raises:
        ConnectionLostError: the server cannot be reached or refuses (wrong password included).
        DatabaseError: a statement in the block failed with a driver error.
    """
    parameters: dict[str, Any] = {
        "connect_timeout": connect_timeout_s,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        **libpq_parameters(url),
        "application_name": application_name(role, run_id),
    }
    with converting_errors():
        connection = psycopg2.connect(**parameters)
        try:
            connection.autocommit = True
            settings = {"lock_timeout": lock_timeout_ms, "statement_timeout": statement_timeout_ms}
            for name, value in settings.items():
                if value is not None:
                    execute(connection, "SELECT pg_catalog.set_config(%s, %s, false)", (name, f"{value}ms"))
            connection.autocommit = autocommit
            yield connection
        finally:
            connection.close()


def execute(connection: Connection, statement: Query, parameters: Sequence[Any] | None = None) -> None:
    """Run one statement for its effect."""
    with converting_errors(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def fetch_all(connection: Connection, query: Query, parameters: Any = None) -> list[Row]:
    """Run one query and return all its rows."""
    with converting_errors(), connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def fetch_one(connection: Connection, query: Query, parameters: Any = None) -> Row:
    """Run one query and return its first row; raises DatabaseError when there is none."""
    rows = fetch_all(connection, query, parameters)
    if not rows:
        raise DatabaseError("the query returned no row")
    return rows[0]


def fetch_value(connection: Connection, query: Query, parameters: Any = None) -> Any:
    """Run one query and return the first column of its first row."""
    return fetch_one(connection, query, parameters)[0]


@lru_cache(maxsize=256)
def named_query(name: str, package: str = "lockkeeper.postgres") -> str:
    """Return the text of ``queries/<name>.sql`` beside the modules of ``package``."""
    return resources.files(package).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")


def scratch_name(database: str, purpose: str) -> str:
    """Return a fresh database name like ``shop_lk_verify_3f9a1c22``, at most 63 bytes long."""
    suffix = f"_lk_{purpose}_{uuid.uuid4().hex[:8]}"
    kept = database.encode()[: 63 - len(suffix.encode())].decode(errors="ignore")
    return kept + suffix
