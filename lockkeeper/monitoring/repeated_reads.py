"""Queries that are asked again and again, planned once by the server: planning costs more than reading.

A query is prepared when it is asked for the second time, so that a single look pays for no preparation.
Behind a pooler that hands each statement to another server session (PgBouncer, pool_mode=transaction)
prepared statements are not found again: from the first such answer on everything is asked as plain text.
"""

from __future__ import annotations

from typing import Any

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, Row, converting_errors, execute, fetch_all

MOST_PREPARED = 64
UNKNOWN_STATEMENT, KNOWN_STATEMENT = "26000", "42P05"
"""invalid_sql_statement_name, duplicate_prepared_statement: the session is not the one that prepared."""


class RepeatedReads:
    """Reads through one connection; statements live as long as it does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked: dict[tuple[str, str], str | None] = {}
        self._may_prepare = True

    def rows(self, query: str, parameters: Any = None) -> list[Row]:
        """Return all rows of a query; the same query with the same values is planned once only."""
        try:
            statement = self._prepared(query, parameters) if self._may_prepare else None
            if statement is not None:
                return fetch_all(self._connection, statement)
        except DatabaseError as error:
            if error.sqlstate not in (UNKNOWN_STATEMENT, KNOWN_STATEMENT):
                raise
            self._may_prepare = False
        return fetch_all(self._connection, query, parameters)

    def _prepared(self, query: str, parameters: Any) -> str | None:
        """Return how to ask for it prepared, or None when it is asked for the first time."""
        key = (query, repr(parameters))
        if key not in self._asked:
            if len(self._asked) < MOST_PREPARED:
                self._asked[key] = None
            return None
        if self._asked[key] is None:
            name = f"lockkeeper_{list(self._asked).index(key)}"
            with converting_errors(), self._connection.cursor() as cursor:
                text = cursor.mogrify(query, parameters).decode()
            execute(self._connection, f"PREPARE {name} AS {text}")
            self._asked[key] = f"EXECUTE {name}"
        return self._asked[key]
