"""Carries sequences forward to a restored copy: a number that was handed out is never handed out again."""

from __future__ import annotations

from typing import NamedTuple

from psycopg2 import sql

from lockkeeper.postgres.connection import Connection, execute, fetch_all, named_query

_BATCH = 200


class SequenceState(NamedTuple):
    """Where a sequence stands."""

    last_value: int
    is_called: bool
    increment: int
    cycles: bool


def read_sequences(connection: Connection) -> dict[str, SequenceState]:
    """Return every sequence of the connection's database by its qualified name."""
    rows = fetch_all(connection, named_query("sequences", "lockkeeper.recovery"), ())
    found = {}
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        selects = [
            sql.SQL("SELECT {}, last_value, is_called FROM {}").format(sql.Literal(name), sql.SQL(name))
            for name, _, _ in batch
        ]
        values = {
            name: (last, called)
            for name, last, called in fetch_all(connection, sql.SQL(" UNION ALL ").join(selects))
        }
        for name, increment, cycles in batch:
            found[name] = SequenceState(*values[name], increment, cycles)
    return found


def is_ahead(live: SequenceState, copy: SequenceState) -> bool:
    """Whether ``live`` has handed out numbers that ``copy`` still would."""
    if (live.last_value, live.is_called) == (copy.last_value, copy.is_called):
        return False
    if live.cycles:
        return True  # it may have begun anew: the present value is the best that can be known
    direction = 1 if copy.increment > 0 else -1
    return (live.last_value * direction, live.is_called) > (copy.last_value * direction, copy.is_called)


def carry_sequences(live: Connection, copy: Connection) -> list[str]:
    """Advance the copy's sequences to where the live ones stand; returns a warning for each moved one."""
    here, there = read_sequences(live), read_sequences(copy)
    moved = [name for name in here.keys() & there.keys() if is_ahead(here[name], there[name])]
    warnings = []
    for name in sorted(moved):
        last, called = here[name].last_value, here[name].is_called
        execute(copy, "SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)", (name, last, called))
        warnings.append(
            f"sequence {name} had advanced to {last} since the backup ({there[name].last_value} there): "
            f"it goes on from {last}"
        )
    return warnings
