"""Applies the changes of one table to the copy, many rows a statement.

Deletes, then updates, then inserts: what a later row needs to be free was freed before. Where PostgreSQL
refuses a statement, the changes are halved until the one that it refuses stands alone; that one is parked,
with the reason. Foreign keys and triggers do not act (``session_replication_role = replica``): what they
did at the source was captured as changes of its own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

from lockkeeper.errors import ConnectionLostError, DatabaseError, ReplayError
from lockkeeper.postgres.connection import Connection, converting_errors, execute, fetch_value
from lockkeeper.recovery.pgoutput import UNCHANGED, Value, Values
from lockkeeper.recovery.replay import statements
from lockkeeper.recovery.replay.bookkeeping import ParkedWrite, parked_write
from lockkeeper.recovery.replay.changes import (
    DELETE,
    INSERT,
    REPLACE,
    UPDATE,
    Change,
    NetChange,
    TableChanges,
    Transaction,
    by_columns,
    select,
)
from lockkeeper.recovery.replay.mapping import TableMap

NO_ROW = "the copy has no such row: the migration had made it, or it is not in the backup"
NO_TABLE = "the copy has no such table"
NO_COLUMN = "the copy has no such column"
OVERWRITTEN = "the migration had changed this value before the application did: the application's is kept"
_FIRST_OWN_OID = 16384
_SAVEPOINT = "lockkeeper_batch"
_REFUSALS = frozenset({"22", "23", "44", "P0"})  # data, integrity, view option; raised by functions
_CANNOT_COERCE, _DATATYPE_MISMATCH = "42846", "42804"


class Applier:
    """Applies batches in the transaction that its session has open. Collects what is parked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.parked: list[ParkedWrite] = []

    def apply(self, batch: TableChanges) -> None:
        """Apply all of a batch, whatever it takes.

        Raises:
            ConnectionLostError: the copy's server is gone; nothing of the open transaction is kept.
        """
        if batch.map.table is None:
            self.parked += [_parked_change(batch.map, change, NO_TABLE) for change in batch.changes]
            return
        self._apply_or_halve(batch.map, batch.changes, batch)
        self._park_values(batch)

    def _park_values(self, batch: TableChanges) -> None:
        for change, values in batch.parked:
            self.parked.append(_parked_change(batch.map, change, NO_COLUMN, values, carried=True))
        for change in batch.orphans:
            self.parked.append(_parked_change(batch.map, change, NO_ROW))

    def _apply_or_halve(
        self, table_map: TableMap, changes: Sequence[Change], batch: TableChanges | None = None
    ) -> None:
        kept = len(self.parked)
        try:
            with self._savepoint():
                self._apply_together(table_map, batch or _batch(table_map, changes))
            return
        except ConnectionLostError:
            raise
        except DatabaseError as error:
            _require_refusal(error)
            del self.parked[kept:]
            if len(changes) == 1:
                self._apply_alone(table_map, changes[0], error)
                return
        middle = len(changes) // 2
        self._apply_or_halve(table_map, changes[:middle])
        self._apply_or_halve(table_map, changes[middle:])

    def _apply_together(self, table_map: TableMap, batch: TableChanges) -> None:
        self._require_lossless(table_map, batch.changes)
        if not batch.is_keyed:
            self._apply_in_order(table_map, batch.changes)
            return
        net = batch.net.values()
        self._delete(table_map, select(net, DELETE), required=True)
        self._delete(table_map, select(net, REPLACE), required=False)
        for (positions, old_is_known), group in by_columns(select(net, UPDATE)).items():
            self._update(table_map, positions, group, old_is_known)
        self._copy(table_map, [change.values or [] for change in select(net, INSERT, REPLACE)])

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[None]:
        execute(self._connection, f"SAVEPOINT {_SAVEPOINT}")
        try:
            yield
        except ConnectionLostError:
            raise
        except DatabaseError:
            execute(self._connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            raise
        execute(self._connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")

    def _query(self, statement: bytes) -> list[tuple[Any, ...]]:
        with converting_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _execute(self, statement: bytes) -> int:
        with converting_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.rowcount)

    # -- many rows -----------------------------------------------------------------------------------------

    def _copy(self, table_map: TableMap, rows: Sequence[Values]) -> None:
        if rows:
            lines = statements.copy_lines(rows, tuple(table_map.columns))
            with converting_errors(), self._connection.cursor() as cursor:
                cursor.copy_expert(statements.copy_statement(table_map), io.BytesIO(lines))

    def _delete(self, table_map: TableMap, group: Sequence[NetChange], *, required: bool) -> None:
        if not group:
            return
        found = {
            number
            for (number,) in self._query(
                statements.delete_statement(table_map, [_key(change) for change in group])
            )
        }
        if required and len(found) < len(group):
            for number, change in enumerate(group):
                if number not in found:
                    self._park_net(table_map, change, NO_ROW)

    def _update(
        self, table_map: TableMap, positions: tuple[int, ...], group: Sequence[NetChange], old_is_known: bool
    ) -> None:
        """Set what the application changed; rows that hold something else than it saw are looked at again."""
        old = _columns(positions, [change.old for change in group]) if old_is_known else None
        done = self._set(table_map, positions, group, old)
        rest = [change for number, change in enumerate(group) if number not in done]
        if rest:
            self._overwrite(table_map, positions, rest)

    def _set(
        self,
        table_map: TableMap,
        positions: tuple[int, ...],
        group: Sequence[NetChange],
        old: list[Values] | None,
    ) -> set[int]:
        keys = [_key(change) for change in group]
        new = _columns(positions, [change.new for change in group])
        statement = statements.update_statement(table_map, keys, positions, new, old)
        return {number for (number,) in self._query(statement)}

    def _overwrite(self, table_map: TableMap, positions: tuple[int, ...], group: Sequence[NetChange]) -> None:
        """The last writer wins, and what it wins over is listed; a row that is not there is parked."""
        keys = [_key(change) for change in group]
        present = {
            row[0]: row[1:] for row in self._query(statements.present_statement(table_map, keys, positions))
        }
        there = [change for number, change in enumerate(group) if number in present]
        if there:
            self._set(table_map, positions, there, None)
        for number, change in enumerate(group):
            if number not in present:
                self._park_net(table_map, change, NO_ROW)
            elif change.old:
                self._note_overwritten(table_map, positions, change, present[number])

    def _note_overwritten(
        self,
        table_map: TableMap,
        positions: tuple[int, ...],
        change: NetChange,
        present: Sequence[str | None],
    ) -> None:
        was = dict(zip(positions, present, strict=True))
        overwritten = {
            f"{table_map.names[position]} in the copy": value
            for position, value in was.items()
            if value not in (_shown(change.new[position]), _shown(change.old[position]))
        }
        if overwritten:
            self._park_net(table_map, change, OVERWRITTEN, carried=True, more=overwritten)

    def _require_lossless(self, table_map: TableMap, changes: Sequence[Change]) -> None:
        """Where the migration has retyped a column, a value must survive the way back to the former type."""
        for position, (type_oid, typmod) in table_map.retyped.items():
            values = [
                change.new[position]
                for change in changes
                if change.new is not None and isinstance(change.new[position], bytes)
            ]
            if values:
                source_type = self._source_type(type_oid, typmod)
                column = table_map.columns[position]
                if self._query(statements.lossless_statement(column, source_type, values)):
                    raise DatabaseError(
                        f"a value of {column.name} cannot be brought back from {source_type} to "
                        f"{column.full_type} as it is",
                        "22000",
                    )

    def _source_type(self, type_oid: int, typmod: int) -> str:
        """Return the type for the way there and back: of a type that is not built in only the text is known.

        The migration may have made it, and in the copy its OID is nobody's, or somebody else's.
        """
        if type_oid >= _FIRST_OWN_OID:
            return "pg_catalog.text"
        query = "SELECT pg_catalog.format_type(%s, %s)"
        return str(fetch_value(self._connection, query, (type_oid, typmod)))

    # -- without a key, and one alone ----------------------------------------------------------------------

    def _apply_in_order(self, table_map: TableMap, changes: Sequence[Change]) -> None:
        rows: list[Values] = []
        for change in changes:
            if change.operation == INSERT and change.new is not None:
                rows.append(change.new)
                continue
            self._copy(table_map, rows)
            rows = []
            if not self._change_by_content(table_map, change):
                self.parked.append(_parked_change(table_map, change, NO_ROW))
        self._copy(table_map, rows)

    def _change_by_content(self, table_map: TableMap, change: Change) -> bool:
        """Update or delete one row that is found by its whole former content; False when there is none."""
        if change.old is None:
            return False
        target = statements.only(table_map)
        condition = b"ctid = (SELECT ctid FROM %b WHERE %b LIMIT 1)" % (
            target,
            statements.whole_row_condition(table_map, change.old),
        )
        if change.operation == DELETE:
            return self._execute(b"DELETE FROM %b WHERE %b" % (target, condition)) == 1
        if change.new is None:
            return False
        sets = [
            column.quoted.encode() + b" = " + statements.literal(change.new[position])
            for position, column in table_map.columns.items()
            if change.new[position] is not UNCHANGED and change.new[position] != change.old[position]
        ]
        if not sets:
            return True
        return self._execute(b"UPDATE %b SET %b WHERE %b" % (target, b", ".join(sets), condition)) == 1

    def _apply_alone(self, table_map: TableMap, change: Change, error: DatabaseError) -> None:
        """What is left to try for a change that was refused; at last it is parked."""
        if change.operation == INSERT and table_map.key and self._insert_over(table_map, change):
            self.parked.append(_parked_change(table_map, change, f"{OVERWRITTEN} ({error})", carried=True))
        elif table_map.retyped and self._without_retyped(table_map, change, error):
            return
        else:
            self.parked.append(_parked_change(table_map, change, str(error)))

    def _insert_over(self, table_map: TableMap, change: Change) -> bool:
        """Insert where the copy still has a row that the migration had deleted; False when there is none."""
        if change.new is None:
            return False
        positions = tuple(p for p in table_map.columns if p not in table_map.key)
        key = tuple(change.new[position] for position in table_map.key)
        new = {position: change.new[position] for position in positions}
        net = NetChange(UPDATE, key, None, new, {}, change.transaction)
        try:
            with self._savepoint():
                return bool(positions) and bool(self._set(table_map, positions, [net], None))
        except ConnectionLostError:
            raise
        except DatabaseError:
            return False

    def _without_retyped(self, table_map: TableMap, change: Change, error: DatabaseError) -> bool:
        """Apply a change without the columns whose type the migration changed, and park their values."""
        columns = {p: column for p, column in table_map.columns.items() if p not in table_map.retyped}
        if any(position not in columns for position in table_map.key):
            return False
        narrow = TableMap(
            table_map.source, table_map.names, table_map.table, columns, table_map.key, table_map.key_columns
        )
        before = len(self.parked)
        try:
            with self._savepoint():
                self._apply_together(narrow, _batch(narrow, [change]))
        except ConnectionLostError:
            raise
        except DatabaseError:
            del self.parked[before:]
            return False
        values = {position: change.new[position] for position in table_map.retyped} if change.new else {}
        self.parked.append(_parked_change(table_map, change, str(error), values, carried=True))
        return True

    def change_key(self, table_map: TableMap, change: Change) -> None:
        """Apply an update that changes the key; by itself, since it touches two keys."""
        if table_map.table is None or change.old is None or change.new is None:
            self.parked.append(_parked_change(table_map, change, NO_TABLE))
            return
        old = change.old
        new = {
            position: change.new[position]
            for position in table_map.columns
            if change.new[position] is not UNCHANGED
            and (not _has(old, position) or change.new[position] != old[position])
        }
        key = tuple(old[position] for position in table_map.key)
        known = {position: old[position] for position in new if _has(old, position)}
        net = NetChange(UPDATE, key, None, new, known, change.transaction)
        try:
            with self._savepoint():
                self._update(table_map, tuple(new), [net], len(known) == len(new))
        except ConnectionLostError:
            raise
        except DatabaseError as error:
            self.parked.append(_parked_change(table_map, change, str(error)))

    def _park_net(
        self,
        table_map: TableMap,
        change: NetChange,
        reason: str,
        carried: bool = False,
        more: dict[str, str | None] | None = None,
    ) -> None:
        key = {
            table_map.names[position]: _shown(value)
            for position, value in zip(table_map.key, _key(change), strict=True)
        }
        values = {table_map.names[position]: _shown(value) for position, value in change.new.items()}
        values |= more or {}
        self.parked.append(
            parked_write(change.transaction, table_map.source, change.operation, key, values, reason, carried)
        )


def _require_refusal(error: DatabaseError) -> None:
    """Only what PostgreSQL says of a value is a reason to park it; a wrong statement is our own fault."""
    sqlstate = error.sqlstate or ""
    if sqlstate[:2] not in _REFUSALS and sqlstate not in (_CANNOT_COERCE, _DATATYPE_MISMATCH):
        raise ReplayError(f"A batch could not be applied to the copy: {error}") from error


def _has(old: Values, position: int) -> bool:
    return isinstance(old[position], bytes)


def _batch(table_map: TableMap, changes: Sequence[Change]) -> TableChanges:
    batch = TableChanges(table_map)
    for change in changes:
        batch.add(change)
    return batch


def _key(change: NetChange) -> Values:
    return list(change.key) if isinstance(change.key, tuple) else [change.key]


def _columns(positions: Sequence[int], rows: Sequence[dict[int, Value]]) -> list[Values]:
    return [[row[position] for row in rows] for position in positions]


def _shown(value: Value) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def _parked_change(
    table_map: TableMap,
    change: Change,
    reason: str,
    values: dict[int, Value] | None = None,
    carried: bool = False,
) -> ParkedWrite:
    row = change.new if change.new is not None else change.old or []
    positions = table_map.key or range(len(row))
    key = {table_map.names[position]: _shown(row[position]) for position in positions}
    if values is None:
        values = dict(enumerate(change.new)) if change.new is not None else {}
    shown = {
        table_map.names[position]: _shown(value)
        for position, value in values.items()
        if value is not UNCHANGED
    }
    transaction: Transaction = change.transaction
    return parked_write(transaction, table_map.source, change.operation, key, shown, reason, carried)
