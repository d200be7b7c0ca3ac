"""Keeps Ctrl-C, SIGTERM and a lost terminal from cutting a recovery short."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SHIELDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def uninterrupted(what: str) -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP, with a message, for the length of the block.

    Signal handlers belong to the main thread; elsewhere the block is simply run, since signals do not
    arrive there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def refuse(number: int, _frame: FrameType | None) -> None:
        logger.warning("%s ignored: %s must end first.", signal.Signals(number).name, what)

    former = {number: signal.signal(number, refuse) for number in _SHIELDED}
    try:
        yield
    finally:
        for number, handler in former.items():
            # A handler that was not installed from Python is None and cannot be put back.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
