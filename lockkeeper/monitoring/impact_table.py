"""What is seen beside a migration as rows of two texts: what a table in a browser shows while it runs.

Cells of Prefect's tables never break a line, and one of its two UIs takes what is in them for Markdown. So a
long text goes on in the rows below, statements are code, and a name from the database can be no link.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

from lockkeeper.measured import MonitorSummary
from lockkeeper.monitoring.budget import blocked_sessions
from lockkeeper.monitoring.readings import Command, Look, Wait
from lockkeeper.reports import plain
from lockkeeper.text_units import format_duration, format_size

MOST_WAITS = 20
_INDENT = "· "
"""Spaces at the beginning of a cell are not shown."""
LONGEST_LINE = 60
"""What fits beside the page's columns on a screen of 1,280 pixels."""
_WITH_UNIT = re.compile(r"(?<=\d) (?=[a-zA-Z%]{1,3}\b)")
_NO_MARKUP = str.maketrans("[]<>`", "()()'")


class Row(NamedTuple):
    """One fact, with the statement that belongs to it."""

    what: str
    seen: str
    statement: str = ""


def impact_rows(look: Look | None, summary: MonitorSummary) -> list[dict[str, str]]:
    """Return the rows; names and statements from the database are redacted, and cut by the sampler."""
    return [
        {"what": what, "seen": line}
        for row in _rows(look, summary)
        for what, line in zip(chain([_words(row.what)], repeat("")), _lines(row), strict=False)
    ]


def _words(text: str) -> str:
    return plain(text).translate(_NO_MARKUP)


def _lines(row: Row) -> list[str]:
    glued = textwrap.wrap(_WITH_UNIT.sub("\u00a0", _words(row.seen)), LONGEST_LINE)
    said = [line.replace("\u00a0", " ") for line in glued]
    code = plain(row.statement).replace("`", "'")
    return said + [f"`{line}`" for line in textwrap.wrap(code, LONGEST_LINE, break_on_hyphens=False)]


def _rows(look: Look | None, summary: MonitorSummary) -> Iterator[Row]:
    if summary.cancelled:
        yield Row("Cancelled by the impact budget", summary.cancelled)
    blocked = {} if look is None else blocked_sessions(look.activity, look.own_pids)
    yield Row("Sessions kept waiting by it", f"{len(blocked)} now, {summary.max_blocked_sessions} at most")
    yield Row("Longest wait caused", format_duration(summary.longest_block_s))
    if look is not None and look.probe_ms is not None:
        before_ms = summary.probe.before_ms if summary.probe is not None else None
        usual = "" if before_ms is None else f", {before_ms:.1f} ms before"
        yield Row("Latency of the probe query", f"{look.probe_ms:.1f} ms{usual}")
    if look is not None:
        yield from _of_look(look)
    if summary.throttled:
        yield Row("Backfills", "were asked to pause by the impact budget")
    if summary.failed_samples:
        yield Row("Samples that could not be taken", f"{summary.failed_samples}, {summary.samples} taken")


def _of_look(look: Look) -> Iterator[Row]:
    activity = look.activity
    used = f"{activity.connections} of {activity.max_connections}, {activity.active} active"
    yield Row("Connections", f"{used}, {activity.idle_in_transaction} idle in a transaction")
    if look.vitals is not None:
        size_bytes = look.vitals.database.size_bytes if look.vitals.database is not None else None
        if size_bytes is not None:
            yield Row("Size of the database", format_size(size_bytes))
        for command in look.vitals.commands:
            yield Row(f"{command.kind} {command.table}", _progress(command))
    yield from _tree(activity.waits, look.own_pids)


def _progress(command: Command) -> str:
    share = "" if command.percent is None else f", {command.percent:.0f} %"
    left = "" if command.eta_s is None else f", about {format_duration(command.eta_s)} left"
    return f"{command.phase}{share}{left}"


def _tree(waits: Sequence[Wait], own_pids: frozenset[int]) -> Iterator[Row]:
    """Yield who waits for whom: each session once, below the first one that it waits for."""
    by_blocker: dict[int, list[Wait]] = {}
    for wait in waits:
        by_blocker.setdefault(wait.blocker_pid, []).append(wait)
    waiting = {wait.waiter_pid for wait in waits}
    tops = [pid for pid in by_blocker if pid not in waiting]
    # Where all wait for one another any is the top, until PostgreSQL ends one of them (deadlock_timeout).
    seen: set[int] = set()
    for pid in tops or list(by_blocker)[:1]:
        wait = by_blocker[pid][0]
        whose = " (the migration)" if pid in own_pids else ""
        yield Row(f"Blocks others{whose}", wait.blocker, wait.blocker_statement)
        yield from _waiters(pid, by_blocker, seen, 1)
    if len(waiting - seen) > 0 and len(seen) >= MOST_WAITS:
        yield Row("More waits", f"{len(waiting - seen)} sessions are not shown")


def _waiters(pid: int, by_blocker: Mapping[int, Sequence[Wait]], seen: set[int], level: int) -> Iterator[Row]:
    for wait in by_blocker.get(pid, ()):
        if wait.waiter_pid in seen or len(seen) >= MOST_WAITS:
            continue
        seen.add(wait.waiter_pid)
        who = f"session {wait.waiter_pid} ({wait.waiter_application or wait.waiter_type})"
        what = f"waits {format_duration(wait.waiting_s)} for {wait.wants or 'a lock'}"
        yield Row(f"{_INDENT * level}{who}", what, wait.waiter_statement)
        yield from _waiters(wait.waiter_pid, by_blocker, seen, level + 1)
