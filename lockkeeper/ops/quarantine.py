"""What autogenerate finds of a change that is not over, and what is none of a new revision's business.

Until a changed column's quarantine is over, the old column is there under another name, with its indexes and
constraints; those of the new one wait under other names for theirs. The change itself puts all that right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alembic.operations import MigrateOperation, ops

from lockkeeper.rename.change import CARRIED, HIDDEN

_ON_COLUMNS = (
    ops.CreateIndexOp, ops.DropIndexOp, ops.CreateUniqueConstraintOp, ops.CreateForeignKeyOp,
    ops.DropConstraintOp,
)  # fmt: skip


def without_quarantine(operations: Sequence[MigrateOperation]) -> list[MigrateOperation]:
    """Return the operations that are not about a column in quarantine, or what was carried over from it."""
    names = {_name(each) for each in operations}
    carried = {name for name in names if name.endswith(f"_{CARRIED}")}
    waiting = carried | {name.removesuffix(f"_{CARRIED}") for name in carried}
    return [each for each in operations if _name(each) not in waiting and not _is_hidden(_columns(each))]


def _is_hidden(columns: Iterable[str]) -> bool:
    return any(name.endswith(f"_{HIDDEN}") for name in columns)


def _name(operation: MigrateOperation) -> str:
    name = getattr(operation, "index_name", None) or getattr(operation, "constraint_name", None)
    return str(name or "")


def _columns(operation: MigrateOperation) -> list[str]:
    if isinstance(operation, ops.DropColumnOp):
        return [operation.column_name]
    if isinstance(operation, ops.AddColumnOp):
        return [operation.column.name]
    if isinstance(operation, _ON_COLUMNS):
        changed: Any = operation.to_diff_tuple()[1]
        return [str(column.name) for column in changed.columns]
    return []
