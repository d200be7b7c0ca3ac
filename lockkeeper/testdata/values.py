"""Values of every type, as text that the type's input function takes; the same for the same seed.

Ordinary ones, and a moderate share of those that break code: the empty string, quotes, other scripts,
zero, negative numbers, leap days. No infinities and no NaN: hardly any application allows them, though the
schema does.
"""

from __future__ import annotations

import json
import random
import string
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from lockkeeper.testdata.catalogue import Type
from lockkeeper.testdata.hints import Hint, read_hint

EPOCH = datetime(2024, 2, 29, 12)
FIRST_KEY = 10_000
"""Keys of generated rows begin here, so that they do not meet those of a file's rows; fits a smallint."""
_HEADER = 4
_ODD = ("", "O'Brien \\ 100 %", "Straße 東京 ☃", " spaces ")
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll")


class UnknownTypeError(ValueError):
    """No value of this type can be made up."""


class Values:
    """Makes values for one row; ``number`` is unique in its table, ``attempt`` counts its attempts."""

    def __init__(
        self, types: Mapping[int, Type], chance: random.Random, number: int, attempt: int, odd: bool
    ) -> None:
        self._types = types
        self._chance = chance
        self._number = number
        self._attempt = attempt
        self._odd = odd

    def make(self, oid: int, modifier: int, hint: Hint, unique: bool) -> str:
        """Return one value.

        Raises:
            UnknownTypeError: nothing is known of the type, or of one that it is made of.
        """
        kind = self._types[oid]
        if kind.base:
            own = read_hint("VALUE", kind.conditions)
            chosen = own if own != Hint() else hint
            return self.make(kind.base, kind.base_modifier if modifier < 0 else modifier, chosen, unique)
        if hint.choices:
            return self._chance.choice(hint.choices)
        if kind.element:
            return self._array(kind.element, modifier)
        if kind.kind in "em":
            return self._chance.choice(kind.labels) if kind.kind == "e" else "{" + self._range(kind) + "}"
        if kind.kind == "r":
            return self._range(kind)
        if kind.kind == "c":
            return self._composite(kind)
        return self._simple(kind.name, modifier, hint, unique)

    def _array(self, element: int, modifier: int) -> str:
        parts = [self.make(element, modifier, Hint(), False) for _ in range(self._chance.randint(0, 3))]
        if self._types[element].name == "box":
            return "{" + ";".join(parts) + "}"
        return "{" + ",".join(map(_quoted, parts)) + "}"

    def _range(self, kind: Type) -> str:
        """Ranges of different rows never overlap, as an exclusion constraint may demand."""
        name = self._types[kind.subtype].name
        low, high = self._number * 10, self._number * 10 + self._chance.randint(1, 9)
        if name in ("date", "timestamp", "timestamptz"):
            low_text, high_text = (f"{EPOCH + timedelta(days=day):%Y-%m-%d}" for day in (low, high))
        elif name in ("int4", "int8", "numeric", "float8", "float4"):
            low_text, high_text = str(low), str(high)
        else:
            raise UnknownTypeError(f"no range of type {name} can be made up")
        return f"[{low_text},{high_text})"

    def _composite(self, kind: Type) -> str:
        parts = (self.make(part, -1, Hint(), False) for part in kind.parts)
        return "(" + ",".join(map(_quoted, parts)) + ")"

    def _simple(self, name: str, modifier: int, hint: Hint, unique: bool) -> str:
        if name in ("text", "varchar", "bpchar", "name", "citext"):
            return self._text(
                modifier - _HEADER if modifier >= 0 else 63 if name == "name" else 200, hint, unique
            )
        if name in ("int2", "int4", "int8", "oid", "numeric", "float4", "float8", "money"):
            return self._amount(name, modifier, hint, unique)
        if name in ("date", "timestamp", "timestamptz", "time", "timetz"):
            return self._moment(name, hint, unique)
        if name in ("bit", "varbit"):
            return "".join(self._chance.choice("01") for _ in range(modifier if modifier > 0 else 1))
        if name not in _MAKERS:
            raise UnknownTypeError(f"no value of type {name} can be made up")
        return _MAKERS[name](self._chance, self._number)

    def _text(self, longest: int, hint: Hint, unique: bool) -> str:
        longest = max(1, min(longest, hint.longest if hint.longest is not None else longest))
        if self._odd and not unique:
            text = self._chance.choice(_ODD)
        else:
            text = self._styled(self._chance.choice(_WORDS), longest, hint)
        text += "x" * (hint.shortest - len(text))
        if len(text) <= longest:
            return text
        short = _letters(self._number).rjust(longest, "a")[-longest:]
        return short.upper() if self._attempt % 2 else short

    def _styled(self, word: str, longest: int, hint: Hint) -> str:
        """Another look at each attempt: a condition may want an address, digits, capitals, ..."""
        number = str(self._number)
        digits = number.zfill(min(longest, 10))
        styles = (
            f"{word} {number}", f"{word}{number}@example.org", f"{word}-{number}", digits,
            _letters(self._number), _letters(self._number).upper(), f"https://example.org/{word}/{number}",
            "#" + f"{self._number:06x}"[-6:], f"/{word}/{number}", f"{self._number % 90 + 10}.{number}.0",
        )  # fmt: skip
        if hint.looks_like:
            return next(style for style in styles if hint.looks_like in style)
        return styles[self._attempt] if self._attempt < len(styles) else self._chance.choice(styles)

    def _amount(self, name: str, modifier: int, hint: Hint, unique: bool) -> str:
        low, high = (_number(limit) for limit in (hint.low, hint.high))
        precision, scale = 0, 0
        if name == "numeric" and modifier >= _HEADER:
            precision, scale = (modifier - _HEADER) >> 16, (modifier - _HEADER) & 0x7FF
        largest = 10.0 ** (precision - scale) - 1 if precision else 30_000 if name == "int2" else 1_000_000
        top = min(largest, high) if high is not None else min(largest, (low or 0) + 1000)
        floor = low if low is not None else min(0.0, top)
        if unique and low is None and high is None:
            return str(int(min(FIRST_KEY, largest / 2)) + self._number)
        if unique:
            return str(round(floor + 1 + self._number) if high is None else self._between(floor, top))
        if self._odd and low is None and name != "oid":
            return self._chance.choice(("0", "-1"))
        if name in ("numeric", "float4", "float8"):
            return f"{self._chance.uniform(floor, top):.{max(scale, 0) if precision else 3}f}"
        return str(self._between(floor, top))

    def _between(self, low: float, high: float) -> int:
        return self._chance.randint(int(low), max(int(low), int(high)))

    def _moment(self, name: str, hint: Hint, unique: bool) -> str:
        limits = [_moment(limit) for limit in (hint.low, hint.high)]
        start = limits[0] or (limits[1] - timedelta(days=300) if limits[1] else EPOCH)
        days = max(1, (limits[1] - start).days) if limits[0] and limits[1] else 300
        offset = timedelta(days=self._number % days if unique else self._chance.randrange(days))
        minutes = timedelta(minutes=self._number % 600 if unique else self._chance.randrange(600))
        moment = start if self._odd and not unique and not limits[0] else start + offset + minutes
        if name == "date":
            return f"{moment:%Y-%m-%d}"
        return (
            f"{moment:%H:%M:%S}"
            if name.startswith("time") and "stamp" not in name
            else f"{moment:%Y-%m-%d %H:%M:%S}+00"
        )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _letters(number: int) -> str:
    """Count in letters: a, b, ..., z, ba, ..."""
    text = ""
    while True:
        number, digit = divmod(number, 26)
        text = string.ascii_lowercase[digit] + text
        if not number:
            return text


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text[:19])
    except ValueError:
        return None


def _document(chance: random.Random, number: int) -> str:
    return json.dumps({"n": number, "name": chance.choice(_WORDS), "tags": ["a", None], "ratio": 0.5})


_MAKERS: dict[str, Callable[[random.Random, int], str]] = {
    "bool": lambda chance, _n: chance.choice("tf"),
    "uuid": lambda chance, _n: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    "bytea": lambda chance, _n: "\\x" + chance.randbytes(chance.randint(0, 12)).hex(),
    "json": _document,
    "jsonb": _document,
    "xml": lambda _chance, n: f"<row n='{n}'/>",
    "interval": lambda chance, n: f"{chance.randint(0, 40)} days {n % 24} hours",
    "inet": lambda chance, n: f"192.0.2.{n % 256}",
    "cidr": lambda chance, n: f"10.{n % 256}.{chance.randrange(256)}.0/24",
    "macaddr": lambda _chance, n: f"02:00:00:00:{n // 256 % 256:02x}:{n % 256:02x}",
    "macaddr8": lambda _chance, n: f"02:00:00:00:00:00:{n // 256 % 256:02x}:{n % 256:02x}",
    "tsvector": lambda chance, _n: " ".join(f"'{word}'" for word in chance.sample(_WORDS, 3)),
    "tsquery": lambda chance, _n: f"'{chance.choice(_WORDS)}'",
    "point": lambda chance, n: f"({n},{chance.randint(-9, 9)})",
    "line": lambda _chance, n: f"{{1,-1,{n}}}",
    "lseg": lambda _chance, n: f"[(0,0),({n + 1},1)]",
    "box": lambda _chance, n: f"({n + 1},1),({n},0)",
    "path": lambda _chance, n: f"[(0,0),({n + 1},1),(2,2)]",
    "polygon": lambda _chance, n: f"((0,0),({n + 1},1),(2,2))",
    "circle": lambda _chance, n: f"<({n},0),1>",
    "pg_lsn": lambda _chance, n: f"0/{n:X}",
    "hstore": lambda chance, n: f'"n"=>"{n}", "name"=>"{chance.choice(_WORDS)}"',
    "ltree": lambda chance, n: f"top.{chance.choice(_WORDS)}.n{n}",
    "regclass": lambda _chance, _n: "pg_class",
    "regtype": lambda _chance, _n: "integer",
    "vector": lambda _chance, n: f"[{n},0,1]",
}
