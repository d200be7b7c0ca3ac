"""Rows for every table of a scratch database, made up from its catalogue.

Guarantees: the same rows for the same schema and seed; every row was taken by the database itself, so that
it is one which the schema permits; a table that gets none is named, with the reason. Refuses to guess what
it cannot know: a table's rows that no attempt satisfies are left out and told. Only for scratch databases:
it writes, and holds ROW EXCLUSIVE on what it fills until its one transaction ends.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_value
from lockkeeper.testdata.catalogue import Catalogue, Column, ForeignKey, Table, read_catalogue
from lockkeeper.testdata.hints import read_hint
from lockkeeper.testdata.order import in_order
from lockkeeper.testdata.values import UnknownTypeError, Values

ATTEMPTS = 32
_HALF_NULL, _ALL_NULL = 16, 24
"""From these attempts on half of what may be NULL is, and all of it: one column may be what is refused."""
PARENTS = 50
_STRIDE = 97  # a key that is taken is another one at the next attempt
_NOT_THE_ROWS_FAULT = ("08", "40", "53", "57", "58", "XX")


@dataclass
class Filled:
    """What was filled: rows by table, and why a table got none, or fewer."""

    rows: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Filler:
    """Fills one scratch database again and again while its schema changes.

    A table is filled when it is new, and once more whenever its columns have changed: so the columns of
    each revision have values of their own.

    Args:
        url: the scratch database.
        rows: how many for each table and each form that it takes.
        seed: other seeds give other rows.
        without: tables to leave alone, as the catalogue quotes them.
    """

    def __init__(self, url: URL, rows: int, seed: int, without: Collection[str] = ()) -> None:
        self._url = url
        self._rows = rows
        self._seed = seed
        self._without = without
        self._forms: dict[str, tuple[Column, ...]] = {}

    def fill(self) -> Filled:
        """Fill what is new or has changed, in one transaction; can run any number of times.

        Raises:
            DatabaseError: the database cannot be used; a row that it refuses is no error.
        """
        filled = Filled()
        with connect(self._url, "generate", autocommit=False, statement_timeout_ms=60_000) as connection:
            catalogue = read_catalogue(connection, self._without)
            due = [
                (t, later) for t, later in in_order(catalogue.tables) if self._forms.get(t.name) != t.columns
            ]
            for table, later in due:
                _Rows(connection, catalogue, table, later, self._seed).insert(self._rows, filled)
            for table, later in due:
                for key in later:
                    _link(connection, table, key, random.Random(f"{self._seed}:{table.name}"), filled)
            self._close(connection, due, filled)
        return filled

    def _close(
        self,
        connection: Connection,
        due: list[tuple[Table, tuple[ForeignKey, ...]]],
        filled: Filled,
    ) -> None:
        try:
            execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
            with_rows = {table.name: table.columns for table, _ in due if filled.rows.get(table.name)}
            connection.commit()
        except DatabaseError as error:
            connection.rollback()
            filled.missing.update({table.name: _first_line(error) for table, _ in due})
            filled.rows.clear()
            return
        self._forms.update(with_rows)


class _Rows:
    """Makes the rows of one table."""

    def __init__(
        self,
        connection: Connection,
        catalogue: Catalogue,
        table: Table,
        later: tuple[ForeignKey, ...],
        seed: int,
    ) -> None:
        self._connection = connection
        self._types = catalogue.types
        self._table = table
        self._later = later
        self._seed = seed
        self._parents = {key: _parents(connection, key) for key in table.foreign_keys if key not in later}
        self._first = int(fetch_value(connection, sql.SQL("SELECT count(*) FROM ") + sql.SQL(table.name)))

    def insert(self, count: int, filled: Filled) -> None:
        """Insert ``count`` rows, or say why it is fewer."""
        name = self._table.name
        if any(key.deferrable for key in self._later):
            execute(self._connection, "SET CONSTRAINTS ALL DEFERRED")
        for number in range(count):
            why = self._insert_one(number, filled)
            if why is not None:
                filled.missing[name] = why
                return
            filled.rows[name] = filled.rows.get(name, 0) + 1

    def _insert_one(self, number: int, filled: Filled) -> str | None:
        """Try until the database takes one; returns why it never did, or None."""
        why = ""
        for attempt in range(ATTEMPTS):
            chance = random.Random(f"{self._seed}:{self._table.name}:{self._first + number}:{attempt}")
            try:
                values = self._values(chance, number, attempt)
            except (_NoParentError, UnknownTypeError) as error:
                return str(error)
            refused = _try(self._connection, self._statement(values))
            if refused is None:
                return None
            why = f"{ATTEMPTS} rows were refused after {number} were taken, the last because: {refused}"
            filled.rejected[self._table.name] = filled.rejected.get(self._table.name, 0) + 1
        return why

    def _values(self, chance: random.Random, number: int, attempt: int) -> dict[str, object]:
        """One row: ordinary, with NULLs, odd, ordinary; later attempts ordinary, the last ones with NULLs."""
        kind = 1 if attempt >= _ALL_NULL else number % 4 if attempt < 2 else 0
        place = self._first + number + attempt * _STRIDE
        chosen = self._references(chance, place, kind == 1)
        maker = Values(self._types, chance, place, attempt, odd=kind == 2)
        where = (chance.choice(self._table.partitions),) if self._table.partitions else ()
        for column in self._table.columns:
            if column.name in chosen or column.own_value:
                continue
            spared = kind == 1 or (attempt >= _HALF_NULL and chance.random() < 0.5)
            if column.nullable and (spared or self._waits(column)):
                chosen[column.name] = None
                continue
            hint = read_hint(column.name, where + self._table.conditions)
            try:
                chosen[column.name] = maker.make(column.type, column.modifier, hint, column.in_a_key)
            except UnknownTypeError:
                if not column.nullable:
                    raise
                chosen[column.name] = None
        return chosen

    def _waits(self, column: Column) -> bool:
        return any(column.name in key.columns for key in self._later)

    def _references(self, chance: random.Random, number: int, without: bool) -> dict[str, object]:
        """Choose a parent for every foreign key that does not wait; keys may share columns."""
        chosen: dict[str, object] = {}
        for key, parents in self._parents.items():
            if self._table.nullable(key) and (without or not parents):
                empty = [c.name for c in self._table.columns if c.name in key.columns and c.nullable]
                chosen.update({name: None for name in empty if name not in chosen})
                continue
            fits = [one for one in parents if _agrees(chosen, key, one)]
            if not fits:
                raise _NoParentError(f"there is no row in {key.parent} that it could belong to")
            chosen.update(zip(key.columns, fits[(number + chance.randrange(2)) % len(fits)], strict=True))
        return chosen

    def _statement(self, values: dict[str, object]) -> sql.Composed:
        into = sql.SQL("INSERT INTO ") + sql.SQL(self._table.name)
        if not values:
            return into + sql.SQL(" DEFAULT VALUES")
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        return into + sql.SQL(" ({}) VALUES ({})").format(
            names, sql.SQL(", ").join(map(sql.Literal, values.values()))
        )


class _NoParentError(Exception):
    """A row must refer to another, and there is none."""


def _parents(connection: Connection, key: ForeignKey) -> list[tuple[str, ...]]:
    """Return keys of the parent's rows, as text; always in the same order."""
    columns = [sql.Identifier(name) + sql.SQL("::text") for name in key.parent_columns]
    query = sql.SQL("SELECT DISTINCT {} FROM ").format(sql.SQL(", ").join(columns)) + sql.SQL(key.parent)
    there = sql.SQL(" AND ").join(
        sql.Identifier(name) + sql.SQL(" IS NOT NULL") for name in key.parent_columns
    )
    order = sql.SQL(", ").join(sql.SQL(str(number)) for number in range(1, len(columns) + 1))
    limited = sql.SQL(" WHERE {} ORDER BY {} DESC LIMIT {}").format(there, order, sql.Literal(PARENTS))
    return fetch_all(connection, query + limited)


def _agrees(chosen: dict[str, object], key: ForeignKey, parent: tuple[str, ...]) -> bool:
    return all(chosen.get(name, value) == value for name, value in zip(key.columns, parent, strict=True))


def _link(
    connection: Connection, table: Table, key: ForeignKey, chance: random.Random, filled: Filled
) -> None:
    """Give rows whose key had to wait a parent; what the database refuses stays NULL and is counted."""
    parents = _parents(connection, key)
    name = sql.SQL(table.name)
    rows = fetch_all(
        connection, sql.SQL("SELECT tableoid, ctid::text FROM ") + name + sql.SQL(" ORDER BY 1, ctid")
    )
    may_stay = table.nullable(key)
    for number, (oid, place) in enumerate(rows if parents else ()):
        if may_stay and number % 4 == 1:
            continue
        pairs = zip(key.columns, chance.choice(parents), strict=True)
        changes = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value)) for column, value in pairs
        )
        where = sql.SQL(" WHERE tableoid = {} AND ctid = {}::tid").format(
            sql.Literal(oid), sql.Literal(place)
        )
        if _try(connection, sql.SQL("UPDATE ") + name + sql.SQL(" SET ") + changes + where) is not None:
            filled.rejected[table.name] = filled.rejected.get(table.name, 0) + 1


def _try(connection: Connection, statement: sql.Composed) -> str | None:
    """Run one statement; returns why the database refuses the row, or None when it took it."""
    execute(connection, "SAVEPOINT one_row")
    try:
        execute(connection, statement)
    except DatabaseError as error:
        if error.sqlstate is None or error.sqlstate.startswith(_NOT_THE_ROWS_FAULT):
            raise
        execute(connection, "ROLLBACK TO SAVEPOINT one_row")
        return _first_line(error)
    execute(connection, "RELEASE SAVEPOINT one_row")
    return None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
