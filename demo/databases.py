"""The demo's databases: made anew each time, filled with real-looking rows, compared before and after."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import LockkeeperError
from lockkeeper.models import DataFingerprint, SchemaFingerprint
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
FIRST_REVISION = "000"
SAMPLE_DATA = MIGRATIONS / "sample_data.sql"
LEAST_ROWS = {"users": 100_000, "products": 50_000}
_WITH_LEFTOVERS = r"SELECT datname FROM pg_database WHERE datname = %s OR datname LIKE %s || '\_lk\_%%'"


@dataclass(frozen=True)
class Contents:
    """Everything in a database that a recovery must bring back."""

    schema: SchemaFingerprint
    data: DataFingerprint


def make_database(server: URL, name: str, alembic_ini: Path, revision: str) -> URL:
    """Make the database ``name`` anew (with its quarantines gone), at ``revision``, full of rows.

    Args:
        server: a URL of the superuser on the embedded server.
        name: the database; it and its quarantines of earlier demos are dropped.
        alembic_ini: the project that makes its tables.
        revision: where it is to stand before the demo's migration.
    """
    with connect(server, "demo") as connection:
        for (leftover,) in fetch_all(connection, _WITH_LEFTOVERS, (name, name)):
            execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(leftover)))
        execute(connection, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.set(database=name)
    _run_alembic(url, alembic_ini, FIRST_REVISION)
    with connect(url, "demo", autocommit=False) as connection:
        execute(connection, SAMPLE_DATA.read_text(encoding="utf-8"))
        connection.commit()
    if revision != FIRST_REVISION:
        _run_alembic(url, alembic_ini, revision)
    with connect(url, "demo") as connection:
        execute(connection, "VACUUM ANALYZE")
    return url


def _run_alembic(url: URL, alembic_ini: Path, revision: str) -> None:
    """Bring an empty database to where production stood yesterday, as its team did: with bare Alembic."""
    environment = {**os.environ, "DATABASE_URL": url.render_as_string(hide_password=False)}
    argv = [sys.executable, "-m", "alembic", "-c", str(alembic_ini), "upgrade", revision]
    done = subprocess.run(
        argv, cwd=alembic_ini.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LockkeeperError(f"alembic upgrade {revision} failed:\n{done.stderr[-2000:]}")


def row_counts(url: URL) -> dict[str, int]:
    """Return the rows of the demo's tables; raises LockkeeperError when they are too few for a demo."""
    counts = {}
    with connect(url, "demo") as connection:
        for table, least in LEAST_ROWS.items():
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            counts[table] = int(fetch_value(connection, query))
            if counts[table] < least:
                raise LockkeeperError(f"Table {table} has {counts[table]} rows, the demo wants {least}.")
    return counts


def contents(url: URL) -> Contents:
    """Take the fingerprints of a database's schema and data."""
    with connect(url, "demo") as connection:
        schema = schema_fingerprint(connection)
    return Contents(schema, data_fingerprint(url))


def differences(before: Contents, after: Contents) -> list[str]:
    """Return what differs, one readable line each; none means: as before."""
    return [*compare_schemas(before.schema, after.schema), *compare_data(before.data, after.data)]
