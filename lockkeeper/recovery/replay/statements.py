"""SQL for many rows at once, as bytes: captured values go to the server as they came, without being decoded.

Values travel in array literals and COPY lines that are escaped here, names are quoted by the catalogue.
Sessions that run this have ``standard_conforming_strings = on`` and UTF-8 as their encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lockkeeper.recovery.pgoutput import Value, Values
from lockkeeper.recovery.replay.catalogue import CopyColumn
from lockkeeper.recovery.replay.mapping import TableMap

_COPY_SPECIAL = re.compile(rb"[\\\n\r\t]").search
_COPY_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}
_ESCAPE = re.compile(rb"[\\\n\r\t]")


def array_literal(values: Iterable[Value], delimiter: bytes = b",") -> bytes:
    """Return a quoted array literal; each value is quoted in it, so that no text is taken for NULL."""
    elements = [
        b"NULL"
        if not isinstance(value, bytes)
        else b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        for value in values
    ]
    return b"'{" + delimiter.join(elements).replace(b"'", b"''") + b"}'"


def literal(value: Value) -> bytes:
    """Return one quoted literal."""
    return b"'" + value.replace(b"'", b"''") + b"'" if isinstance(value, bytes) else b"NULL"


def copy_lines(rows: Iterable[Values], positions: Sequence[int]) -> bytes:
    """Return rows in COPY's text format."""
    lines = []
    for row in rows:
        fields = []
        for position in positions:
            value = row[position]
            if not isinstance(value, bytes):
                fields.append(b"\\N")
            elif _COPY_SPECIAL(value):
                fields.append(_ESCAPE.sub(lambda found: _COPY_ESCAPES[found[0]], value))
            else:
                fields.append(value)
        lines.append(b"\t".join(fields))
    lines.append(b"")
    return b"\n".join(lines)


def copy_statement(table_map: TableMap) -> str:
    """Return the COPY that takes whole rows; default values fill what the rows lack."""
    names = ", ".join(column.quoted for column in table_map.columns.values())
    return f"COPY {_identity(table_map)} ({names}) FROM STDIN"


def _identity(table_map: TableMap) -> str:
    if table_map.table is None:
        raise ValueError(f"{table_map.source} has no table in the copy")
    return table_map.table.identity


def only(table_map: TableMap) -> bytes:
    """Return the table as a target; rows of a partition that the copy lacks are looked for in its root."""
    root = table_map.table is not None and table_map.table.is_root
    return (b"" if root else b"ONLY ") + _identity(table_map).encode()


def column_array(column: CopyColumn, values: Iterable[Value]) -> bytes:
    """Return the array of one column's values, typed where the type has arrays."""
    if column.array_type is None:
        return array_literal(values) + b"::pg_catalog.text[]"
    return array_literal(values, column.delimiter.encode()) + b"::" + column.array_type.encode()


def cast(column: CopyColumn, expression: bytes) -> bytes:
    """Return a value of ``column_array`` as the column's type; its length is checked on the way in."""
    if column.array_type is not None:
        return expression
    return b"CAST(" + expression + b" AS " + column.bare_type.encode() + b")"


def text_array(values: Iterable[Value]) -> bytes:
    """Return an array of texts."""
    return array_literal(values) + b"::pg_catalog.text[]"


def numbered(count: int) -> bytes:
    """Return the array 0, 1, ... that tells the rows of a statement apart."""
    return b"'{" + b",".join(b"%d" % number for number in range(count)) + b"}'::pg_catalog.int4[]"


def source_rows(arrays: Sequence[bytes], names: Sequence[bytes]) -> bytes:
    """Return a FROM item of arrays side by side, named s."""
    functions = b", ".join(b"pg_catalog.unnest(" + array + b")" for array in arrays)
    return b"ROWS FROM (" + functions + b") AS s (" + b", ".join(names) + b")"


def located_rows(table_map: TableMap, arrays: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return a FROM item named s, and the condition that joins it with the table, named t.

    Each row is looked up by itself first, through the key's index: left to choose, the planner, which knows a
    growing table only as small, would read all of it for every batch. A place says nothing across partitions.
    """
    rows = source_rows(arrays, names)
    if table_map.table is not None and table_map.table.is_root:
        return rows, key_condition(table_map, b"t")
    located = b"(SELECT s.*, (SELECT x.ctid FROM %b AS x WHERE %b) AS place FROM %b OFFSET 0) AS s" % (
        only(table_map),
        key_condition(table_map, b"x"),
        rows,
    )
    return located, b"t.ctid = s.place"


def key_arrays(table_map: TableMap, keys: Sequence[Values]) -> tuple[list[bytes], list[bytes]]:
    """Return the arrays of keys, and their names k0, k1, ..."""
    arrays, names = [], []
    for number, position in enumerate(table_map.key):
        arrays.append(column_array(table_map.columns[position], [key[number] for key in keys]))
        names.append(b"k%d" % number)
    return arrays, names


def key_condition(table_map: TableMap, alias: bytes) -> bytes:
    """Return the condition that finds a row of ``alias`` by the key in s."""
    parts = []
    for number, (position, key) in enumerate(zip(table_map.key, table_map.key_columns, strict=True)):
        column = table_map.columns[position]
        value = cast(column, b"s.k%d" % number)
        parts.append(b"%b.%b %b %b" % (alias, column.quoted.encode(), key.equals.encode(), value))
    return b" AND ".join(parts)


def delete_statement(table_map: TableMap, keys: Sequence[Values]) -> bytes:
    """Return the DELETE of many rows, which returns the numbers of those that it found."""
    arrays, names = key_arrays(table_map, keys)
    rows, joined = located_rows(table_map, [numbered(len(keys)), *arrays], [b"i", *names])
    return b"DELETE FROM %b AS t USING %b WHERE %b RETURNING s.i" % (only(table_map), rows, joined)


def update_statement(
    table_map: TableMap,
    keys: Sequence[Values],
    positions: Sequence[int],
    new: Sequence[Values],
    old: Sequence[Values] | None,
) -> bytes:
    """Return the UPDATE of many rows, which returns the numbers of those that it has changed.

    Args:
        table_map: of which table.
        keys: keys of the rows.
        positions: what is set.
        new: per position, the values of all rows.
        old: per position, the values that must be there now; None sets whatever is there.
    """
    arrays, names = key_arrays(table_map, keys)
    arrays.insert(0, numbered(len(keys)))
    names.insert(0, b"i")
    sets, conditions = [], []
    for number, position in enumerate(positions):
        column = table_map.columns[position]
        quoted = column.quoted.encode()
        arrays.append(column_array(column, new[number]))
        names.append(b"n%d" % number)
        sets.append(quoted + b" = " + cast(column, b"s.n%d" % number))
        if old is not None and column.is_comparable:
            arrays.append(text_array(old[number]))
            names.append(b"o%d" % number)
            conditions.append(b"CAST(t.%b AS pg_catalog.text) IS NOT DISTINCT FROM s.o%d" % (quoted, number))
    rows, joined = located_rows(table_map, arrays, names)
    return b"UPDATE %b AS t SET %b FROM %b WHERE %b RETURNING s.i" % (
        only(table_map),
        b", ".join(sets),
        rows,
        b" AND ".join([joined, *conditions]),
    )


def present_statement(table_map: TableMap, keys: Sequence[Values], positions: Sequence[int]) -> bytes:
    """Return the query for what rows hold now: number, then the values at ``positions`` as text."""
    arrays, names = key_arrays(table_map, keys)
    rows, joined = located_rows(table_map, [numbered(len(keys)), *arrays], [b"i", *names])
    values = b"".join(
        b", CAST(t.%b AS pg_catalog.text)" % table_map.columns[position].quoted.encode()
        for position in positions
    )
    return b"SELECT s.i%b FROM %b AS t, %b WHERE %b" % (values, only(table_map), rows, joined)


def lossless_statement(column: CopyColumn, source_type: str, values: Sequence[Value]) -> bytes:
    """Return the query for the numbers of values that would not be the same again after the column's type.

    The value is read as the column's full type, turned into the type that it has at the source, and compared.
    """
    return (
        b"SELECT s.i FROM %b WHERE s.v IS NOT NULL AND CAST(CAST(CAST(s.v AS %b) AS %b) AS pg_catalog.text) "
        b"IS DISTINCT FROM s.v"
        % (
            source_rows([numbered(len(values)), text_array(values)], [b"i", b"v"]),
            column.full_type.encode(),
            source_type.encode(),
        )
    )


def whole_row_condition(table_map: TableMap, row: Values) -> bytes:
    """Return the condition that finds a row by its whole former content, in a table without a key."""
    parts = []
    for position, column in table_map.columns.items():
        value, quoted = row[position], column.quoted.encode()
        if value is None:
            parts.append(b"%b IS NULL" % quoted)
        elif isinstance(value, bytes):
            parts.append(b"CAST(%b AS pg_catalog.text) = %b" % (quoted, literal(value)))
    return b" AND ".join(parts) or b"true"
