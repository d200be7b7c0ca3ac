"""What the demo prints: one line for each thing done, with how long it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from lockkeeper.models import Step, StepState
from lockkeeper.redaction import redact
from lockkeeper.reports import format_duration

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

    def _row(self, name: str, mark: str, style: str, duration_s: float, detail: str) -> None:
        row = Text(f"  {name:<{_NAME_WIDTH}} ")
        row.append(f"{mark:<7}", style=style)
        row.append(f"{format_duration(duration_s):>10}")
        if detail:
            row.append(f"  {redact(detail)}", style="dim")
        self.console.print(row)
