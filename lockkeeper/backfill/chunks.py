"""The chunks of a backfill as the ledger holds them: bounds, cursor, token; and the parked rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lockkeeper.backfill.batches import Fault
from lockkeeper.backfill.throttle import Throttle
from lockkeeper.backfill.walks import (
    KeyWalk,
    PageWalk,
    Place,
    Row,
    Walk,
    fills_by_pages,
    find_key,
    page_count,
)
from lockkeeper.errors import FencedError
from lockkeeper.online import catalog
from lockkeeper.online.catalog import Relation
from lockkeeper.online.ddl import literal, quote_table
from lockkeeper.online.session import Session
from lockkeeper.online.sql_files import named_query

PACKAGE = "lockkeeper.backfill"
UNKNOWN_ROWS_PER_PAGE = 50.0


@dataclass(frozen=True)
class Chunk:
    """A part of one table; ``after`` is the cursor, ``upto`` the end that was fixed at the start."""

    change_id: int
    number: int
    schema: str
    table: str
    oid: int
    rows: int
    pages: int
    file_node: int
    by_pages: bool
    after: Place | None
    upto: Place | None
    done: bool

    @property
    def relation_sql(self) -> str:
        """The table as SQL."""
        return quote_table(self.table, self.schema)


@dataclass(frozen=True)
class Parked:
    """A row that could not be filled."""

    chunk: Chunk
    place: Place
    shown: str
    sqlstate: str
    message: str


def plan(session: Session, change_id: int, token: int, tables: Sequence[Relation], parts: int) -> None:
    """Write down the chunks of a backfill that begins, in the open transaction; older ones are forgotten."""
    session.run(f"DELETE FROM lockkeeper.backfill_chunk WHERE change_id = {change_id}")
    number = 0
    for table in tables:
        key = find_key(session, table.oid)
        by_pages = fills_by_pages(session, table.oid, key)
        for after, upto in _bounds(session, table, by_pages, parts):
            number += 1
            session.run(
                "INSERT INTO lockkeeper.backfill_chunk (change_id, number, schema_name, table_name, "
                "file_node, "
                f"by_pages, after, upto, token) VALUES ({change_id}, {number}, {literal(table.schema)}, "
                f"{literal(table.name)}, {catalog.file_node(session, table.sql)}, {by_pages}, "
                f"{_array(after)}, {_array(upto)}, {token})"
            )


def _bounds(
    session: Session, table: Relation, by_pages: bool, parts: int
) -> list[tuple[Place | None, Place | None]]:
    """Cut a table into parts: by blocks, or where the statistics say that the key's quantiles are."""
    ends: list[Place | None]
    if by_pages:
        pages = page_count(session, table.sql)
        numbers = sorted({pages * part // parts for part in range(1, parts)} - {0, pages})
        ends = [(str(number),) for number in [*numbers, pages]]
    else:
        key = find_key(session, table.oid)
        if key is None:  # dropped a moment ago
            return _bounds(session, table, True, parts)
        descending = ", ".join(f"t.{column} DESC" for column in key.columns)
        last = session.rows(f"SELECT {key.texts} FROM {table.sql} AS t ORDER BY {descending} LIMIT 1")
        if not last:
            return []
        cuts = _quantiles(session, table.oid, key.columns, parts) if parts > 1 else []
        ends = [*cuts, tuple(last[0])]
    return list(zip([None, *ends[:-1]], ends, strict=True))


def _quantiles(session: Session, oid: int, columns: Sequence[str], parts: int) -> list[Place | None]:
    if len(columns) > 1:
        return []
    query = named_query("quantiles", PACKAGE, oid=str(oid), column=literal(columns[0]), parts=str(parts))
    return [(str(value),) for (value,) in session.rows(query)]


def _array(place: Place | None) -> str:
    return "NULL" if place is None else f"ARRAY[{', '.join(literal(text) for text in place)}]::text[]"


def chunks(session: Session, change_id: int) -> list[Chunk]:
    """Return the chunks in their order."""
    rows = session.rows(named_query("chunks", PACKAGE, change_id=str(change_id)))
    return [
        Chunk(
            change_id, int(number), schema, table, int(oid), int(rows_), int(pages), int(node), by_pages,
            tuple(after) if after is not None else None, tuple(upto) if upto is not None else None, done,
        )
        for number, schema, table, oid, rows_, pages, node, by_pages, after, upto, done in rows
    ]  # fmt: skip


def walk(session: Session, chunk: Chunk) -> Walk:
    """Return the way through a chunk."""
    key = find_key(session, chunk.oid)
    table = f"ONLY {chunk.relation_sql}"
    if chunk.by_pages or key is None:
        end = int(chunk.upto[0]) if chunk.upto else page_count(session, chunk.relation_sql)
        return PageWalk(session, table, end, chunk.rows / max(chunk.pages, 1) or UNKNOWN_ROWS_PER_PAGE, key)
    return KeyWalk(session, table, key, chunk.upto)


def of_present_file(session: Session, chunk: Chunk, token: int) -> Chunk:
    """Return the chunk, from its start when it goes by pages and the table has been rewritten meanwhile."""
    node = catalog.file_node(session, chunk.relation_sql)
    if not chunk.by_pages or node == chunk.file_node:
        return chunk
    pages: Place = (str(page_count(session, chunk.relation_sql)),)
    with session.transaction():
        _write(session, chunk, token, f"file_node = {node}, after = NULL, upto = {_array(pages)}")
    return replace(chunk, file_node=node, after=None, upto=pages)


def _write(session: Session, chunk: Chunk, token: int, pairs: str, condition: str = "true") -> None:
    changed = session.run(
        f"UPDATE lockkeeper.backfill_chunk SET {pairs} "
        f"WHERE change_id = {chunk.change_id} AND number = {chunk.number} AND token = {token} AND {condition}"
    )
    if changed != 1:
        raise FencedError(
            f"Chunk {chunk.number} of {chunk.relation_sql} was taken over by another worker, or the table "
            "was rewritten (VACUUM FULL, CLUSTER) so that its pages are others now; this worker's last "
            "batch was rolled back. Run it again: it goes on, and finds the rows that moved."
        )


def keep(session: Session, chunk: Chunk, token: int, place: Place | None, written: int) -> None:
    """Move a chunk's cursor in the open transaction.

    Raises:
        FencedError: the chunk has another token, or its cursor is a page of a file that is no more.
    """
    pairs = f"after = {_array(place)}, rows_written = rows_written + {int(written)}"
    same_file = f"file_node = pg_catalog.pg_relation_filenode({chunk.oid})" if chunk.by_pages else "true"
    _write(session, chunk, token, pairs, same_file)


def finish(session: Session, chunk: Chunk, token: int) -> None:
    """Mark a chunk as done."""
    _write(session, chunk, token, "done = true")


def rows_written(session: Session, change_id: int) -> int:
    """Return how many rows the backfill has written, in all its runs."""
    query = (
        f"SELECT coalesce(sum(rows_written), 0) FROM lockkeeper.backfill_chunk WHERE change_id = {change_id}"
    )
    return int(session.rows(query)[0][0])


def limits(session: Session, change_id: int) -> Throttle:
    """Return the limits that hold now."""
    text = session.rows(f"SELECT throttle::text FROM lockkeeper.column_change WHERE id = {change_id}")[0][0]
    return Throttle.from_values(json.loads(text))


def park(session: Session, chunk: Chunk, row: Row, fault: Fault) -> None:
    """Write down a row that could not be filled."""
    values = {
        "schema": chunk.schema, "table": chunk.table, "shown": row.shown, "sqlstate": fault.sqlstate,
        "message": fault.message,
    }  # fmt: skip
    session.run(
        named_query(
            "park", PACKAGE, change_id=str(chunk.change_id), row_key=_array(row.place),
            **{name: literal(value) for name, value in values.items()},
        )
    )  # fmt: skip


def parked(session: Session, change_id: int) -> list[Parked]:
    """Return the rows that could not be filled."""
    by_table = {(chunk.schema, chunk.table): chunk for chunk in chunks(session, change_id)}
    rows = session.rows(
        "SELECT schema_name, table_name, row_key, shown, sqlstate, message FROM lockkeeper.backfill_parked "
        f"WHERE change_id = {change_id} ORDER BY at"
    )
    return [
        Parked(by_table[schema, table], tuple(place), shown, sqlstate, message)
        for schema, table, place, shown, sqlstate, message in rows
        if (schema, table) in by_table
    ]


def unpark(session: Session, change_id: int, row: Parked) -> None:
    """Forget a parked row: it is filled, or gone."""
    of_table = f"schema_name = {literal(row.chunk.schema)} AND table_name = {literal(row.chunk.table)}"
    session.run(
        f"DELETE FROM lockkeeper.backfill_parked WHERE change_id = {change_id} AND {of_table} "
        f"AND row_key = {_array(row.place)}"
    )
