"""What a condition says about one column's values, where that can be read off its text.

Only a guess that makes a row more likely to be taken: the database decides. What is not understood here is
tried until the database takes it, or reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LITERAL = r"(?:'((?:[^']|'')*)'(?:::[\w\s\"\.]+?(?:\(\d+\))?(?:\[\])?)?|\(?(-?\d+(?:\.\d+)?)\)?(?:::\w+)?)"
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass
class Hint:
    """What a value should be: one of ``choices``, from ``low`` to ``high``, of so many characters.

    ``looks_like`` is a part of it that gives its kind away: an address, a link.
    """

    choices: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None
    shortest: int = 0
    longest: int | None = None
    looks_like: str = ""


def read_hint(column: str, conditions: Iterable[str]) -> Hint:
    """Return what the conditions say about ``column`` (or about VALUE, in a domain's)."""
    hint = Hint()
    name = rf'"?{re.escape(column)}"?'
    value = rf"\(?{name}\)?(?:::[\w\s]+?)?"
    for text in conditions:
        _choices(hint, value, text)
        _lengths(hint, value, text)
        _bounds(hint, value, text)
        if re.search(rf"(?<![\w\"]){value} (?:~|~~)\*? ", text):
            hint.looks_like = next((part for part in ("@", "http") if part in text), "")
    return hint


def _choices(hint: Hint, value: str, text: str) -> None:
    found = re.search(rf"(?<![\w\"]){value} = ANY \(+(?:ARRAY\[(.+?)\]|'\{{(.*?)\}}')", text)
    if found and found.group(1):
        hint.choices = tuple(_literals(found.group(1)))
    elif found:
        hint.choices = tuple(part.strip('"') for part in found.group(2).split(","))
    elif " OR " in text and (equal := re.findall(rf"(?<![\w\"]){value} = {_LITERAL}", text)):
        hint.choices = tuple(_plain(*one) for one in equal)
    elif "OR" not in text and (equal := re.findall(rf"(?<![\w\"]){value} = {_LITERAL}", text)):
        hint.choices = (_plain(*equal[0]),)


def _literals(text: str) -> list[str]:
    return [_plain(*one) for one in re.findall(_LITERAL, text)]


def _plain(quoted: str, number: str) -> str:
    return number or quoted.replace("''", "'")


def _lengths(hint: Hint, value: str, text: str) -> None:
    call = rf"(?:length|char_length|octet_length)\((?:btrim\()?{value}\)*"
    for sign, count in re.findall(rf"{call} (>=|<=|>|<|=) (\d+)", text):
        number = int(count) + {">": 1, "<": -1}.get(sign, 0)
        if sign in (">", ">=", "="):
            hint.shortest = max(hint.shortest, number)
        if sign in ("<", "<=", "="):
            hint.longest = number if hint.longest is None else min(hint.longest, number)
    if re.search(rf"(?<!\w){value} <> ''", text):
        hint.shortest = max(hint.shortest, 1)


def _bounds(hint: Hint, value: str, text: str) -> None:
    for sign, *literal in re.findall(rf"(?<![\w\"]){value} (>=|<=|>|<) {_LITERAL}", text):
        _bound(hint, sign, _plain(*literal))
    for *literal, sign in re.findall(rf"(?<![\w\"]){_LITERAL} (>=|<=|>|<) {value}(?![\w\"])", text):
        _bound(hint, _FLIPPED[sign], _plain(*literal))


def _bound(hint: Hint, sign: str, literal: str) -> None:
    if sign in (">", ">="):
        hint.low = hint.low or literal
    else:
        hint.high = hint.high or literal
