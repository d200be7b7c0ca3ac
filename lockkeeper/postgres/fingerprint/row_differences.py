"""Which rows of a table are not what they were, told by hashes: how many, in which columns, a few keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from lockkeeper.postgres.fingerprint.hashing import PACKED_BYTES, column_seed

SHOWN_KEYS = 5


@dataclass(frozen=True)
class Rows:
    """Rows of one table at one moment: how each is named, and the packed hashes of its ``columns``.

    Without a primary key or a unique one over NOT NULL columns (``key`` is empty) rows have no name.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]
    found: Sequence[tuple[str, bytes]]

    def hashes_of(self, columns: Sequence[str]) -> list[bytes]:
        """Return each row's packed hashes of ``columns`` only."""
        if tuple(columns) == self.columns:
            return [hashes for _, hashes in self.found]
        places = [self.columns.index(name) * PACKED_BYTES for name in columns]
        return [
            b"".join(hashes[place : place + PACKED_BYTES] for place in places) for _, hashes in self.found
        ]

    def without(self, columns: Collection[str]) -> Rows:
        """Leave ``columns`` out; a key that has one of them names no row any more."""
        kept = tuple(name for name in self.columns if name not in columns)
        if kept == self.columns:
            return self
        key = () if set(self.key) & set(columns) else self.key
        names = (name for name, _ in self.found)
        return Rows(kept, key, list(zip(names, self.hashes_of(kept), strict=True)))


@dataclass(frozen=True)
class RowDifferences:
    """How the rows of one table differ. Keys are written like ``id=7``, several columns like ``a=1, id=7``.

    Attributes:
        keyed: whether rows could be told apart; else a column's number is the least that it can be.
        rows: how many the table had.
        looked_at: how many of those were remembered; the numbers are of them.
        missing: rows that are gone.
        unexpected: rows that there were not.
        changed: column -> rows in which its value is another one, or gone with the column.
        missing_keys: a few of them.
        unexpected_keys: a few of them.
        changed_keys: column -> a few of them.
    """

    keyed: bool
    rows: int
    looked_at: int
    missing: int = 0
    unexpected: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    changed_keys: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the numbers are of the whole table."""
        return self.looked_at >= self.rows


def compare_rows(before: Rows, after: Rows, *, rows: int, shown: int = SHOWN_KEYS) -> RowDifferences:
    """Compare rows with what they were.

    Args:
        before: as remembered.
        after: read now, with those of the columns that are still there.
        rows: how many the table had in all.
        shown: how many keys to name of each kind.
    """
    keyed = bool(before.key) and set(before.key) <= set(after.columns)
    tally = _Tally(shown)
    missing: list[str] = []
    unexpected: list[str] = []
    if keyed:
        missing, unexpected = _compare_by_key(before, after, tally)
    else:
        _compare_by_value(before, after, tally)
    for column in (name for name in before.columns if name not in after.columns):
        null = column_seed(column).to_bytes(PACKED_BYTES, "big")
        for (name, _), value in zip(before.found, before.hashes_of([column]), strict=True):
            if value != null:
                tally.add(column, name)
    return RowDifferences(
        keyed=keyed,
        rows=rows,
        looked_at=len(before.found),
        missing=len(missing) if keyed else max(0, len(before.found) - len(after.found)),
        unexpected=len(unexpected) if keyed else max(0, len(after.found) - len(before.found)),
        changed=dict(tally.rows),
        missing_keys=tuple(missing[:shown]),
        unexpected_keys=tuple(unexpected[:shown]),
        changed_keys={column: tuple(names) for column, names in tally.keys.items()},
    )


class _Tally:
    """Rows and a few names of them, by column."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self.rows: Counter[str] = Counter()
        self.keys: dict[str, list[str]] = {}

    def add(self, column: str, name: str) -> None:
        self.rows[column] += 1
        names = self.keys.setdefault(column, [])
        if name and len(names) < self._shown:
            names.append(name)


def _compare_by_key(before: Rows, after: Rows, tally: _Tally) -> tuple[list[str], list[str]]:
    """Count changed values; returns the names of the rows that only one side has."""
    old, new = before.hashes_of(before.key), after.hashes_of(before.key)
    now = dict(zip(new, after.found, strict=True))
    missing = []
    values = before.hashes_of(after.columns)
    for identity, (name, _), was in zip(old, before.found, values, strict=True):
        row = now.get(identity)
        if row is None:
            missing.append(name)
        elif row[1] != was:
            for column in _differing(after.columns, was, row[1]):
                tally.add(column, name)
    left = Counter(new) - Counter(old)  # a key that is none any more may come several times
    unexpected = []
    for identity, (name, _) in zip(new, after.found, strict=True):
        if left[identity] > 0:
            left[identity] -= 1
            unexpected.append(name)
    return missing, unexpected


def _compare_by_value(before: Rows, after: Rows, tally: _Tally) -> None:
    """Count in each column the values that there are fewer of than before: at least so many rows differ."""
    for column in after.columns:
        gone = Counter(before.hashes_of([column])) - Counter(after.hashes_of([column]))
        if gone:
            tally.rows[column] = gone.total()


def _differing(columns: Sequence[str], one: bytes, other: bytes) -> Iterable[str]:
    for number, column in enumerate(columns):
        place = slice(number * PACKED_BYTES, (number + 1) * PACKED_BYTES)
        if one[place] != other[place]:
            yield column
