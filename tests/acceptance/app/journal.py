"""What every process of the application was told, independent of the database: was it kept?

Each write counts up its row's ``stock`` in the same statement and gets the new count back, so the counts
order all writes to a row, whichever process made them. Afterwards a row must have as many counts as
acknowledged writes, and the description of the last of those that wrote one.

A line of a journal: ``{"at", "ms", "op", "id", "stock", "text", "error"}``, ``rows`` for a bulk update.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Journal:
    """One process's file; safe for its threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, started: float, op: str, **facts: Any) -> None:
        line = json.dumps({"at": started, "ms": round((time.time() - started) * 1000, 2), "op": op, **facts})
        with self._lock:
            self._file.write(line + "\n")


def read(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """All complete lines of all journals."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


@dataclass
class _Row:
    there: bool = False
    deleted: bool = False
    perhaps_absent: bool = False
    writes: int = 0
    last: tuple[int, str] | None = None
    unknown: int = 0
    unknown_texts: set[str] = field(default_factory=set)
    in_bulk: bool = False

    def may_be(self, text: str | None) -> bool:
        """Whether a statement without an answer can have written this."""
        return text in self.unknown_texts or (self.in_bulk and ": in bulk " in str(text))


@dataclass
class Story:
    """The journals, read once."""

    rows: dict[int, _Row]
    statements: int = 0
    failed: list[str] = field(default_factory=list)
    longest_ms: float = 0.0
    longest: dict[str, Any] = field(default_factory=dict)
    wrong_reads: list[str] = field(default_factory=list)
    acknowledged: int = 0

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Story:
        story = cls(defaultdict(_Row))
        for line in read(paths):
            story._take(line)
        return story

    def _take(self, line: dict[str, Any]) -> None:
        self.statements += 1
        if line["ms"] > self.longest_ms:
            self.longest_ms, self.longest = line["ms"], line
        if error := line.get("error"):
            self.failed.append(f"{line['op']} at {line['at']:.3f}: {error}")
        if wrong := line.get("wrong"):
            self.wrong_reads.append(wrong)
        if line["op"] == "read":
            return
        if "rows" in line:
            for key, stock, text in line["rows"]:
                self._wrote(self.rows[key], stock, text)
        elif line.get("error"):
            self._perhaps(line)
        elif line["op"] == "delete":
            self.rows[line["id"]].deleted = True
            self.acknowledged += 1
        else:
            self._wrote(self.rows[line["id"]], line["stock"], line.get("text"))

    def _wrote(self, row: _Row, stock: int, text: str | None) -> None:
        self.acknowledged += 1
        row.there = True
        row.writes += stock > 0  # an insert begins at 0
        if text and (row.last is None or stock > row.last[0]):
            row.last = (stock, text)

    def _perhaps(self, line: dict[str, Any]) -> None:
        """Whether a statement without an answer was committed cannot be known: both are right."""
        keys = range(line["id"], line["id"] + 5) if line["op"] == "bulk" else [line["id"]]
        for key in keys:
            row = self.rows[key]
            row.unknown += 1
            row.unknown_texts.update([line["text"]] if line.get("text") else [])
            row.perhaps_absent |= line["op"] in ("insert", "delete")
            row.in_bulk |= line["op"] == "bulk"

    def problems(self, kept: Mapping[int, tuple[int, tuple[str | None, ...]]], shared: int) -> list[str]:
        """Return every lost, invented or mixed-up write.

        Args:
            kept: what the database has: id -> stock, and the description in each column that there is.
            shared: rows 1 to this were there before, and nobody deletes them.
        """
        found = [
            f"row {key}: has the text of another row, {text!r}"
            for key, (_, texts) in kept.items()
            for text in texts
            if not str(text).startswith(f"{key}: ")
        ]
        for key in range(1, shared + 1):
            self.rows[key].there = True
        for key, row in self.rows.items():
            if key not in kept:
                if row.there and not row.deleted and not row.perhaps_absent:
                    found.append(f"row {key}: is lost")
                continue
            if row.deleted:
                found.append(f"row {key}: a deleted row is back")
            stock, texts = kept[key]
            if not row.writes <= stock <= row.writes + row.unknown:
                found.append(f"row {key}: {row.writes} writes were acknowledged, {stock} are there")
            if len(set(texts)) > 1:
                found.append(f"row {key}: its columns differ: {texts}")
            found += [
                f"row {key}: has {text!r}, the last acknowledged is {row.last}"
                for text in set(texts)
                if row.last and text != row.last[1] and not row.may_be(text)
            ]
        return found
