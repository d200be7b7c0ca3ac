"""What somebody reads before approving a migration: all that is known of it, in one place. Pure functions.

The same facts stand above the form in Prefect's UI and on the terminal. Lists, no tables: the form is narrow,
and would cut off what matters most.
"""

from __future__ import annotations

from collections.abc import Iterator

from lockkeeper.markdown import bullets, escape_markdown, safe_link
from lockkeeper.measured import RevisionEstimate
from lockkeeper.models import RunReport
from lockkeeper.reports import drill_summary
from lockkeeper.risk_report import (
    cost_rows,
    estimate_lines,
    quiet_lines,
    recovery_lines,
    rehearsed_line,
    verdict_lines,
)
from lockkeeper.text_units import format_duration, plain

REVISIONS_SHOWN = 20
"""Of which everything is told; the report has the others."""
Section = tuple[str, list[str]]


def approval_markdown(report: RunReport, timeout_s: float) -> str:
    """Return the facts and the choices that stand above the form.

    Args:
        report: of the run that asks.
        timeout_s: how long an answer is waited for.
    """
    title, *rest = _sections(report)
    parts = [f"## {escape_markdown(title[0])}", bullets(title[1])]
    if link := safe_link(report.link):
        parts.append(f"[The run, with its whole report]({link})")
    for name, lines in rest:
        parts += [f"### {escape_markdown(name)}", bullets(lines)]
    ends = format_duration(timeout_s)
    return "\n\n".join([
        *parts,
        "### Your answer",
        "- **approve**: the backup and the rehearsal are made again, since others write meanwhile; then the "
        "revisions are applied. You are asked again only when something has become worse.\n"
        "- **reject** or **abort**: the run ends with everything as it is.",
        f"Nothing was changed so far, and no lock is held. Without an answer within {ends} the run ends as "
        "failed, the team is told, and everything stays as it is.",
    ])  # fmt: skip


def approval_text(report: RunReport) -> str:
    """Return the same facts for a terminal."""
    return "\n\n".join(
        "\n".join([plain(name), *(f"  {plain(line)}" for line in lines)]) for name, lines in _sections(report)
    )


def _sections(report: RunReport) -> Iterator[Section]:
    count = len(report.plan.steps) if report.plan else 0
    revisions = "1 revision" if count == 1 else f"{count} revisions"
    yield f"Apply {revisions} to {report.target}?", list(_facts(report))
    risk = report.risk
    if risk is None:
        return
    against = verdict_lines(risk)
    yield (
        "The verdict",
        [*quiet_lines(risk), *against] if against else [f"{quiet_lines(risk)[0]} The policy asks anyway."],
    )
    works = [line for one in risk.estimates[:REVISIONS_SHOWN] for line in _work(one, report)]
    more = len(risk.estimates) - REVISIONS_SHOWN
    if works:
        yield "What each revision does", works + [f"and {more} more: see the report."] * (more > 0)


def _facts(report: RunReport) -> Iterator[str]:
    where = ""
    if report.plan:
        before, after = (", ".join(names) or "base" for names in (report.plan.before, report.plan.after))
        where = f", from {before} to {after}"
    yield f"Database: {report.database}{where}"
    if report.risk:
        yield rehearsed_line(report.risk)
        measured = [one for one in report.risk.estimates if one.duration_s]
        if measured:
            yield f"Expected to take: {format_duration(sum(one.duration_s for one in measured))}"
        yield from recovery_lines(report.risk)
    if report.backup_id:
        yield f"Backup: {report.backup_id}, proven by restoring it"
    if report.drill:
        yield f"Last drill: {drill_summary(report.drill)}"
    if report.initiator:
        yield f"Started by: {report.initiator}"
    yield f"Run: {report.run_id}"


def _work(estimate: RevisionEstimate, report: RunReport) -> Iterator[str]:
    messages = {step.id: step.message for step in report.plan.steps} if report.plan else {}
    name = f"{estimate.revision} {messages.get(estimate.revision, '')}".rstrip()
    yield f"{name}: {format_duration(estimate.duration_s)} in the rehearsal"
    for revision, table, mode, rehearsed, _production, waits in cost_rows(report):
        if revision == estimate.revision:
            yield f"{revision}: {mode} on {table} for {rehearsed}, waits: {waits}"
    yield from (f"{estimate.revision}: {line}" for line in estimate_lines(estimate, report))
