"""How far a backup or a restore has come, told at most once a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

REPORT_INTERVAL_S = 1.0


class Progress(NamedTuple):
    """``done_bytes`` of about ``expected_bytes`` (None: not known) have passed the named stage."""

    stage: str
    done_bytes: int = 0
    expected_bytes: int | None = None

    @property
    def fraction(self) -> float:
        """Return how much of the stage is done, from 0 to 1; 0 where nothing is expected."""
        return min(1.0, self.done_bytes / self.expected_bytes) if self.expected_bytes else 0.0

    def __str__(self) -> str:
        if not self.done_bytes:
            return self.stage
        of = f" of about {self.expected_bytes / 2**20:.0f}" if self.expected_bytes else ""
        return f"{self.stage}: {self.done_bytes / 2**20:.0f}{of} MiB"


ProgressCallback = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Tell nobody."""


def counted(
    chunks: Iterable[bytes], stage: str, expected_bytes: int | None, progress: ProgressCallback
) -> Iterator[bytes]:
    """Pass ``chunks`` on and tell how many bytes have gone by: at the first, then once a second."""
    done, due = 0, 0.0
    for chunk in chunks:
        done += len(chunk)
        if time.monotonic() >= due:
            progress(Progress(stage, done, expected_bytes))
            due = time.monotonic() + REPORT_INTERVAL_S
        yield chunk
    progress(Progress(stage, done, expected_bytes))
