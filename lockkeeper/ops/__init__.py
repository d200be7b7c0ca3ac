"""Online operations for migration scripts: the schema changes, the application goes on.

    import lockkeeper.ops  # registers op.create_index_online(...) and the others

No lock that stops the application is waited for longer than 50 ms at a time, none is held while rows are
read, every wait is bounded, and every operation can be run again wherever it was stopped. They run inside the
user's own Alembic: PostgreSQL 14 and later, any driver, nothing imported but the standard library, Alembic
and SQLAlchemy. Each of them commits, so they come first in a revision; docs/online-operations.md has the
rules.

The operations are functions of this module too, with types: ``lockkeeper.ops.create_index_online(...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from alembic import op
from alembic.operations import Operations

from lockkeeper.online.errors import (
    DefinitionConflictError,
    InvalidDataError,
    LockWaitError,
    NotOnlineError,
    OnlineOperationError,
    UncommittedWorkError,
)
from lockkeeper.online.session import LockPolicy
from lockkeeper.ops import operations as _online
from lockkeeper.ops import renames as _renames
from lockkeeper.ops.directives import online_directives

__all__ = [
    "DefinitionConflictError",
    "InvalidDataError",
    "LockPolicy",
    "LockWaitError",
    "NotOnlineError",
    "OnlineOperationError",
    "UncommittedWorkError",
    "abort_rename_online",
    "add_check_online",
    "add_column_online",
    "add_foreign_key_online",
    "add_unique_online",
    "backfill_online",
    "contract_rename_online",
    "create_index_online",
    "drop_column_online",
    "drop_constraint_online",
    "drop_index_online",
    "drop_not_null_online",
    "expand_rename_online",
    "online_directives",
    "set_not_null_online",
    "undo_contract_online",
]

_P = ParamSpec("_P")


def _plain(method: Callable[Concatenate[Operations, _P], None]) -> Callable[_P, None]:
    """Return the operation as a function that works on the migration that is running."""

    @wraps(method)
    def function(*args: _P.args, **kwargs: _P.kwargs) -> None:
        # alembic.op is a module that stands in for the running migration's Operations.
        return method(cast(Operations, op), *args, **kwargs)

    return function


create_index_online = _plain(_online.CreateIndexOnlineOp.create_index_online)
drop_index_online = _plain(_online.DropIndexOnlineOp.drop_index_online)
add_foreign_key_online = _plain(_online.AddForeignKeyOnlineOp.add_foreign_key_online)
add_check_online = _plain(_online.AddCheckOnlineOp.add_check_online)
add_unique_online = _plain(_online.AddUniqueOnlineOp.add_unique_online)
drop_constraint_online = _plain(_online.DropConstraintOnlineOp.drop_constraint_online)
add_column_online = _plain(_online.AddColumnOnlineOp.add_column_online)
drop_column_online = _plain(_online.DropColumnOnlineOp.drop_column_online)
set_not_null_online = _plain(_online.SetNotNullOnlineOp.set_not_null_online)
drop_not_null_online = _plain(_online.DropNotNullOnlineOp.drop_not_null_online)
backfill_online = _plain(_online.BackfillOnlineOp.backfill_online)
expand_rename_online = _plain(_renames.ExpandRenameOnlineOp.expand_rename_online)
contract_rename_online = _plain(_renames.ContractRenameOnlineOp.contract_rename_online)
undo_contract_online = _plain(_renames.UndoContractOnlineOp.undo_contract_online)
abort_rename_online = _plain(_renames.AbortRenameOnlineOp.abort_rename_online)
