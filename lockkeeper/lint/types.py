"""Reads types by PostgreSQL's own grammar; ``lockkeeper.online.types`` knows which changes keep the rows."""

from __future__ import annotations

from lockkeeper.lint.parsing import Node, parse_type
from lockkeeper.online.types import TypeFacts

SERIAL_TYPES = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})


def of_type_name(node: Node) -> TypeFacts:
    """Read a ``TypeName``."""
    parts = [part.string.sval for part in node.names]
    schema = parts[-2] if len(parts) > 1 and parts[-2] != "pg_catalog" else ""
    modifiers = tuple(each.a_const.ival.ival for each in node.typmods if each.WhichOneof("node") == "a_const")
    return TypeFacts(parts[-1] if parts else "", modifiers, bool(node.array_bounds), schema)


def of_text(text: str) -> TypeFacts | None:
    """Read a type as ``format_type`` writes it; None when it is not one."""
    node = parse_type(text)
    return None if node is None else of_type_name(node)
