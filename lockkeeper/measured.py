"""What was measured while revisions ran, of them and around them, and what follows from it. Models only.

How it is measured: ``lockkeeper.costs``, ``lockkeeper.monitoring``; how it is judged: ``lockkeeper.risk``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from pydantic import Field

from lockkeeper.fact import Fact


class LockHold(Fact):
    """One lock on a table that others may have had to wait for."""

    table: str
    mode: str = Field(description="As the manual names it, e.g. ACCESS EXCLUSIVE.")
    held_s: float = Field(description="From the beginning of the statement that took it to its end.")
    rows: int | None = Field(default=None, description="Estimated, before the revision.")
    made_by_plan: bool = Field(default=False, description="No application can know the table yet.")
    materialized: bool = Field(default=False, description="A materialized view, which no application writes.")
    seen: str = Field(
        default="exactly",
        description="exactly (read by the session itself), by sampling, or not: then its text says so",
    )

    @property
    def blocks(self) -> str | None:
        """What of an application has to wait: ``reads and writes``, ``writes`` or nothing."""
        if self.mode == "ACCESS EXCLUSIVE":
            return "reads and writes"
        if self.materialized:
            return None
        return "writes" if self.mode in ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE") else None

    def __str__(self) -> str:
        """Say it in a line, e.g. ``ACCESS EXCLUSIVE on public.users for 4.2 s (1,200,000 rows)``."""
        size = "" if self.rows is None else f" ({self.rows:,} rows)"
        return f"{self.mode} on {self.table} for {self.held_s:.3g} s{size}"


class RowHold(Fact):
    """Rows of a table that one transaction has updated or deleted: who writes them waits for its end."""

    table: str
    rows: int
    held_s: float = Field(description="From the beginning of the transaction, so rather too long.")

    def __str__(self) -> str:
        """Say it in a line."""
        written = f"{self.rows:,} rows of {self.table} updated or deleted"
        return f"{written} in one transaction of {self.held_s:.3g} s"


class RevisionCost(Fact):
    """What a revision cost the others on the server, measured while it ran. See docs/rehearsal.md."""

    locks: tuple[LockHold, ...] = ()
    rewritten: dict[str, int] = Field(default_factory=dict, description="Table -> bytes afterwards.")
    scanned: dict[str, int] = Field(
        default_factory=dict, description="Table -> rows read by sequential scans in transactions."
    )
    written: tuple[RowHold, ...] = Field(
        default=(), description="In transactions, of tables that were there before: the most of each."
    )
    indexes_built: tuple[str, ...] = Field(default=(), description="On tables that were there before.")
    wal_bytes: int | None = Field(default=None, description="Of the whole server meanwhile.")
    growth_bytes: int | None = Field(default=None, description="Of the database.")
    temp_bytes: int | None = Field(default=None, description="Temporary files, of the database.")


class SelfWait(Fact):
    """One session of a migration waits for a lock that another one of the same migration holds.

    PostgreSQL sees no deadlock in that: the holder waits for nothing on the server, and the process that
    should end it waits for the other. Statements are shortened and redacted.
    """

    waiter: int = Field(description="Process number of the session that waits.")
    waiting_statement: str
    wanted: str = Field(description="e.g. ShareRowExclusiveLock on public.users")
    holder: int
    holder_state: str = Field(description="As pg_stat_activity has it.")
    holder_statement: str = Field(description="Its last, or present one.")
    opened_by: str = Field(description="Which step opened the holder's session.")
    leftover: bool = Field(description="That was an earlier step: a fresh process is without that session.")
    unsaved: bool = Field(default=False, description="Sessions left open hold changes never committed.")
    after_downgrade: bool = Field(default=False, description="That step was a downgrade.")

    @property
    def hopeless(self) -> bool:
        """Whether the lock will never be let go: its holder has nothing to do."""
        return self.holder_state.startswith("idle in transaction")

    def __str__(self) -> str:
        """Name both sessions and their statements."""
        return (
            f"its session {self.waiter} ({self.waiting_statement}) waits for {self.wanted}, "
            f"held by its session {self.holder} ({self.holder_statement}), "
            f"which is {self.holder_state} and was opened by {self.opened_by}"
            + ("; changes are in it that were never committed" if self.unsaved else "")
        )


class RevisionEstimate(Fact):
    """How long one revision took in the rehearsal, and what it cost; production must expect about that."""

    revision: str
    duration_s: float
    cost: RevisionCost | None = Field(default=None, description="None when it could not be measured.")
    changes: tuple[str, ...] = Field(default=(), description="What it did to the schema, observed.")
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None, description="See RevisionTiming: rows that it wrote, in the copy or its sample."
    )
    data_changes: tuple[str, ...] = Field(
        default=(), description="What became of rows that were there before, where there is no way back."
    )
    irreversible_because: str | None = Field(
        default=None, description="The project declares that there is no way back, so none was rehearsed."
    )
    leaves: tuple[str, ...] = Field(
        default=(), description="What its downgrade leaves, each with why the project allows it."
    )


class WayBack(Fact):
    """One way back to before a plan, as it was gone on the rehearsal's copy."""

    way: str = Field(description="downgrade, or swap: another database takes the failed one's place.")
    worked: bool | None = Field(description="None when it was not gone at all.")
    duration_s: float | None = Field(
        default=None,
        description=(
            "Of the downgrade: with the start of its process, without the proof that follows; scaled as the "
            "upgrades are. Of the swap: for how long nobody could connect."
        ),
    )
    why: str = Field(default="", description="Why it did not work, or was not gone.")
    blocked_by: tuple[str, ...] = Field(
        default=(), description="The revisions that it ends at; empty: not known, or none."
    )


DOWNGRADE, SWAP = "downgrade", "swap"


class UnforeseenWrite(Fact):
    """Rows of a table that a revision wrote in production and not in the rehearsal."""

    revision: str
    table: str
    written: tuple[int, int, int] = Field(description="Inserted, updated, deleted by this revision.")
    own: tuple[int, int, int] | None = Field(
        description="By all revisions of the run; None when one of them cannot tell."
    )

    def __str__(self) -> str:
        """Say it in a line."""
        inserted, updated, deleted = self.written
        rows = f"{inserted} rows inserted, {updated} updated, {deleted} deleted"
        return (
            f"revision {self.revision} wrote to {self.table} in production ({rows}), and not in the rehearsal"
        )


class Danger(str, Enum):
    """What speaks against a revision."""

    BLOCKS = "blocks"
    UNMEASURED = "not measured"
    LINT = "lint"
    UNREAD = "not linted"
    NO_WAY_BACK = "no way back"


class RiskFinding(Fact):
    """One thing that a human may want to know before a revision reaches production."""

    kind: Danger
    revision: str
    subject: str = Field(description="The table, or the lint's rule.")
    message: str
    advice: str = ""
    held_s: float | None = None
    counts: bool = Field(default=True, description="Whether it is over the budget, or a danger that stands.")
    refuted_because: str | None = Field(default=None, description="Why the lint's danger is none here.")
    allowed_because: str | None = Field(
        default=None, description="The reason of the revision's own exemption from the lint's rule."
    )

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.kind.value, self.revision, self.subject


class Risk(Fact):
    """What a rehearsal says that a plan would do to a running application."""

    budget_ms: int
    blocking: str
    rehearsal: str = "full"
    sample_is_whole: bool = Field(default=False, description="A sampled rehearsal that has left every row.")
    estimates: tuple[RevisionEstimate, ...] = ()
    findings: tuple[RiskFinding, ...] = ()
    not_linted: str = Field(default="", description="Empty, or which tool of the lint is not installed.")
    ways_back: tuple[WayBack, ...] = Field(default=(), description="Gone in the rehearsal after the plan.")

    @property
    def counting(self) -> tuple[RiskFinding, ...]:
        """The findings that a human should look at."""
        return tuple(one for one in self.findings if one.counts)

    @property
    def longest_block_s(self) -> float:
        """The longest time that others would have to wait for one lock."""
        return max((one.held_s or 0.0 for one in self.findings if one.kind is Danger.BLOCKS), default=0.0)

    def worse_than(self, approved: Risk, tolerance: float = 1.5, noise_s: float = 0.25) -> list[str]:
        """Say what somebody who has approved the other risk has not approved; [] when nothing.

        The same lock held a little longer is no new risk: two rehearsals never take the same time, and of
        a lock that is held for milliseconds nearly all is noise.
        """
        known: Mapping[tuple[str, str, str], RiskFinding] = {one.key: one for one in approved.counting}
        return [
            one.message
            for one in self.counting
            if one.key not in known
            or (one.held_s or 0.0) > tolerance * (known[one.key].held_s or 0.0) + noise_s
        ]


class ProbeSummary(Fact):
    """How long the probe query took before, beside and after a migration: the middle one, and the longest."""

    before_ms: float | None = None
    during_ms: float | None = None
    after_ms: float | None = None
    longest_ms: float = 0.0
    probes: int = 0


Point = tuple[float, float]
"""Seconds since a series began, and a value."""


class ImpactSeries(Fact):
    """What the monitor saw over time, thinned to the peaks: a few hundred points a curve."""

    started_at: datetime
    blocked_sessions: tuple[Point, ...] = Field(default=(), description="By the migration, at once.")
    longest_wait_s: tuple[Point, ...] = Field(default=(), description="For a lock of the migration.")
    active_sessions: tuple[Point, ...] = ()
    size_bytes: tuple[Point, ...] = Field(default=(), description="Of the database.")
    latency_before_ms: tuple[Point, ...] = Field(default=(), description="Of the probe query.")
    latency_during_ms: tuple[Point, ...] = ()
    latency_after_ms: tuple[Point, ...] = ()


class BackfillSeries(Fact):
    """How a backfill went over time in one run, thinned to the peaks: a few hundred points a curve."""

    started_at: datetime
    rows_per_s: tuple[Point, ...] = Field(default=(), description="Between two looks, rests included.")
    latency_ms: tuple[Point, ...] = Field(default=(), description="Of the throttle's probe query.")


class MonitorSummary(Fact):
    """What the monitor saw beside a migration, and what it did."""

    samples: int = 0
    max_blocked_sessions: int = 0
    longest_block_s: float = 0.0
    blockers: tuple[str, ...] = ()
    size_before_bytes: int | None = None
    size_after_bytes: int | None = None
    failed_samples: int = 0
    probe: ProbeSummary | None = None
    cancelled: str | None = Field(default=None, description="Why the impact budget ended the migration.")
    ended_sessions: tuple[str, ...] = Field(default=(), description="Others' sessions, ended by policy.")
    throttled: bool = Field(default=False, description="Backfills were asked to pause.")
    alerts: tuple[str, ...] = Field(default=(), description="What was told while it ran.")
    problems: tuple[str, ...] = Field(default=(), description="What the monitor could not do.")
    series: ImpactSeries | None = Field(default=None, description="None when nothing could be sampled.")
