"""What the demo prints: one line for each thing done, with how long it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from lockkeeper.models import RunReport, Step, StepState
from lockkeeper.redaction import redact
from lockkeeper.reports import (
    STYLES,
    format_duration,
    headline,
    monitor_facts,
    recovery_rows,
    restore_facts,
    revision_rows,
)

_MARKS = {
    StepState.DONE: ("ok", "green"),
    StepState.FAILED: ("failed", "red"),
    StepState.SKIPPED: ("-", "dim"),
}
_NAME_WIDTH = 34


class Story:
    """Prints as things happen; plain lines where the output is not a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def chapter(self, title: str) -> None:
        """Print a heading."""
        self.console.print(Text(f"\n{title}", style="bold"))

    def line(self, text: str, style: str = "") -> None:
        """Print one line, without secrets."""
        self.console.print(Text(f"  {redact(text)}", style=style))

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Print what was done in the block, and how long it took, when it has ended well."""
        started = time.monotonic()
        yield
        self._row(what, "ok", "green", time.monotonic() - started, "")

    def step(self, step: Step) -> None:
        """Print one step of a run."""
        mark, style = _MARKS.get(step.state, ("...", "blue"))
        self._row(step.name, mark, style, step.duration_s, step.detail)

    def conclusion(self, report: RunReport) -> None:
        """Print what the steps alone do not say: revisions, recovery, what the monitor saw, the outcome."""
        for revision, message, duration, _attempts, _timeouts in revision_rows(report):
            self.line(f"  {revision:<5} {message:<60} {duration:>11}", "dim")
        for rung, enough, duration, reason in recovery_rows(report):
            style = "green" if enough == "yes" else "yellow"
            self.line(
                f"recovery by {rung}: {'enough' if enough == 'yes' else 'not enough'}, {duration}", style
            )
            self.line(f"  {reason}", "dim")
        for fact in [*restore_facts(report), *monitor_facts(report), *report.warnings]:
            self.line(fact, "dim")
        if report.error:
            self.line(report.error)
        if report.next_command:
            self.line(f"Next: {report.next_command}", "bold")
        self.line(
            f"{headline(report)} ({format_duration(report.duration_s)})", STYLES.get(report.outcome, "red")
        )

    def _row(self, name: str, mark: str, style: str, duration_s: float, detail: str) -> None:
        row = Text(f"  {name:<{_NAME_WIDTH}} ")
        row.append(f"{mark:<7}", style=style)
        row.append(f"{format_duration(duration_s):>10}")
        if detail:
            row.append(f"  {redact(detail)}", style="dim")
        self.console.print(row)
