"""Ctrl-C, SIGTERM and a lost terminal end a run in order, and never cut a recovery short.

The first signal is raised as KeyboardInterrupt: the runbook then recovers, shielded from further ones
(``lockkeeper.signals``). Children have a process group of their own, so a terminal's Ctrl-C reaches only us.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """The process was told to end."""


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an interruption for the length of the block (main thread only).

    When the block has ended, only its result is still to be written: from then on all of these signals are
    ignored, so that a late one does not replace the run's exit code by its own.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise EndedBySignal(f"ended by {signal.Signals(number).name}")

    for number in _ENDING:
        # nohup has SIGHUP ignored; that wish is respected.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in (*_ENDING, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
