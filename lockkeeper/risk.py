"""Judges what a plan would do to a running application: measured locks against the budget, and the lint.

The measurement has the last word where it can: a danger that the lint sees in the text, and that took no
time on a copy of production's own data, is shown as refuted. What could not be measured or read counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockkeeper.config import Policies
from lockkeeper.errors import ConfigurationError, LockkeeperError
from lockkeeper.measured import (
    Danger,
    LockHold,
    RevisionCost,
    RevisionEstimate,
    Risk,
    RiskFinding,
    RowHold,
    WayBack,
)
from lockkeeper.models import RevisionTiming

if TYPE_CHECKING:
    from lockkeeper.lint import LintFinding, LintReport

READS_TOO = "reads and writes"
ABOUT_ROWS = frozenset({"whole-table-write", "write-with-ddl"})
"""Rules about rows that stay locked until the transaction ends: no lock on the table shows them."""
ABOUT_LOCKS = ABOUT_ROWS | {
    "add-column-rewrite", "attach-partition-without-check", "check-without-not-valid", "column-type-change",
    "domain-constraint", "exclusion-constraint", "foreign-key-without-not-valid",
    "index-without-concurrently", "lock-held-while-scanning", "lock-table", "primary-key-without-index",
    "set-not-null-without-check", "table-rewrite", "unique-without-index", "validate-in-same-transaction",
}  # fmt: skip
"""Rules about how long a lock is held, which a measurement can refute. The others are about what breaks, or
in ``WEAKER_LOCK_WOULD_DO``."""
WEAKER_LOCK_WOULD_DO = frozenset(
    {
        "add-column-with-foreign-key", "detach-partition-without-concurrently",
        "drop-index-without-concurrently", "partition-of-without-attach", "refresh-without-concurrently",
        "reindex-without-concurrently",
    }
)  # fmt: skip
"""Rules about an ACCESS EXCLUSIVE for which PostgreSQL has a weaker lock to the same effect. It waits for
every reader there is, a report or a pg_dump of an hour, and whoever comes later waits behind it. Nobody uses
the copy of a rehearsal, so that it was held for a millisecond there refutes nothing. A lock to which there is
no weaker one (ADD COLUMN) is no finding of the lint, and tables that are new or tiny are spared by it."""
MANY_ROWS = 10_000
"""Rows of one table, in one transaction, of which an application is likely to want to write one meanwhile."""
HEADROOM = 3
"""What grows with the table must take no more than this part of the budget on the copy to be refuted: nobody
else uses the copy, its pages are warm, and production has more rows tomorrow (one SET NOT NULL of a million
rows was within 100 ms alone, and over it on a busy machine)."""


@dataclass(frozen=True)
class Linted:
    """What the lint says: a report, or why there is none: it failed, or a tool of it is missing."""

    report: LintReport | None = None
    failure: str = ""
    missing: str = ""


def linted(lint: Callable[[], LintReport]) -> Linted:
    """Return what ``lint`` returns, or why it could not."""
    try:
        return Linted(lint())
    except ConfigurationError as error:
        return Linted(missing=str(error))
    except LockkeeperError as error:
        return Linted(failure=str(error))


def judge(
    rehearsed: Sequence[RevisionEstimate],
    policies: Policies,
    lint: Linted,
    ways_back: Sequence[WayBack] = (),
) -> Risk:
    """Return the verdict over a plan that was rehearsed.

    Args:
        rehearsed: its revisions, in their order.
        policies: the budget, and which locks count against it.
        lint: what the lint says of the same revisions.
        ways_back: how the ways back went in the rehearsal.
    """
    findings: list[RiskFinding] = []
    for one in rehearsed:
        findings += _blocking(one, policies)
    by_revision = {one.revision: one for one in rehearsed}
    findings += _of_lint(lint, by_revision, policies)
    findings += _without_way_back(ways_back)
    return Risk(
        budget_ms=policies.max_block_ms,
        blocking=policies.blocking,
        rehearsal=policies.rehearsal,
        estimates=tuple(rehearsed),
        findings=tuple(findings),
        not_linted=lint.missing,
        ways_back=tuple(ways_back),
    )


def _without_way_back(ways: Sequence[WayBack]) -> Iterator[RiskFinding]:
    """Yield what failed where nothing else was seen to work; one way back is enough."""
    if any(one.worked for one in ways):
        return
    for one in ways:
        if one.worked is False:
            message = f"the {one.way} failed in the rehearsal, and no other way back was proven: {one.why}"
            revision = one.blocked_by[0] if one.blocked_by else ""
            yield RiskFinding(kind=Danger.NO_WAY_BACK, revision=revision, subject=one.way, message=message)


def unmeasured(rehearsal: str, lint: Linted) -> Risk:
    """Return the verdict over a plan of which a rehearsal has told nothing: that counts, as the lint does."""
    message = f"Nothing was measured: the target's policy is rehearsal={rehearsal}."
    finding = RiskFinding(kind=Danger.UNMEASURED, revision="", subject="the plan", message=message)
    return Risk(
        budget_ms=0,
        blocking="writes",
        rehearsal=rehearsal,
        findings=(finding, *_of_lint(lint, {}, Policies())),
        not_linted=lint.missing,
    )


def needs_approval(policy: str, risk: Risk) -> bool:
    """Whether, by the policy ``approval``, a human must approve before production is touched."""
    return policy == "always" or (policy == "over-budget" and bool(risk.counting))


def over_budget(applied: Sequence[RevisionTiming], risk: Risk) -> list[str]:
    """Say which locks production's own run has held for longer than the budget."""
    return [
        f"{timing.revision}: {hold} in production, over the budget of {risk.budget_ms} ms"
        for timing in applied
        if timing.cost is not None
        for hold in counted(timing.cost, risk.blocking)
        if _is_over(hold, risk.budget_ms)
    ]


def _blocking(one: RevisionEstimate, policies: Policies) -> Iterator[RiskFinding]:
    if one.cost is None:
        message = f"{one.revision}: its locks could not be measured."
        yield RiskFinding(
            kind=Danger.UNMEASURED, revision=one.revision, subject="the revision", message=message
        )
        return
    for hold in counted(one.cost, policies.blocking):
        over = _is_over(hold, policies.max_block_ms)
        verdict = "over" if over else "within"
        yield RiskFinding(
            kind=Danger.BLOCKS,
            revision=one.revision,
            subject=hold.table,
            message=f"{hold}: {hold.blocks} wait, {verdict} the budget of {policies.max_block_ms} ms",
            held_s=hold.held_s,
            counts=over,
        )
    for rows in rows_over(one.cost, policies):
        yield RiskFinding(
            kind=Danger.BLOCKS,
            revision=one.revision,
            subject=f"rows of {rows.table}",
            message=f"{rows}: who writes one of them waits, over the budget of {policies.max_block_ms} ms",
            held_s=rows.held_s,
        )


def rows_over(cost: RevisionCost, policies: Policies) -> list[RowHold]:
    """Return which many rows stayed locked for longer than the budget: no lock on a table shows them."""
    if policies.blocking != "writes":
        return []
    return [one for one in cost.written if one.rows > MANY_ROWS and one.held_s * 1000 > policies.max_block_ms]


def counted(cost: RevisionCost, blocking: str) -> list[LockHold]:
    """Return the longest lock that counts of each table that an application can know, longest first.

    Of two that one statement has taken, the stronger: a reader must not be told that only writers wait.
    """
    longest: dict[str, LockHold] = {}
    for hold in sorted(cost.locks, key=lambda hold: (hold.held_s, hold.blocks == READS_TOO), reverse=True):
        reads_too = hold.blocks == READS_TOO
        if not hold.made_by_plan and (reads_too or (hold.blocks and blocking == "writes")):
            longest.setdefault(hold.table, hold)
    return list(longest.values())


def _is_over(hold: LockHold, budget_ms: float) -> bool:
    return hold.held_s * 1000 > budget_ms


def _of_lint(
    lint: Linted, rehearsed: Mapping[str, RevisionEstimate], policies: Policies
) -> Iterator[RiskFinding]:
    """Yield what the lint has found, what a comment allows, and that nothing was linted."""
    for finding in lint.report.findings if lint.report else ():
        if finding.counts:
            yield _linted(finding, rehearsed, policies)
        elif finding.allowed_because is not None:
            yield _allowed(finding)
    if lint.report is None:
        message = f"The revisions could not be linted: {lint.failure or lint.missing}"
        yield RiskFinding(kind=Danger.UNREAD, revision="", subject="the plan", message=message)


def _linted(
    finding: LintFinding, rehearsed: Mapping[str, RevisionEstimate], policies: Policies
) -> RiskFinding:
    from lockkeeper.lint import Severity

    measured = rehearsed.get(finding.revision or "")
    unread = finding.severity is Severity.UNKNOWN
    refuted = None if unread or measured is None else _refuted(finding.rule, measured, policies)
    return RiskFinding(
        kind=Danger.UNREAD if unread else Danger.LINT,
        revision=finding.revision or "",
        subject=finding.rule,
        message=f"{finding.rule}: {finding.message}",
        advice=finding.advice,
        counts=refuted is None,
        refuted_because=refuted,
    )


def _allowed(finding: LintFinding) -> RiskFinding:
    """Return what the revision's own comment takes upon itself: told to whoever approves, never hidden."""
    return RiskFinding(
        kind=Danger.LINT,
        revision=finding.revision or "",
        subject=finding.rule,
        message=f"{finding.rule}: {finding.message}",
        advice=finding.advice,
        counts=False,
        allowed_because=finding.allowed_because,
    )


def _refuted(rule: str, measured: RevisionEstimate, policies: Policies) -> str | None:
    """Say why the danger took no time on production's data; None when it stands."""
    if rule not in ABOUT_LOCKS or measured.cost is None:
        return None
    holds = counted(measured.cost, policies.blocking)
    limit = _reach(measured.cost, holds, policies.max_block_ms)
    allowed_ms = policies.max_block_ms / HEADROOM
    if measured.duration_s * 1000 <= allowed_ms:
        return f"the whole revision took {measured.duration_s:.3g} s on a copy of the data{limit}"
    if rule in ABOUT_ROWS or any(_is_over(hold, allowed_ms) for hold in holds):
        return None
    longest = max((hold.held_s for hold in holds), default=0.0)
    return f"no lock was held longer than {longest:.3g} s on a copy of the data{limit}"


def _reach(cost: RevisionCost, holds: Sequence[LockHold], budget_ms: int) -> str:
    """Say up to which size the measurement holds, of the table that reaches the budget first; or "".

    A lock under which a table is read takes as long as the table is large. Of one under which nothing is
    read the size says nothing.
    """
    growing = [hold for hold in holds if hold.rows and hold.held_s > 0 and cost.scanned.get(hold.table)]
    if not growing:
        return ""
    first = max(growing, key=lambda hold: hold.held_s)
    rows = float(f"{(first.rows or 0) * budget_ms / 1000 / first.held_s:.2g}")
    return (
        f"; {first.table} was read meanwhile, so at that pace it is over the budget of {budget_ms} ms "
        f"from about {rows:,.0f} rows on (now {first.rows:,})"
    )
