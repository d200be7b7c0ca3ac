"""Differences between two schema fingerprints, as sentences that name the object."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from lockkeeper.models import SchemaFingerprint
from lockkeeper.postgres.fingerprint.definitions import same_definition
from lockkeeper.postgres.fingerprint.schema import BELONGS_TO, SERVER_IDENTITY, SERVER_KIND

Properties = dict[str, Any]
_Key = tuple[str, str]

SHOWN_CHARACTERS = 120
_POSITION = "position"
_GRANTS = "grants"
# Sentences that are plainer than "changed from True to False".
_PHRASES: dict[tuple[str, Any], str] = {
    ("state", "disabled"): "is disabled",
    ("validated", False): "is not validated",
    ("validated", True): "is validated now",
    ("valid", False): "is invalid",
    ("valid", True): "is valid now",
    ("row level security", False): "has row level security switched off",
    ("row level security", True): "has row level security switched on",
    ("not null", "no"): "is nullable now",
    ("not null", "yes"): "is NOT NULL now",
    ("not null for children", "no"): "is NOT NULL without its children now",
    ("not null for children", "yes"): "is NOT NULL in its children, too",
}
_MAINTAIN_SINCE = 17
# Manifests of earlier releases do not have these, and what is not known is no difference.
_ADDED_LATER = frozenset({"origin", "not null for children"})


def compare_schemas(
    before: SchemaFingerprint,
    after: SchemaFingerprint,
    *,
    ignore_schemas: Collection[str] = (),
    physical_order: bool = False,
) -> list[str]:
    """Name every difference, sorted by object; an empty list means that the schemas are equal.

    What belongs to a missing or unexpected object is not listed again. Between majors of PostgreSQL
    definitions are compared without qualifiers, blanks and parentheses: servers write them differently.

    Args:
        before: what it must be.
        after: what it is.
        ignore_schemas: schemas (unquoted names) whose contents do not count.
        physical_order: also report columns that moved, as a column does that a downgrade adds again.
    """
    return _Comparison(before, after, ignore_schemas, physical_order).differences()


class _Comparison:
    def __init__(
        self,
        before: SchemaFingerprint,
        after: SchemaFingerprint,
        ignored: Collection[str],
        physical_order: bool,
    ) -> None:
        self._majors = _major(before), _major(after)
        self._before, self._after = _flat(before), _flat(after)
        self._ignored = {f"schema {_quoted(name)}" for name in ignored}
        self._ignored |= {f"extension {_quoted(name)}" for name in ignored}
        self._physical_order = physical_order

    def differences(self) -> list[str]:
        found: list[str] = []
        keys = self._before.keys() | self._after.keys()
        for key in sorted(key for key in keys if self._before.get(key) != self._after.get(key)):
            if not self._is_ignored(key):
                found += self._compare(key)
        return found

    def _compare(self, key: _Key) -> Iterator[str]:
        kind, identity = key
        old, new = self._before.get(key), self._after.get(key)
        if kind == _GRANTS:
            if not self._is_told(key):
                yield from self._grants(identity, old or {}, new or {})
        elif old is None or new is None:
            if not self._is_told(key):
                yield _presence(kind, identity, old or new or {}, missing=new is None)
        else:
            yield from self._properties(kind, identity, old, new)

    def _properties(self, kind: str, identity: str, old: Properties, new: Properties) -> Iterator[str]:
        for name in sorted(old.keys() | new.keys()):
            if name == BELONGS_TO or (name == _POSITION and not self._physical_order):
                continue
            if name in _ADDED_LATER and not (name in old and name in new):
                continue
            was, now = old.get(name), new.get(name)
            if was == now or self._only_written_differently(was, now):
                continue
            yield f"{_label(kind, identity)}{_change(kind, name, was, now)}"

    def _grants(self, identity: str, old: Properties, new: Properties) -> Iterator[str]:
        was, now = self._granted(old), self._granted(new)
        for grant in sorted(was - now):
            yield f"grant of {_grant(grant, identity)} is missing"
        for grant in sorted(now - was):
            yield f"unexpected grant of {_grant(grant, identity)}"

    def _granted(self, properties: Properties) -> set[str]:
        grants = set(properties.get(_GRANTS) or ())
        if min(self._majors) < _MAINTAIN_SINCE <= max(self._majors):
            grants = {grant for grant in grants if not grant.startswith("MAINTAIN ")}
        return grants

    def _only_written_differently(self, was: Any, now: Any) -> bool:
        if not isinstance(was, str) or not isinstance(now, str):
            return False
        return same_definition(was, now, across_majors=self._majors[0] != self._majors[1])

    def _parents(self, key: _Key) -> Iterator[str]:
        """What the object belongs to, and what that belongs to, ..., in either database."""
        parent = self._parent(key)
        while parent is not None:
            yield parent
            parent = self._parent(self._named(parent))

    def _parent(self, key: _Key) -> str | None:
        properties = self._before.get(key) or self._after.get(key) or {}
        parent = properties.get(BELONGS_TO)
        return str(parent) if parent is not None else None

    def _named(self, name: str) -> _Key:
        """Turn "materialized view public.v" back into its key."""
        words = name.split(" ")
        for end in range(1, len(words)):
            key = " ".join(words[:end]), " ".join(words[end:])
            if key in self._before or key in self._after:
                return key
        return "", name

    def _is_told(self, key: _Key) -> bool:
        """Whether something that the object belongs to is itself missing or unexpected."""
        parents = [self._named(parent) for parent in self._parents(key)]
        return any((parent in self._before) != (parent in self._after) for parent in parents)

    def _is_ignored(self, key: _Key) -> bool:
        if key[0] == SERVER_KIND or " ".join(key) in self._ignored:
            return True
        return any(parent in self._ignored for parent in self._parents(key))


def _flat(fingerprint: SchemaFingerprint) -> dict[_Key, Properties]:
    return {
        (kind, identity): properties
        for kind, objects in fingerprint.objects.items()
        for identity, properties in objects.items()
    }


def _major(fingerprint: SchemaFingerprint) -> int:
    return int(fingerprint.objects.get(SERVER_KIND, {}).get(SERVER_IDENTITY, {}).get("major", 0))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _label(kind: str, identity: str) -> str:
    return f"comment on {identity}" if kind == "comment" else f"{kind} {identity}"


def _presence(kind: str, identity: str, properties: Properties, *, missing: bool) -> str:
    label = _label(kind, identity)
    table = str(properties.get(BELONGS_TO) or "")
    on = f" (on {table.split(' ', 1)[-1]})" if kind == "index" and table.startswith(("table ", "mat")) else ""
    return f"{label}{on} is missing" if missing else f"unexpected {label}{on}"


def _grant(grant: str, identity: str) -> str:
    privilege, grantee = grant.split(" to ", 1)
    return f"{privilege} on {identity} to {grantee}"


def _change(kind: str, name: str, was: Any, now: Any) -> str:
    if (kind, name) == ("comment", "text"):
        name = ""
    if isinstance(now, (str, bool)) and (phrase := _PHRASES.get((name, now))):
        return f" {phrase}"
    if name == "triggers disabled":
        return f": {now} of its internal triggers are disabled, {was} before"
    shown = name and f" {name}"
    if name == _POSITION:
        return f":{shown} changed from {was} to {now} (physical order only)"
    if isinstance(was, str) and isinstance(now, str):
        was, now = _excerpts(was, now)
    return f":{shown} changed from {_shown(was)} to {_shown(now)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)


def _excerpts(was: str, now: str) -> tuple[str, str]:
    """Cut long texts down to where they begin to differ, on one line."""
    was, now = " ".join(was.split()) or "(blank)", " ".join(now.split()) or "(blank)"
    if was == now:
        return f"{was[:SHOWN_CHARACTERS]} (other blanks)", now[:SHOWN_CHARACTERS]
    if max(len(was), len(now)) <= SHOWN_CHARACTERS:
        return was, now
    same = next(
        (i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now))
    )
    start = max(0, same - SHOWN_CHARACTERS // 3)

    def cut(text: str) -> str:
        end = start + SHOWN_CHARACTERS
        return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")

    return cut(was), cut(now)
