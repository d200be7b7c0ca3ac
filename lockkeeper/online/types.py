"""Which changes of a column's type leave the rows alone.

Source: PostgreSQL manual, ALTER TABLE, Notes ("an unconstrained domain", "binary coercible"), and the
transform functions of varchar, numeric, varbit and the date types, which recognise a wider length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Types whose stored form is the other's: (from, to), without length.
_COERCIBLE = frozenset({
    ("varchar", "text"), ("text", "varchar"), ("cidr", "inet"), ("xml", "text"), ("xml", "varchar"),
    ("citext", "text"), ("citext", "varchar"), ("int4", "oid"), ("bit", "varbit"),
})  # fmt: skip
_PRECISION = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_TOLD_BY_THE_SESSION = frozenset({
    "date", "time", "timetz", "timestamp", "timestamptz", "interval", "money",
})  # fmt: skip
_WITH_TIME_ZONE = frozenset({"timetz", "timestamptz"})
_LENGTH = frozenset({"varchar", "varbit"})
_UNLIMITED_PRECISION = 6
_AS_SQLALCHEMY_WRITES = re.compile(
    r"(?P<name>[A-Z ]+?)(?:\((?P<modifiers>\d+(?:, \d+)*)\))?(?P<zone> WITH(?:OUT)? TIME ZONE)?"
    r"(?P<array>(?:\[\])*)"
)
_INTERNAL_NAMES = {"bit varying": "varbit", "integer": "int4"}


@dataclass(frozen=True)
class TypeFacts:
    """A type's own name, its modifiers (length; precision and scale) and whether it is an array."""

    name: str
    modifiers: tuple[int, ...] = ()
    array: bool = False
    schema: str = ""


def of_sqlalchemy(text: str) -> TypeFacts | None:
    """Read a built-in type as SQLAlchemy writes it; None for others (enums, collations, domains)."""
    found = _AS_SQLALCHEMY_WRITES.fullmatch(text)
    if found is None:
        return None
    name = found["name"].lower() + ("tz" if found["zone"] == " WITH TIME ZONE" else "")
    modifiers = tuple(int(each) for each in (found["modifiers"] or "").split(", ") if each)
    return TypeFacts(_INTERNAL_NAMES.get(name, name), modifiers, bool(found["array"]))


def cuts_off(new: TypeFacts) -> bool:
    """Whether a cast to the type makes what is too long fit, without a word (SQL asks for that)."""
    return new.name in ("bit", "char") or (new.name in _LENGTH and bool(new.modifiers))


def depends_on_session(old: TypeFacts | None, new: TypeFacts | None) -> bool:
    """Whether a cast asks the session for its TimeZone, DateStyle or currency: each writer has its own."""
    names = {each.name if each else "" for each in (old, new)}
    if len(names) == 1:
        return False
    told = {name for name in names if name.partition(" ")[0] in _TOLD_BY_THE_SESSION}
    return len(told) == 1 or bool(names & _WITH_TIME_ZONE)


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
