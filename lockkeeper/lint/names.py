"""Names of the user's objects, compared as the server would and written so that they can be pasted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockkeeper.lint.parsing import Node

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_RESERVED = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization between binary both case cast check
    collate collation column concurrently constraint create cross current_catalog current_date current_role
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end
    except false fetch for foreign freeze from full grant group having ilike in initially inner intersect
    into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null
    offset on only or order outer overlaps placing primary references returning right select session_user
    similar some symmetric table tablesample then to trailing true union unique user using variadic verbose
    when where window with""".split()  # noqa: SIM905
)


def quoted(identifier: str) -> str:
    """Return the identifier as SQL needs it."""
    if _PLAIN.fullmatch(identifier) and identifier not in _RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


@dataclass(frozen=True)
class Name:
    """A possibly qualified name. ``schema`` is empty when the text gave none."""

    schema: str
    name: str

    def __str__(self) -> str:
        return ".".join(quoted(part) for part in (self.schema, self.name) if part)

    def within(self, default_schema: str) -> Name:
        """Return the name as a key: with the schema that it stands for."""
        return self if self.schema else Name(default_schema, self.name)


def of_relation(node: Node) -> Name:
    """Return the name of a ``RangeVar``."""
    return Name(node.schemaname, node.relname)


def of_parts(parts: Iterable[Node]) -> Name:
    """Return the name given as a list of strings, e.g. of DROP or of a type."""
    texts = [part.string.sval for part in parts]
    return Name(texts[-2] if len(texts) > 1 else "", texts[-1] if texts else "")


def of_object(node: Node) -> Name:
    """Return the name of an object in DROP: a list, a type, a function with arguments or a plain string."""
    kind = node.WhichOneof("node")
    from lockkeeper.lint.parsing import unwrap  # here: names alone do without the parser, which is an extra

    value = unwrap(node)
    if kind == "list":
        return of_parts(value.items)
    if kind == "type_name":
        return of_parts(value.names)
    if kind == "object_with_args":
        return of_parts(value.objname)
    return Name("", value.sval if kind == "string" else "")


def parse_name(text: str) -> Name:
    """Return the name that a text such as ``public."T"`` stands for."""
    parts = [
        quoted_part.replace('""', '"') if quoted_part else plain
        for quoted_part, plain in re.findall(r'"((?:[^"]|"")*)"|([^."]+)', text)
    ]
    return Name(parts[-2] if len(parts) > 1 else "", parts[-1] if parts else "")
