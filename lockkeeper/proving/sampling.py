"""A restored copy cut down to a bounded sample of its rows, every reference in it still met.

Guarantees: of each table about ``rows`` rows are left (all of a smaller one), and those that they refer to,
and those that these refer to, but for foreign keys of single partitions. Everything happens in one
transaction: when anything fails the copy is whole. Large objects stay. Only ever for a copy that is thrown
away: it truncates every table, under ACCESS EXCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.measured import RevisionCost
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all, fetch_value, named_query
from lockkeeper.testdata.catalogue import Table, read_catalogue

_MATERIALIZED_VIEWS = """
SELECT oid::pg_catalog.regclass::text FROM pg_catalog.pg_class
WHERE relkind = 'm' AND relispopulated ORDER BY oid
"""


@dataclass(frozen=True)
class Sample:
    """How many rows each table had, and how many are left."""

    before: dict[str, int]
    after: dict[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether every row was left: no table has more than were asked for."""
        return self.before == self.after

    def factor(self, tables: Collection[str]) -> float:
        """How many times as many rows production has, in that of ``tables`` where it is the most."""
        return max((self.before[t] / self.after[t] for t in tables if self.after.get(t)), default=1.0)

    def scaled(self, cost: RevisionCost | None, duration_s: float) -> tuple[RevisionCost | None, float]:
        """Return what a revision would cost with all rows: times grow with the rows that it has gone over.

        One that has neither rewritten nor read through any table, nor built an index, costs the same. An
        index grows a little faster than its table; the tables' caches and disks are not looked at.
        """
        if cost is None or not (cost.rewritten or cost.scanned or cost.indexes_built or cost.written):
            return cost, duration_s
        tables = [*(hold.table for hold in cost.locks), *(rows.table for rows in cost.written)]
        factor = self.factor({*cost.rewritten, *cost.scanned, *tables})
        locks = tuple(
            hold.model_copy(
                update={"held_s": hold.held_s * factor, "rows": self.before.get(hold.table, hold.rows)}
            )
            for hold in cost.locks
        )
        written = tuple(
            one.model_copy(
                update={"held_s": one.held_s * factor, "rows": round(one.rows * self.factor({one.table}))}
            )
            for one in cost.written
        )
        return cost.model_copy(update={"locks": locks, "written": written}), duration_s * factor


def sample_rows(url: URL, rows: int, run_id: str | None = None) -> Sample:
    """Cut the copy at ``url`` down; needs a superuser there, since triggers and foreign keys must rest.

    Raises:
        DatabaseError: the role may not, or a row could not be put back; the copy is whole.
    """
    with connect(url, "sample", run_id=run_id, autocommit=False) as connection:
        execute(connection, "SET search_path TO pg_catalog, pg_temp")
        execute(connection, "SET session_replication_role TO replica")
        tables = read_catalogue(connection).tables
        kept = {table.name: _Kept(connection, number, table) for number, table in enumerate(tables)}
        before = {name: one.choose(rows) for name, one in kept.items()}
        _follow_references(kept)
        after = {name: one.set_aside() for name, one in kept.items()}
        _replace(connection, kept)
        connection.commit()
        connection.autocommit = True
        for (view,) in fetch_all(connection, _MATERIALIZED_VIEWS):
            execute(connection, sql.SQL("REFRESH MATERIALIZED VIEW ") + sql.SQL(view))
        execute(connection, "ANALYZE")
    return Sample(before, after)


class _Kept:
    """The rows of one table that stay: first their places, then they themselves, in temporary tables."""

    def __init__(self, connection: Connection, number: int, table: Table) -> None:
        self._connection = connection
        self.table = table
        self.places = sql.SQL(f"pg_temp.places_{number}")
        self.rows = sql.SQL(f"pg_temp.rows_{number}")
        kind = fetch_value(
            connection,
            "SELECT relkind FROM pg_catalog.pg_class WHERE oid = %s::pg_catalog.regclass",
            (table.name,),
        )
        self.source = sql.SQL(table.name if kind == "p" else f"ONLY {table.name}")

    def choose(self, rows: int) -> int:
        """Choose rows at random, always the same; returns how many there are."""
        count = int(fetch_value(self._connection, sql.SQL("SELECT count(*) FROM ") + self.source))
        share = 100.0 if count <= rows else min(100.0, 120.0 * rows / count + 1)
        statement = sql.SQL(
            "CREATE TEMP TABLE {} AS SELECT tableoid AS source, ctid AS place FROM {} "
            "TABLESAMPLE BERNOULLI ({}) REPEATABLE (1) LIMIT {}"
        ).format(self.places, self.source, sql.Literal(share), sql.Literal(rows))
        execute(self._connection, statement)
        return count

    def set_aside(self) -> int:
        """Copy the chosen rows; returns how many they are."""
        statement = sql.SQL(
            "CREATE TEMP TABLE {} AS SELECT t.* FROM {} AS t JOIN {} AS k "
            "ON t.tableoid = k.source AND t.ctid = k.place"
        ).format(self.rows, self.source, self.places)
        execute(self._connection, statement)
        return int(fetch_value(self._connection, sql.SQL("SELECT count(*) FROM ") + self.rows))

    def put_back(self, stored: Sequence[str]) -> None:
        """Insert the rows that were set aside, identity values included; ``stored`` are not computed."""
        names = sql.SQL(", ").join(map(sql.Identifier, stored))
        execute(
            self._connection,
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                sql.SQL(self.table.name), names, names, self.rows
            ),
        )

    def take_parents(self, key_columns: Sequence[str], parent: _Kept, parent_columns: Sequence[str]) -> int:
        """Choose the rows of ``parent`` that chosen rows of this table refer to; returns how many are new."""
        query = named_query("missing_parents", "lockkeeper.proving")
        statement = sql.SQL(query).format(
            places=parent.places,
            parent=parent.source,
            parent_columns=_columns("p", parent_columns),
            child_columns=_columns("c", key_columns),
            child=self.source,
            child_places=self.places,
        )
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.rowcount)


def _columns(alias: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _follow_references(kept: dict[str, _Kept]) -> None:
    """Choose parents, and parents of parents, until every chosen row has its own."""
    grown = set(kept)
    while grown:
        children, grown = grown, set()
        for name in sorted(children):
            child = kept[name]
            for key in child.table.foreign_keys:
                parent = kept.get(key.parent)
                if parent is not None and child.take_parents(key.columns, parent, key.parent_columns):
                    grown.add(key.parent)


def _replace(connection: Connection, kept: dict[str, _Kept]) -> None:
    if not kept:
        return
    execute(connection, sql.SQL("TRUNCATE ") + sql.SQL(", ").join(one.source for one in kept.values()))
    computed = {
        (str(table), str(column))
        for table, column in fetch_all(connection, named_query("computed_columns", "lockkeeper.proving"))
    }
    for name, one in kept.items():
        stored = [c.name for c in one.table.columns if (name, c.name) not in computed]
        if stored:
            one.put_back(stored)
