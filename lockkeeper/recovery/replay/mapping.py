"""Which column of the copy a captured value belongs to, after whatever the migration has done to the table.

A table is followed by its OID through a rename, a column by its number. A table that was made anew takes the
place of the one with its name. What has no place in the copy is named, for parking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockkeeper.recovery.capture.models import CapturedTable, CaptureRecord
from lockkeeper.recovery.pgoutput import Relation
from lockkeeper.recovery.replay.catalogue import Catalogue, CopyColumn, CopyTable, KeyColumn

_STRANGER = ""


@dataclass(frozen=True, eq=False)
class TableMap:
    """How rows of a relation, as it was sent, go into the copy. Numbers are positions in the sent row.

    Attributes:
        source: the relation's name at the source, for people.
        names: names of the sent columns.
        table: the copy's table; None when it has none.
        columns: position -> column of the copy that takes the value.
        key: positions of the key; () when a row must be found by its whole former content.
        key_columns: the key of the copy's table, in the same order.
        extra: positions whose values have no place in the copy.
        retyped: position -> type at the source, where it is not the copy's.
    """

    source: str
    names: tuple[str, ...]
    table: CopyTable | None
    columns: dict[int, CopyColumn] = field(default_factory=dict)
    key: tuple[int, ...] = ()
    key_columns: tuple[KeyColumn, ...] = ()
    extra: tuple[int, ...] = ()
    retyped: dict[int, tuple[int, int]] = field(default_factory=dict)


class Mapper:
    """Makes maps for relations, from what was recorded when the capture began and the copy's catalogue."""

    def __init__(self, record: CaptureRecord, catalogue: Catalogue) -> None:
        self._recorded = {table.oid: table for table in record.tables}
        self._catalogue = catalogue

    def map(self, relation: Relation, note: Mapping[str, Any] | None) -> TableMap:
        """Return how the relation's rows go into the copy.

        Args:
            relation: as it was sent.
            note: what the receiver has noted of it, if it was not as it had been.
        """
        recorded = self._recorded.get(relation.oid)
        table = self._table(relation, recorded, note)
        source = f"{relation.schema}.{relation.name}"
        names = tuple(column.name for column in relation.columns)
        if table is None:
            return TableMap(source, names, None)
        renamed = _renames(recorded, note)
        columns, extra, retyped = {}, [], {}
        for position, sent in enumerate(relation.columns):
            column = table.columns.get(renamed.get(sent.name, sent.name))
            if column is None:
                extra.append(position)
            elif not column.is_generated:
                columns[position] = column
                if _is_retyped(recorded, column, sent.type_oid, sent.typmod):
                    retyped[position] = (sent.type_oid, sent.typmod)
        positions = {column.name: position for position, column in columns.items()}
        has_key = bool(table.key) and all(each.name in positions for each in table.key)
        key = tuple(positions[each.name] for each in table.key) if has_key else ()
        return TableMap(source, names, table, columns, key, table.key if key else (), tuple(extra), retyped)

    def _table(
        self, relation: Relation, recorded: CapturedTable | None, note: Mapping[str, Any] | None
    ) -> CopyTable | None:
        if recorded is not None:
            return self._catalogue.get((recorded.schema_name, recorded.name))
        table = self._catalogue.get((relation.schema, relation.name))
        if table is None and note and note.get("root"):
            table = self._catalogue.get(tuple(note["root"]))
        return table


def _renames(recorded: CapturedTable | None, note: Mapping[str, Any] | None) -> dict[str, str]:
    """Return present name -> name in the copy, for columns whose number tells that they were renamed."""
    if recorded is None or not note:
        return {}
    former = {column.number: column.name for column in recorded.columns}
    # A column that was added under the name of one that is gone has a new number: it is another column.
    return {name: former.get(number, _STRANGER) for name, number in note["numbers"].items()}


def _is_retyped(recorded: CapturedTable | None, column: CopyColumn, type_oid: int, typmod: int) -> bool:
    """OIDs of types that are not built in differ in the copy: compare with those recorded at the source."""
    former = next((each for each in recorded.columns if each.name == column.name), None) if recorded else None
    if former is None:
        return (column.type_oid, column.typmod) != (type_oid, typmod)
    return (former.type_oid, former.typmod) != (type_oid, typmod)
