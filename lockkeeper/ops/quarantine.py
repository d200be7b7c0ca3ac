"""What autogenerate finds of a change that is not over, and what is none of a new revision's business.

Until a changed column's quarantine is over, the old column is there under another name, with its indexes and
constraints; those of the new one wait under other names for theirs. The change itself puts all that right.
What the models want no longer is dropped under both names, so that the revision does its work before the end
of the quarantine and after it; its downgrade makes it under the models' name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.operations import MigrateOperation, ops
from sqlalchemy import MetaData

from lockkeeper.online.ddl import derived_name
from lockkeeper.rename.change import CARRIED, HIDDEN

Table = tuple[str | None, str]
_Named = tuple[Table | None, str]
_ADDING = (ops.CreateIndexOp, ops.AddConstraintOp)
_ON_COLUMNS = (
    ops.CreateIndexOp, ops.DropIndexOp, ops.CreateUniqueConstraintOp, ops.CreateForeignKeyOp,
    ops.DropConstraintOp,
)  # fmt: skip


def table_of(operation: MigrateOperation) -> Table | None:
    """Return schema and name of the table that an operation is about, if it is about one."""
    if isinstance(operation, ops.CreateForeignKeyOp):
        return operation.kw.get("source_schema"), operation.source_table
    name = getattr(operation, "table_name", None)
    return (getattr(operation, "schema", None), name) if name else None


def without_quarantine(
    operations: Sequence[MigrateOperation], models: Iterable[MetaData] = ()
) -> list[MigrateOperation]:
    """Return the operations that are not about a column in quarantine, or what was carried over from it."""
    known = _names_at_hand(operations, models)
    waiting, unwanted = _carried(operations, known)
    kept = []
    for each in operations:
        named = table_of(each), _name(each)
        if named in unwanted and not isinstance(each, _ADDING):
            kept.append(each)
        elif named not in waiting and not _is_hidden(each, known[table_of(each)]):
            kept.append(_under(unwanted[named], each) if named in unwanted else each)
    return kept


def _names_at_hand(
    operations: Iterable[MigrateOperation], models: Iterable[MetaData]
) -> dict[Table | None, set[str]]:
    """Return, by table, what the names of hidden things may have been made of."""
    names: dict[Table | None, set[str]] = defaultdict(set)
    for each in operations:
        names[table_of(each)] |= {_name(each), *_columns(each)} - {""}
    for table in (table for metadata in models for table in metadata.tables.values()):
        things: Iterable[Any] = (*table.columns, *table.indexes, *table.constraints)
        names[(table.schema, table.name)] |= {str(one.name) for one in things if isinstance(one.name, str)}
    return names


def _carried(
    operations: Iterable[MigrateOperation], known: dict[Table | None, set[str]]
) -> tuple[set[_Named], dict[_Named, str]]:
    """Return what waits for its name, and what is wanted no longer under either, with the models' name."""
    adding: dict[_Named, set[bool]] = defaultdict(set)
    for each in operations:
        if _name(each):
            adding[(table_of(each), _name(each))].add(isinstance(each, _ADDING))
    waiting: set[_Named] = set()
    unwanted: dict[_Named, str] = {}
    for (table, name), ways in list(adding.items()):
        base = _base(name, known[table])
        if base is None:
            continue
        if adding.get((table, base)) == ways:
            unwanted |= {(table, name): base, (table, base): base}
        else:
            waiting |= {(table, name), (table, base)}
    return waiting, unwanted


def _base(name: str, known: Iterable[str]) -> str | None:
    """Return the models' name of something carried; None of what was not."""
    if name.endswith(f"_{CARRIED}"):
        return name.removesuffix(f"_{CARRIED}")
    return next((each for each in known if derived_name(each, CARRIED) == name), None)


def _is_hidden(operation: MigrateOperation, known: Iterable[str]) -> bool:
    marks = {f"_{HIDDEN}", f"_{CARRIED}"}
    marks |= {derived_name(each, kind) for each in known for kind in (HIDDEN, CARRIED)}
    return any(mark in text for text in _columns(operation) for mark in marks)


def _name(operation: MigrateOperation) -> str:
    name = getattr(operation, "index_name", None) or getattr(operation, "constraint_name", None)
    return str(name or "")


def _under(name: str, operation: MigrateOperation) -> MigrateOperation:
    which = "index_name" if isinstance(operation, ops.CreateIndexOp) else "constraint_name"
    setattr(operation, which, name)
    return operation


def _columns(operation: MigrateOperation) -> list[str]:
    """Return the columns as the operation names them; of an index also expressions and its predicate."""
    if isinstance(operation, ops.DropColumnOp):
        return [operation.column_name]
    if isinstance(operation, ops.AddColumnOp):
        return [operation.column.name]
    if isinstance(operation, ops.DropConstraintOp) and operation._reverse is None:
        return []  # written by another directive, which says no columns
    if isinstance(operation, _ON_COLUMNS):
        changed: Any = operation.to_diff_tuple()[1]
        options = changed.dialect_kwargs.values()
        return [str(column.name) for column in changed.columns] + [str(each) for each in options]
    return []
