"""Which changes of a column's type leave the rows alone.

Source: PostgreSQL manual, ALTER TABLE, Notes ("an unconstrained domain", "binary coercible"), and the
transform functions of varchar, numeric, varbit and the date types, which recognise a wider length.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockkeeper.lint.parsing import Node, parse_type

SERIAL_TYPES = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})
# Types whose stored form is the other's: (from, to), without length.
_COERCIBLE = frozenset({
    ("varchar", "text"), ("text", "varchar"), ("cidr", "inet"), ("xml", "text"), ("xml", "varchar"),
    ("citext", "text"), ("citext", "varchar"), ("int4", "oid"), ("bit", "varbit"),
})  # fmt: skip
_PRECISION = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_LENGTH = frozenset({"varchar", "varbit"})
_UNLIMITED_PRECISION = 6


@dataclass(frozen=True)
class TypeFacts:
    """A type's own name, its modifiers (length; precision and scale) and whether it is an array."""

    name: str
    modifiers: tuple[int, ...] = ()
    array: bool = False
    schema: str = ""


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


def keeps_rows(old: TypeFacts, new: TypeFacts) -> bool:
    """Whether ALTER COLUMN TYPE neither rewrites nor reads the table: True only when that is certain."""
    if old == new:
        return True
    if old.schema or new.schema or old.array != new.array:
        return False
    if old.name == new.name:
        return _wider(old, new)
    if old.name == "bit" and new.name == "varbit":
        return not new.modifiers or bool(old.modifiers and new.modifiers[0] >= old.modifiers[0])
    return (old.name, new.name) in _COERCIBLE and not new.modifiers


def _wider(old: TypeFacts, new: TypeFacts) -> bool:
    name = old.name
    if name in _LENGTH:
        return not new.modifiers or bool(old.modifiers and new.modifiers[0] >= old.modifiers[0])
    if name == "numeric":
        if not new.modifiers:
            return True
        precision, scale = (*old.modifiers, 0)[:2] if old.modifiers else (-1, -1)
        new_precision, new_scale = (*new.modifiers, 0)[:2]
        return bool(old.modifiers) and new_scale == scale and new_precision >= precision
    if name in _PRECISION:
        before = old.modifiers[0] if old.modifiers else _UNLIMITED_PRECISION
        after = new.modifiers[0] if new.modifiers else _UNLIMITED_PRECISION
        return after >= before
    return name == "interval" and not new.modifiers
