"""Where a table's rows are: to tell a table that was rewritten or re-created from one that was not."""

from __future__ import annotations

from lockkeeper.postgres.connection import Connection, fetch_all, named_query


def read_layout(connection: Connection) -> dict[str, str]:
    """Return table (qualified, quoted) -> its file and its live column numbers.

    Both change when a revision rewrites the table, or drops a column and adds it again.
    """
    return {
        str(table): str(layout) for table, layout in fetch_all(connection, named_query("table_layout"), {})
    }
