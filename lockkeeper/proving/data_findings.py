"""Which rows and values are not there any more: table, column, how many rows, and keys of a few.

No content but that of keys is in a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockkeeper.lint.names import quoted
from lockkeeper.models import DataFingerprint, SchemaFingerprint, TableFingerprint
from lockkeeper.postgres.fingerprint import LARGE_OBJECTS, SHOWN_KEYS, RowDifferences, compare_data
from lockkeeper.proving.models import Finding, FindingKind
from lockkeeper.proving.observation import subject_of

AFTER_DOWNGRADE, AFTER_UPGRADE = "after the downgrade", "after the upgrade"

LookCloser = Callable[[str], RowDifferences | None]
"""Table, or ``large objects`` -> how its rows differ, as far as that can be said."""


def _nothing_remembered(_table: str) -> None:
    return None


def rewritten_columns(
    schemas: tuple[SchemaFingerprint, SchemaFingerprint], data: tuple[DataFingerprint, DataFingerprint]
) -> dict[str, set[str]]:
    """Return table -> columns whose values are written in another way than before, as another type's are.

    Whether such a value is the same as before cannot be told. Where all of them are written as before (an
    integer that becomes a bigger one), the column is not among them.
    """
    (was, now), (before, after) = (one.objects.get("column", {}) for one in schemas), data
    found: dict[str, set[str]] = {}
    for table, old in before.tables.items():
        new = after.tables.get(table)
        for column, digest in old.columns.items():
            name = f"{table}.{quoted(column)}"
            if new and new.columns.get(column, digest) != digest and _type(was, name) != _type(now, name):
                found.setdefault(table, set()).add(column)
    return found


def _type(columns: Mapping[str, Mapping[str, object]], name: str) -> object:
    return columns.get(name, {}).get("type")


def data_findings(
    before: DataFingerprint,
    after: DataFingerprint,
    look_closer: LookCloser = _nothing_remembered,
    *,
    when: str = AFTER_DOWNGRADE,
    left_out: Mapping[str, Collection[str]] | None = None,
) -> list[Finding]:
    """Say which rows and values that were there before are not there after a downgrade.

    Args:
        before: the content before the upgrade.
        after: the content after the downgrade.
        look_closer: asked once for each table that differs, while the database is as ``after`` says.
        when: what ``after`` is after, for the messages.
        left_out: table -> columns of which nothing is said, see ``rewritten_columns``.

    Raises:
        DatabaseError: ``look_closer`` could not read a table.
    """
    pairs = [(name, old, after.tables.get(name)) for name, old in before.tables.items()]
    if before.large_objects and after.large_objects:
        pairs.append((LARGE_OBJECTS, before.large_objects, after.large_objects))
    found: list[Finding] = []
    for name, old, new in pairs:
        if old != new and (new is not None or old.rows):
            silent = (left_out or {}).get(name, ())
            found += _Table(name, old, new, look_closer(name), when, silent).findings()
    return found + _sequence_findings(before, after, when)


def _sequence_findings(before: DataFingerprint, after: DataFingerprint, when: str) -> list[Finding]:
    sequences = [
        before.model_copy(update={"tables": {}, "large_objects": None, "sequences": _common(one, other)})
        for one, other in ((before, after), (after, before))
    ]
    return [
        Finding(kind=FindingKind.DATA_CHANGED, subject=subject_of(text), message=f"{when} {text}")
        for text in compare_data(*sequences, sequences_may_be_ahead=True)
    ]


def _common(one: DataFingerprint, other: DataFingerprint) -> dict[str, str]:
    return {name: value for name, value in one.sequences.items() if name in other.sequences}


@dataclass(frozen=True)
class _Table:
    """One table that differs, or all large objects."""

    name: str
    old: TableFingerprint
    new: TableFingerprint | None
    closer: RowDifferences | None
    when: str
    left_out: Collection[str] = ()

    def findings(self) -> list[Finding]:
        if self.new is None:
            keys = self.closer.missing_keys if self.closer else ()
            message = f"{rows(self.old.rows)} of {self.name} are gone with it{_named(self.old.rows, keys)}"
            return [_lost(self.name, message, self.old.rows, keys)]
        gone = list(self._gone_columns(self.new))
        if self.new.rows != self.old.rows:
            return [*gone, self._other_number(self.new)]
        if self.name == LARGE_OBJECTS:
            message = f"of {self.old.rows} large objects {self._objects()} {self.when}"
            return [self._changed(self.name, message)]
        return [*gone, *self._other_values(self.new)]

    def _gone_columns(self, new: TableFingerprint) -> Iterator[Finding]:
        for column in sorted(self.old.columns.keys() - new.columns.keys()) if self.old.rows else ():
            count, keys = self.old.rows, self._keys(column)
            if self.closer and self.closer.complete:
                count = self.closer.changed.get(column, 0)  # a row without a value there has lost none
                if not count:
                    continue
            subject = f"{self.name}.{quoted(column)}"
            message = f"column {subject} is gone with the values of {rows(count)}{_named(count, keys)}"
            yield _lost(subject, message, count, keys)

    def _other_number(self, new: TableFingerprint) -> Finding:
        before, after = self.old.rows, new.rows
        closer = self.closer or RowDifferences(keyed=False, rows=before, looked_at=0)
        message = f"{self.name} had {rows(before)} and has {after} {self.when}"
        if self.name == LARGE_OBJECTS:
            message = f"there were {before} large objects and are {after} {self.when}"
        if closer.keyed:
            what = [*_missing_and_new(closer), *map(self._differs, sorted(closer.changed))]
            message += f": {_of_those_remembered(closer)}{', '.join(what) or 'none differs'}"
        if after > before:
            return self._more_rows(message, new, closer)
        missing = closer.missing if closer.keyed and closer.complete else before - after
        return _lost(self.name, message, missing, closer.missing_keys)

    def _more_rows(self, message: str, new: TableFingerprint, closer: RowDifferences) -> Finding:
        """Make a finding of the worst that is known: rows that came may hide others that went."""
        if closer.missing:
            return _lost(self.name, message, closer.missing, closer.missing_keys)
        if changed := sorted(column for column in closer.changed if column in new.columns):
            message += "" if closer.keyed else f": {', '.join(map(self._differs, changed))}"
            return self._changed(self.name, message, *changed)
        count = closer.unexpected if closer.keyed and closer.complete else new.rows - self.old.rows
        keys = closer.unexpected_keys
        return Finding(kind=FindingKind.RESIDUE, subject=self.name, message=message, rows=count, keys=keys)

    def _other_values(self, new: TableFingerprint) -> Iterator[Finding]:
        old = self.old
        differing = [
            name
            for name in old.columns
            if name not in self.left_out and new.columns.get(name, "") not in ("", old.columns[name])
        ]
        for column in differing:
            subject = f"{self.name}.{quoted(column)}"
            message = f"column {subject} has other values {self.when}{self._where(column)}"
            yield self._changed(subject, message, column)
        comparable = not self.left_out and old.columns.keys() == new.columns.keys()
        if not differing and comparable and old.digest != new.digest:
            message = f"values were exchanged between the rows of {self.name} ({rows(old.rows)})"
            if self.closer and self.closer.keyed:
                what = ", ".join(map(self._differs, sorted(self.closer.changed)))
                message += f": {_of_those_remembered(self.closer)}{what or 'none differs'}"
            yield self._changed(self.name, message)

    def _where(self, column: str) -> str:
        """Say in how many rows a column differs, and in which."""
        closer = self.closer
        if closer is None:
            return f" (the table has {rows(self.old.rows)})"
        count = closer.changed.get(column, 0)
        of = f"of {rows(closer.rows)}"
        if not closer.complete:
            of = f"of the {rows(closer.looked_at)} that were remembered, of {closer.rows},"
        if not closer.keyed:
            return f": at least {count} {of} differ (without a key it cannot be told which)"
        what = list(_missing_and_new(closer))
        if count or not what:
            what.insert(0, f"{count} {of} differ{_named(count, self._keys(column))}")
        return f": {', '.join(what)}"

    def _objects(self) -> str:
        if self.closer is None:
            return "some are others"
        what = [
            f"{count} have another {column}{_named(count, self._keys(column))}"
            for column, count in sorted(self.closer.changed.items())
        ]
        what += _missing_and_new(self.closer)
        return _of_those_remembered(self.closer) + (", ".join(what) or "some are others")

    def _differs(self, column: str) -> str:
        count = self.closer.changed[column] if self.closer else 0
        least = "" if self.closer and self.closer.keyed else "at least "
        return f"column {quoted(column)} differs in {least}{count}{_named(count, self._keys(column))}"

    def _keys(self, column: str) -> tuple[str, ...]:
        return self.closer.changed_keys.get(column, ()) if self.closer else ()

    def _changed(self, subject: str, message: str, *columns: str) -> Finding:
        """Make a finding of a change in one column, or in any of them."""
        closer = self.closer
        if closer is None:
            return Finding(kind=FindingKind.DATA_CHANGED, subject=subject, message=message)
        names = columns or tuple(closer.changed)
        count = max((closer.changed.get(name, 0) for name in names), default=0) + closer.missing
        keys = dict.fromkeys([*(key for name in names for key in self._keys(name)), *closer.missing_keys])
        return Finding(
            kind=FindingKind.DATA_CHANGED, subject=subject, message=message,
            rows=count, keys=tuple(keys)[:SHOWN_KEYS],
        )  # fmt: skip


def _missing_and_new(closer: RowDifferences) -> Iterator[str]:
    for count, keys, what in (
        (closer.missing, closer.missing_keys, "missing"),
        (closer.unexpected, closer.unexpected_keys, "new"),
    ):
        if count:
            yield f"{count} {'is' if count == 1 else 'are'} {what}{_named(count, keys)}"


def _of_those_remembered(closer: RowDifferences) -> str:
    return "" if closer.complete else f"of the {rows(closer.looked_at)} that were remembered "


def _named(count: int, keys: Sequence[str]) -> str:
    return f" ({'; '.join(keys)}{'; ...' if count > len(keys) else ''})" if keys else ""


def _lost(subject: str, message: str, count: int, keys: Sequence[str]) -> Finding:
    return Finding(kind=FindingKind.DATA_LOST, subject=subject, message=message, rows=count, keys=tuple(keys))


def rows(count: int) -> str:
    """Return e.g. ``1 row``, ``2 rows``."""
    return f"{count} row" + ("" if count == 1 else "s")
