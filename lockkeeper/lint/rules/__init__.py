"""The rules, one module per subject; importing this package registers them all."""

from lockkeeper.lint.rules import (
    columns,
    constraints,
    data,
    indexes,
    objects,
    partitions,
    tables,
    transactions,
)

__all__ = ["columns", "constraints", "data", "indexes", "objects", "partitions", "tables", "transactions"]
