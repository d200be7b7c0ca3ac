"""What was measured of revisions while they ran, and what follows from it. Models only.

How it is measured: ``lockkeeper.costs``; how it is judged: ``lockkeeper.risk``.
"""

from __future__ import annotations

from pydantic import Field

from lockkeeper.fact import Fact


class LockHold(Fact):
    """One lock on a table that others may have had to wait for."""

    table: str
    mode: str = Field(description="As the manual names it, e.g. ACCESS EXCLUSIVE.")
    held_s: float = Field(description="From the beginning of the statement that took it to its end.")
    rows: int | None = Field(default=None, description="Estimated, before the revision.")
    made_by_plan: bool = Field(default=False, description="No application can know the table yet.")
    seen: str = Field(
        default="exactly",
        description="exactly (read by the session itself), by sampling, or not: then its text says so",
    )

    @property
    def blocks(self) -> str | None:
        """What of an application has to wait: ``reads and writes``, ``writes`` or nothing."""
        if self.mode == "ACCESS EXCLUSIVE":
            return "reads and writes"
        return "writes" if self.mode in ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE") else None

    def __str__(self) -> str:
        """Say it in a line, e.g. ``ACCESS EXCLUSIVE on public.users for 4.2 s (1,200,000 rows)``."""
        size = "" if self.rows is None else f" ({self.rows:,} rows)"
        return f"{self.mode} on {self.table} for {self.held_s:.3g} s{size}"


class RevisionCost(Fact):
    """What a revision cost the others on the server, measured while it ran. See docs/rehearsal.md."""

    locks: tuple[LockHold, ...] = ()
    rewritten: dict[str, int] = Field(default_factory=dict, description="Table -> bytes afterwards.")
    scanned: dict[str, int] = Field(
        default_factory=dict, description="Table -> rows read by sequential scans in transactions."
    )
    indexes_built: tuple[str, ...] = Field(default=(), description="On tables that were there before.")
    wal_bytes: int | None = Field(default=None, description="Of the whole server meanwhile.")
    growth_bytes: int | None = Field(default=None, description="Of the database.")
    temp_bytes: int | None = Field(default=None, description="Temporary files, of the database.")
