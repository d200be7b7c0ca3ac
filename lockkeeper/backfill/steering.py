"""How many rows the next batch has: as many as fit into the time budget, never more than allowed."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_ROWS = 16
EFFICIENT_ROWS = 500
_MOST_GROWTH, _MOST_SHRINKING = 1.5, 0.25


@dataclass
class Steering:
    """The size of batches.

    Attributes:
        rows: of the next batch.
        most_rows: its upper bound.
        target_ms: how long a batch should take.
        firm_ms: how long it may hold its locks on rows, for which it shrinks to a few rows if it must. Up to
            this it keeps ``least_rows``: on a busy machine a few rows take as long.
        least_rows: see ``firm_ms``.
    """

    rows: int
    most_rows: int
    target_ms: float
    firm_ms: float = 0.0
    least_rows: int = EFFICIENT_ROWS

    def took(self, rows: int, elapsed_ms: float) -> None:
        """Learn from a batch that was committed."""
        factor = self.target_ms / max(elapsed_ms, 0.1)
        factor = min(_MOST_GROWTH, max(_MOST_SHRINKING, factor))
        wanted = int(self.rows * factor) if rows or factor < 1 else self.rows * 2
        least = min(self.rows, self.least_rows) if elapsed_ms <= self.firm_ms else LEAST_ROWS
        self.rows = max(min(least, self.most_rows), min(self.most_rows, wanted))

    def failed(self, rows: int) -> bool:
        """Halve what a range began with (its first shares may have gone well since, and enlarged the next).

        False when the rows are so few that each should be tried by itself.
        """
        self.rows = max(min(LEAST_ROWS, self.most_rows), rows // 2)
        return rows > LEAST_ROWS

    def limit(self, most_rows: int, target_ms: float, firm_ms: float, least_rows: int) -> None:
        """Take over bounds that somebody has changed meanwhile."""
        self.most_rows, self.target_ms, self.firm_ms = most_rows, target_ms, firm_ms
        self.least_rows = least_rows
        self.rows = max(1, min(self.rows, most_rows))
