"""Do two texts that PostgreSQL wrote mean the same definition?

A definition is read back from its text by a restore, and the tree that comes out is not always the one that
the text was made of, so the next text differs though the meaning is the same. Known and undone here: the
array of an IN over varchar is cast as a whole the first time and element by element ever after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# PostgreSQL 16 no longer qualifies columns in views of one table; majors differ in parentheses and blanks.
_QUALIFIER = re.compile(r'(?:"(?:[^"]|"")+"|\b\w+)\.(?=["\w*])')
_LAYOUT = re.compile(r"[\s()]+")

_CAST_ARRAY = "(ARRAY["
# What follows the array: its end, the cast, a type name (perhaps qualified, quoted, of several words), [].
_CAST = re.compile(r"\]\)::((?:\"(?:[^\"]|\"\")+\"|[\w. ])+)\[\]")
_QUOTES = {"'", '"'}
_OPENING, _CLOSING = "([", ")]"


def same_definition(one: str, other: str, *, across_majors: bool) -> bool:
    """Whether the texts differ in nothing but how (this, or another major of) PostgreSQL writes them."""
    one, other = spread_array_casts(one), spread_array_casts(other)
    if one == other:
        return True
    return across_majors and _bare(one) == _bare(other)


def spread_array_casts(text: str) -> str:
    """Rewrite ``(ARRAY[a, b])::text[]`` as ``ARRAY[(a)::text, (b)::text]``, which restores to itself."""
    start = text.find(_CAST_ARRAY)
    while start != -1:
        first = start + len(_CAST_ARRAY)
        end = _end_of_list(text, first)
        cast = _CAST.match(text, end)
        if cast is not None:
            elements = ", ".join(f"({element})::{cast[1]}" for element in _elements(text[first:end]))
            text = f"{text[:start]}ARRAY[{elements}]{text[cast.end() :]}"
        start = text.find(_CAST_ARRAY, start + 1)
    return text


def _outside_quotes(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Yield position and character of what is not within quotes (a doubled quote ends one and begins one)."""
    quote = ""
    for position in range(start, len(text)):
        character = text[position]
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        else:
            yield position, character


def _end_of_list(text: str, start: int) -> int:
    depth = 0
    for position, character in _outside_quotes(text, start):
        if character in _CLOSING:
            if not depth:
                return position
            depth -= 1
        elif character in _OPENING:
            depth += 1
    return len(text)


def _elements(text: str) -> list[str]:
    depth, start, found = 0, 0, []
    for position, character in _outside_quotes(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and not depth:
            found.append(text[start:position].strip())
            start = position + 1
    return [*found, text[start:].strip()]


def _bare(text: str) -> str:
    return _LAYOUT.sub("", _QUALIFIER.sub("", text))
