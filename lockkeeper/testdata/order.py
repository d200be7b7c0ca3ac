"""In which order tables are filled: parents first; in a circle, where a key can wait, it waits."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.testdata.catalogue import ForeignKey, Table


def in_order(tables: Sequence[Table]) -> list[tuple[Table, tuple[ForeignKey, ...]]]:
    """Return each table with the foreign keys that can only be filled once all tables have rows.

    A table whose parents all have come is next; when there is none, one whose missing parents may be left
    NULL, then one whose key can be checked at the end of the transaction, then any: that one will fail, and
    say so.
    """
    left = {table.name: table for table in tables}
    order: list[tuple[Table, tuple[ForeignKey, ...]]] = []
    while left:
        table = min(left.values(), key=lambda one: (_hindrance(one, left), one.name))
        order.append((table, tuple(_waiting(table, left))))
        del left[table.name]
    return order


def _waiting(table: Table, left: dict[str, Table]) -> list[ForeignKey]:
    return [key for key in table.foreign_keys if key.parent in left]


def _hindrance(table: Table, left: dict[str, Table]) -> int:
    """0 nothing, 1 keys that may be NULL for now, 2 keys that are checked later, 3 keys that cannot wait."""
    grades = [
        1 if table.nullable(key) else 2 if key.deferrable else 3
        for key in _waiting(table, left)
        if key.parent != table.name
    ]
    return max(grades, default=0)
