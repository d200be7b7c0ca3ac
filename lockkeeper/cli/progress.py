"""Shows on stderr where a run stands; silent when nobody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lockkeeper.cli.output import Session

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from lockkeeper.models import RunReport

_SYMBOLS = {"done": "ok", "failed": "FAILED", "skipped": "skipped"}


class Progress:
    """One line for every step that ended, and on a terminal what is being done at this moment."""

    def __init__(self, console: Console | None, status: Status | None) -> None:
        self._console = console
        self._status = status
        self._shown = 0

    def say(self, step: str, message: str) -> None:
        """Show what a step is doing; a line of its own only where nothing can be overwritten."""
        if self._console is None:
            return
        from lockkeeper.reports import plain

        text = plain(f"{step}: {message}")
        with contextlib.suppress(OSError):
            if self._status is not None:
                self._status.update(text)
            else:
                self._console.print(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else for the length of the block."""
        if self._status is not None:
            self._status.stop()
        try:
            yield
        finally:
            if self._status is not None:
                self._status.start()

    def report(self, report: RunReport) -> None:
        """Show the steps that have ended since the last call."""
        from lockkeeper.reports import format_duration, plain

        if self._console is None:
            return
        for number, step in enumerate(report.steps):
            if number < self._shown:
                continue
            if step.state.value == "running":
                self._show_running(step.name)
                break
            self._shown = number + 1
            line = f"{_SYMBOLS[step.state.value]:7} {step.name:30} {format_duration(step.duration_s):>10}"
            with contextlib.suppress(OSError):
                self._console.print(plain(f"{line}  {step.detail}".rstrip()), soft_wrap=True)

    def _show_running(self, name: str) -> None:
        from lockkeeper.reports import plain

        if self._status is not None:
            with contextlib.suppress(OSError):
                self._status.update(plain(name))


@contextlib.contextmanager
def showing_progress(session: Session, what: str) -> Iterator[Progress]:
    """Yield a ``Progress`` for the length of the block."""
    if not session.shows_progress:
        yield Progress(None, None)
        return
    from lockkeeper.reports import plain

    console = session.console(session.stderr)
    if not console.is_terminal:
        yield Progress(console, None)
        return
    with console.status(plain(what)) as status:
        yield Progress(console, status)
