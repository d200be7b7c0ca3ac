"""SQL text: quoted names, literals, and what SQLAlchemy compiles, with no driver's placeholders in it."""

from __future__ import annotations

import hashlib
import re
from copy import copy
from typing import Any

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, Column
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import AddConstraint, Constraint, CreateIndex, Index
from sqlalchemy.types import NullType

from lockkeeper.online.errors import OnlineOperationError

NAME_BYTES = 63
# "named" parameters, so that a percent sign stays one.
DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
_LOOKS_LIKE_BIND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
_CONSTANT = re.compile(
    r"\(*\s*(?:'(?:[^']|'')*'|[-+]?\d+(?:\.\d+)?|true|false|null|now\(\)|current_timestamp|current_date)"
    r"\s*\)*(?:\s*::\s*[\w .\[\]\"(),]+)?",
    re.IGNORECASE,
)


def quote(name: str) -> str:
    """Return a name as SQL writes it, quoted where it must be."""
    return DIALECT.identifier_preparer.quote(str(name))


def quote_table(name: str, schema: str | None) -> str:
    """Return a table's (index's) name with its schema, if one is given."""
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def literal(value: str) -> str:
    """Return a string as SQL writes it, whatever it holds and however the session is set."""
    doubled = value.replace("'", "''")
    return "E'{}'".format(doubled.replace("\\", "\\\\")) if "\\" in value else f"'{doubled}'"


def expression(value: str | ClauseElement) -> str:
    """Return SQL text as it stands, or a SQLAlchemy expression with its values written out."""
    if isinstance(value, str):
        return value
    return str(value.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


def type_sql(type_: Any) -> str:
    """Return a SQLAlchemy type as SQL.

    Raises:
        sqlalchemy.exc.CompileError: it has no form in PostgreSQL.
    """
    return str((type_() if isinstance(type_, type) else type_).compile(dialect=DIALECT))


def without_binds(sql: Any) -> Any:
    """Return a condition in which SQLAlchemy sees no parameter: ``'a:b'`` would become ``'aNULL'``."""
    return _LOOKS_LIKE_BIND.sub(r"\\:\1", sql) if isinstance(sql, str) else sql


def derived_name(*parts: str) -> str:
    """Join names; cut to what PostgreSQL keeps (63 bytes), told apart by a hash of the whole."""
    name = "_".join(parts)
    if len(name.encode()) <= NAME_BYTES:
        return name
    suffix = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def create_index(
    operation: ops.CreateIndexOp, context: MigrationContext, *, concurrently: bool, only: bool = False
) -> str:
    """Return the CREATE INDEX of an operation; ``only`` leaves the partitions out."""
    index = operation.to_index(context)
    index.dialect_options["postgresql"]["concurrently"] = concurrently
    _know_included(index)
    sql = _one_line(CreateIndex(index).compile(dialect=DIALECT))
    if only:
        head, on, tail = sql.partition(f"INDEX {quote(str(index.name))} ON ")
        if not on:
            raise OnlineOperationError(f"cannot tell the table's place in {sql!r}")
        sql = f"{head}{on}ONLY {tail}"
    return sql


def add_constraint(constraint: Constraint) -> str:
    """Return ALTER TABLE ... ADD CONSTRAINT."""
    _know_included(constraint)
    return _one_line(AddConstraint(constraint).compile(dialect=DIALECT))


def _know_included(thing: Index | Constraint) -> None:
    """Give the stand-in table the columns of INCLUDE, which SQLAlchemy looks up (as Alembic's own does)."""
    table = thing.table
    if table is not None:
        for name in thing.dialect_kwargs.get("postgresql_include") or ():
            if isinstance(name, str) and name not in table.c:
                table.append_column(Column(name, NullType))


def _dialect_of(context: MigrationContext) -> PGDialect:
    """Return our dialect with what Alembic's knows of the server (which decides on STORED or VIRTUAL)."""
    dialect = copy(DIALECT)
    for name, value in vars(context.dialect).items():
        if "supports_" in name or name == "server_version_info":
            setattr(dialect, name, value)
    return dialect


def column_specification(
    column: Column[Any], context: MigrationContext, *, default: bool, not_null: bool
) -> str:
    """Return what follows ADD COLUMN, with or without the column's default and NOT NULL."""
    dialect = _dialect_of(context)
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]  # DDL needs no statement
    bare = column._copy()
    bare.nullable = not not_null
    if not default:
        bare.server_default = None
    return _one_line(compiler.get_column_specification(bare))  # type: ignore[no-untyped-call]


def column_default(column: Column[Any]) -> str | None:
    """Return the column's DEFAULT as SQL, or None."""
    compiler = DIALECT.ddl_compiler(DIALECT, None)  # type: ignore[arg-type]
    default: str | None = compiler.get_column_default_string(column)
    return default


def is_plainly_constant(default: str) -> bool:
    """Whether the text alone tells that a default is the same for all rows. Only for offline use."""
    return bool(_CONSTANT.fullmatch(default.strip()))


def _one_line(compiled: Any) -> str:
    return str(compiled).strip()
