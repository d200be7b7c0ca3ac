"""Pieces of Markdown for Prefect's pages, files and CI summaries: tables are GitHub's. Pure functions.

What is special in Markdown is escaped, so that a table named ``a|b`` or an error with backticks cannot break
the page; every text is redacted and loses its control characters.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from lockkeeper.redaction import redact
from lockkeeper.text_units import plain

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LINK = re.compile(r"https?://[^\s<>()\[\]\"|`\\]+")
WIDEST_CELL, WIDEST_LINE = 40, 72
"""Characters; Prefect's pages break neither cells nor blocks, and have 726 of 1,280 pixels for them."""


def escape_markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows exactly these characters."""
    line = " ".join(plain(text).split())
    line = "".join(_HTML.get(character, character) for character in line)
    return _MARKDOWN.sub(r"\\\1", line)


def _longest_backticks(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def code_span(text: str) -> str:
    """Return ``text`` as a code span that may stand in a table."""
    line = " ".join(plain(text).split()) or " "
    ticks = "`" * (_longest_backticks(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}".replace("|", r"\|")


def fenced(text: str, language: str = "text") -> str:
    """Return ``text`` as a block that no backticks in it can end."""
    shown = plain(text).strip()
    fence = "`" * max(3, _longest_backticks(shown) + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def narrow_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table that Prefect's pages have room for: its last column goes below it where it is long."""
    shown, told = [], []
    for *cells, last in rows:
        if len(last) > WIDEST_CELL:
            told.append(f"{cells[0]}: {last}")
        shown.append(
            [*map(escape_markdown, cells), escape_markdown(last) if len(last) <= WIDEST_CELL else "see below"]
        )
    return [markdown_table(header, shown), *[bullets(told)] * bool(told)]


def broken(text: str) -> str:
    """Break long lines, for a block whose lines are never broken when it is shown."""
    return "\n".join("\n".join(textwrap.wrap(line, WIDEST_LINE) or [""]) for line in text.splitlines())


def bullets(lines: Iterable[str]) -> str:
    """Return a list; each of ``lines`` is shown exactly as it is, as one line."""
    return "\n".join(f"- {escape_markdown(line)}" for line in lines)


def safe_link(link: str | None) -> str | None:
    """Return ``link`` when it is a web address without secrets that no markup can break, else None."""
    return link if link and _LINK.fullmatch(link) and redact(link) == link else None
