"""The changes of many transactions to one table, brought down to one net change per row.

Nobody reads the copy while it is behind, so only the state after the last transaction of a batch matters: a
row that was inserted, updated twice and deleted is nothing. What the application changed is what differs
between the row before and after, so that what the migration had changed before is not carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from lockkeeper.recovery.pgoutput import UNCHANGED, Value, Values
from lockkeeper.recovery.replay.mapping import TableMap

INSERT, UPDATE, DELETE = "insert", "update", "delete"
REPLACE = "replace"


class Transaction(NamedTuple):
    """What is told of a transaction when one of its writes is parked."""

    commit_lsn: int
    xid: int
    committed_at: datetime


class Change(NamedTuple):
    """One row change as it was captured. ``old`` is None for inserts and when it was not captured."""

    operation: str
    old: Values | None
    new: Values | None
    transaction: Transaction


@dataclass(slots=True)
class NetChange:
    """What became of one row.

    Attributes:
        operation: insert, update, delete, or replace (deleted and inserted again).
        key: the key's values.
        values: the whole row, of an insert or replace.
        new: position -> value, of an update: what the application changed.
        old: position -> value before the first of those changes, as far as it was captured.
        transaction: the last one that touched it.
    """

    operation: str
    key: Any
    values: Values | None
    new: dict[int, Value]
    old: dict[int, Value]
    transaction: Transaction


class ParkedValue(NamedTuple):
    """Values that have no place in the copy."""

    change: Change
    values: dict[int, Value]


@dataclass
class TableChanges:
    """Changes of one table since the last application, in order, and their net effect by key."""

    map: TableMap
    changes: list[Change] = field(default_factory=list)
    net: dict[Any, NetChange] = field(default_factory=dict)
    parked: list[ParkedValue] = field(default_factory=list)
    orphans: list[Change] = field(default_factory=list)
    _key_of: Callable[[Values], Any] | None = None
    _positions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._key_of = itemgetter(*self.map.key) if self.map.key else None
        self._positions = tuple(self.map.columns)

    @property
    def is_keyed(self) -> bool:
        """Whether rows are found by a key, so that changes can be brought down to net ones."""
        return self._key_of is not None

    def accepts(self, change: Change) -> bool:
        """Whether the change can join the batch: not when it changes a key, which is applied by itself."""
        if self._key_of is None or change.operation != UPDATE or change.old is None or change.new is None:
            return True
        return bool(self._key_of(change.old) == self._key_of(change.new))

    def add(self, change: Change) -> None:
        """Take a change that ``accepts`` has agreed to."""
        self.changes.append(change)
        if self.map.extra:
            self._park_extra(change)
        if self._key_of is not None:
            self._net(change, self._key_of)

    def _park_extra(self, change: Change) -> None:
        new, old = change.new, change.old
        if new is None:
            return
        lost = {
            position: new[position]
            for position in self.map.extra
            if new[position] is not None
            and new[position] is not UNCHANGED
            and (old is None or old[position] != new[position])
        }
        if lost:
            self.parked.append(ParkedValue(change, lost))

    def _net(self, change: Change, key_of: Callable[[Values], Any]) -> None:
        operation, old, new, transaction = change
        if operation == UPDATE:
            self._update(key_of(new), old, new, transaction)  # type: ignore[arg-type]
        elif operation == INSERT:
            key = key_of(new)  # type: ignore[arg-type]
            known = self.net.get(key)
            kind = INSERT if known is None or known.operation == INSERT else REPLACE
            self.net[key] = NetChange(kind, key, new, {}, {}, transaction)
        else:
            key = key_of(old)  # type: ignore[arg-type]
            known = self.net.get(key)
            if known is not None and known.operation == INSERT:
                del self.net[key]
            else:
                self.net[key] = NetChange(DELETE, key, None, {}, {}, transaction)

    def _update(self, key: Any, old: Values | None, new: Values, transaction: Transaction) -> None:
        known = self.net.get(key)
        if known is not None and known.values is not None:
            known.values = [
                before if after is UNCHANGED else after
                for before, after in zip(known.values, new, strict=True)
            ]
            known.transaction = transaction
            return
        if old is None:
            changed = [p for p in self._positions if new[p] is not UNCHANGED]
        else:
            changed = [p for p in self._positions if new[p] != old[p] and new[p] is not UNCHANGED]
            if not changed:
                return
        if known is not None and known.operation == DELETE:
            # Between the two the migration has made the row anew: the copy has none to update.
            self.orphans.append(Change(UPDATE, old, new, transaction))
            return
        if known is None:
            known = self.net[key] = NetChange(UPDATE, key, None, {}, {}, transaction)
        for position in changed:
            if old is not None and position not in known.new:
                known.old[position] = old[position]
            known.new[position] = new[position]
        known.transaction = transaction


def select(changes: Iterable[NetChange], *operations: str) -> list[NetChange]:
    """Return the net changes of these kinds."""
    return [change for change in changes if change.operation in operations]


def by_columns(changes: Iterable[NetChange]) -> dict[tuple[tuple[int, ...], bool], list[NetChange]]:
    """Group updates by what they set, and by whether their former values are known."""
    groups: dict[tuple[tuple[int, ...], bool], list[NetChange]] = {}
    for change in changes:
        positions = tuple(sorted(change.new))
        groups.setdefault((positions, len(change.old) == len(positions)), []).append(change)
    return groups
