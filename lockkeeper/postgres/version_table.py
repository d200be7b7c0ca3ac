"""Which revisions a database is at: the content of Alembic's version table, whatever it is called."""

from __future__ import annotations

from psycopg2 import sql

from lockkeeper.postgres.connection import Connection, fetch_all, fetch_value

_NAMED_AS_USUAL = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = 'alembic_version' AND c.relkind = 'r'
"""


def read_version_table(connection: Connection, table: str | None) -> tuple[str, ...]:
    """Return the version table's content, sorted; () when there is no such table (yet).

    Args:
        connection: to the database.
        table: qualified and quoted, as ``MigrationPlan.version_table`` has it.
    """
    if table is None or fetch_value(connection, "SELECT pg_catalog.to_regclass(%s)", (table,)) is None:
        return ()
    query = sql.SQL("SELECT version_num FROM ") + sql.SQL(table)
    return tuple(sorted(str(revision) for (revision,) in fetch_all(connection, query)))


def guess_version_table(connection: Connection) -> str | None:
    """Return the one table named alembic_version, quoted; None when there is not exactly one."""
    tables = fetch_all(connection, _NAMED_AS_USUAL)
    return str(tables[0][0]) if len(tables) == 1 else None


def read_revisions(connection: Connection, table: str | None) -> tuple[str, ...]:
    """Return the revisions that the database is at, sorted; ``table`` None: whoever asks knows no project."""
    return read_version_table(connection, table or guess_version_table(connection))
