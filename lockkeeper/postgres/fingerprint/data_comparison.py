"""Differences between two data fingerprints, as sentences that name tables, columns and numbers of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lockkeeper.models import DataFingerprint, TableFingerprint

_MATERIALIZED_VIEW = "materialized view"


def compare_data(
    before: DataFingerprint,
    after: DataFingerprint,
    *,
    ignore_tables: Collection[str] = (),
    ignore_materialized_views: bool = False,
    sequences_may_be_ahead: bool = False,
) -> list[str]:
    """Name every difference; an empty list means equal content.

    Columns that only one side has are named, and the others compared by themselves.

    Args:
        before: what it must be.
        after: what it is.
        ignore_tables: tables and sequences (qualified and quoted names) that do not count.
        ignore_materialized_views: their content does not count; a restore refreshes what may be stale.
        sequences_may_be_ahead: a sequence further on is no difference: sequences are not part of a snapshot,
            so a dump of a database in use has later values than the fingerprint taken before it.
    """
    found: list[str] = []
    for name in sorted(before.tables.keys() | after.tables.keys()):
        old, new = before.tables.get(name), after.tables.get(name)
        kind = (old or new or TableFingerprint(table=name, rows=0, digest="")).kind
        if name in ignore_tables or (ignore_materialized_views and kind == _MATERIALIZED_VIEW):
            continue
        found += _compare(name, kind, old, new)
    if before.large_objects and after.large_objects:
        found += _compare_tables("large objects", before.large_objects, after.large_objects)
    for name in sorted(before.sequences.keys() | after.sequences.keys()):
        if name not in ignore_tables:
            found += _compare_sequences(
                name, before.sequences.get(name), after.sequences.get(name), sequences_may_be_ahead
            )
    return found


def _compare(
    name: str, kind: str, old: TableFingerprint | None, new: TableFingerprint | None
) -> Iterator[str]:
    if old is None or new is None:
        side = old or new
        rows = _rows(side.rows) if side else ""
        yield f"{kind} {name} ({rows}) is missing" if new is None else f"unexpected {kind} {name} ({rows})"
    else:
        yield from _compare_tables(f"{kind} {name}", old, new)


def _compare_tables(label: str, old: TableFingerprint, new: TableFingerprint) -> Iterator[str]:
    both_known = bool(old.columns and new.columns)
    gone = sorted(old.columns.keys() - new.columns.keys()) if both_known else []
    added = sorted(new.columns.keys() - old.columns.keys()) if both_known else []
    if gone:
        yield f"{label}: {_columns(gone)} missing, with the content of {_rows(old.rows)}"
    if added:
        yield f"{label}: unexpected {_columns(added)}"
    differing = [
        name for name in old.columns if name in new.columns and old.columns[name] != new.columns[name]
    ]
    if old.rows != new.rows:
        yield f"{label}: {_rows(old.rows)} before, {_rows(new.rows)} after"
        # With other rows nearly every column differs: that tells nothing more.
    elif differing:
        yield f"{label}: content of {_columns(differing)} differs ({_rows(old.rows)} on both sides)"
    elif old.digest != new.digest and not (gone or added):
        why = "every column by itself holds the same values: they were exchanged between rows"
        yield f"{label}: rows differ ({_rows(old.rows)} on both sides)" + (f"; {why}" if both_known else "")


def _compare_sequences(name: str, old: str | None, new: str | None, may_be_ahead: bool) -> Iterator[str]:
    if old == new:
        return
    if old is None or new is None:
        yield f"sequence {name} is missing" if new is None else f"unexpected sequence {name}"
        return
    (was, was_called), (now, now_called) = old.split(","), new.split(",")
    behind = (int(now), now_called == "true") < (int(was), was_called == "true")
    if behind or not may_be_ahead:
        shown = f"{now} ({_called(now_called)}), expected {was} ({_called(was_called)})"
        yield f"sequence {name} is {'behind' if behind else 'ahead'}: at {shown}"


def _called(value: str) -> str:
    return "used" if value == "true" else "not used yet"


def _rows(count: int) -> str:
    return f"{count} row" + ("" if count == 1 else "s")


def _columns(names: list[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(names)
