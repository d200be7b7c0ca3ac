"""A run's story for people: Markdown for Prefect, files and CI summaries, and a rich table for terminals.

Pure: the same report always gives the same text. Every piece of text is redacted and loses its control
characters here, at the edge, and what is special in Markdown is escaped, so that a table named ``a|b`` or
an error with backticks cannot break the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lockkeeper.markdown import (
    broken,
    bullets,
    code_span,
    escape_markdown,
    fenced,
    markdown_table,
    narrow_table,
)
from lockkeeper.markdown import safe_link as safe_link
from lockkeeper.models import CheckState, DrillReport, Outcome, RunReport, Step, StepState
from lockkeeper.risk_report import COST_HEADER, cost_rows, risk_lines
from lockkeeper.text_units import format_duration as format_duration
from lockkeeper.text_units import format_size as format_size
from lockkeeper.text_units import plain as plain

HEADLINES = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.NOTHING_TO_DO: "nothing to do",
    Outcome.REFUSED: "refused before anything was touched",
    Outcome.FAILED: "failed",
    Outcome.UNCHANGED: "failed, the database is unchanged",
    Outcome.RECOVERED: "failed and was recovered, the database is as before",
    Outcome.NEEDS_HUMAN: "needs a human",
    Outcome.NEEDS_APPROVAL: "needs approval, nothing was changed",
    Outcome.WAITING: "waits for approval",
    Outcome.REJECTED: "was rejected, it stays where it is",
    Outcome.ABORTED: "was aborted, everything is as before",
    None: "still running",
}
STYLES = {
    Outcome.SUCCEEDED: "green",
    Outcome.NOTHING_TO_DO: "green",
    Outcome.REFUSED: "yellow",
    Outcome.NEEDS_HUMAN: "bold red",
    Outcome.NEEDS_APPROVAL: "yellow",
    Outcome.WAITING: "blue",
    None: "blue",
}
_STEP_STYLES = {StepState.DONE: "green", StepState.FAILED: "red", StepState.RUNNING: "blue"}
PARKED_SHOWN = 20
Rows = Sequence[Sequence[str]]


def headline(report: RunReport) -> str:
    """Return the run in one line: operation, target and how it ended."""
    operation = {"migrate": "Migration"}.get(report.operation, report.operation.capitalize())
    return plain(f"{operation} of {report.target}: {HEADLINES[report.outcome]}")


def facts(report: RunReport) -> list[tuple[str, str]]:
    """Return what was run, by whom, when and how long, as label and value."""
    rows = [("Target", report.target), ("Database", report.database)]
    if report.requested_revision:
        rows.append(("Asked for", report.requested_revision))
    if report.plan:
        rows.append(("Revision before", ", ".join(report.plan.before) or "none"))
        rows.append(("Revision planned", ", ".join(report.plan.after) or "none"))
    if report.initiator:
        rows.append(("Started by", report.initiator))
    rows += [
        ("Started at", report.started_at.strftime("%Y-%m-%d %H:%M:%S %Z").strip()),
        ("Duration", format_duration(report.duration_s)),
    ]
    if report.backup_id:
        rows.append(("Backup", report.backup_id))
    if report.drill:
        rows.append(("Last drill" if report.operation != "drill" else "Drill", drill_summary(report.drill)))
    return [*rows, ("Run", report.run_id)]


def drill_summary(drill: DrillReport) -> str:
    """Return in one line what a recovery from storage would take, and what it would lose."""
    loses = "loses nothing" if drill.loss_window_s == 0 else "without what was written since the backup"
    return (
        f"{format_duration(drill.predicted_recovery_s)} to recover {format_size(drill.database_bytes)} from "
        f"storage ({drill.started_at:%Y-%m-%d}), objective {format_duration(drill.objective_s)}, {loses}"
    )


def step_rows(report: RunReport) -> list[tuple[str, str, str, str]]:
    """Return name, state, duration and detail of every step."""
    return [(step.name, step.state.value, _step_duration(step), step.detail) for step in report.steps]


def _step_duration(step: Step) -> str:
    unmeasured = step.state in (StepState.SKIPPED, StepState.RUNNING)
    return "" if unmeasured else format_duration(step.duration_s)


def _beside_rehearsal(what: str, rehearsed_s: float | None) -> str:
    return what if rehearsed_s is None else f"{what} ({format_duration(rehearsed_s)} rehearsed)"


def revision_rows(report: RunReport) -> list[tuple[str, str, str, str, str]]:
    """Return id, message, duration, attempts and lock time-outs of every revision; planned ones last."""
    messages = {step.id: step.message for step in report.plan.steps} if report.plan else {}
    rows = [
        (
            timing.revision, messages.get(timing.revision, ""),
            _beside_rehearsal(format_duration(timing.duration_s), timing.rehearsed_s),
            str(timing.attempts), str(timing.lock_timeouts),
        )
        for timing in report.revisions
    ]  # fmt: skip
    applied = {timing.revision for timing in report.revisions}
    pending = "planned" if report.outcome in (None, Outcome.SUCCEEDED) else "not applied"
    expected = {one.revision: one.duration_s for one in report.risk.estimates} if report.risk else {}
    return rows + [
        (name, message, _beside_rehearsal(pending, expected.get(name)), "", "")
        for name, message in messages.items()
        if name not in applied
    ]


def recovery_rows(report: RunReport) -> list[tuple[str, str, str, str]]:
    """Return rung, whether it was enough, duration and reason of every attempt to recover."""
    return [
        (one.rung, "yes" if one.succeeded else "no", format_duration(one.duration_s), one.reason)
        for one in report.recovery
    ]


def monitor_facts(report: RunReport) -> list[str]:
    """Return what the monitor saw beside the migration, one sentence each."""
    seen = report.monitor
    if seen is None:
        return []
    if seen.samples == 0:
        return [f"The monitor saw nothing: none of its {seen.failed_samples} samples could be taken."]
    lines = [
        f"{seen.samples} samples; at most {seen.max_blocked_sessions} sessions were blocked at once, "
        f"the longest for {format_duration(seen.longest_block_s)}."
    ]
    lines += [f"Blocked others: {blocker}" for blocker in seen.blockers]
    if seen.size_before_bytes is not None and seen.size_after_bytes is not None:
        sizes = f"{format_size(seen.size_before_bytes)} before, {format_size(seen.size_after_bytes)} after"
        lines.append(f"Size of the database: {sizes}.")
    if seen.failed_samples:
        lines.append(f"{seen.failed_samples} samples could not be taken.")
    return lines


def restore_facts(report: RunReport) -> list[str]:
    """Return what a restore did, one sentence each."""
    done = report.restore
    if done is None:
        return []
    if done.instance is not None:
        used = "Applications were pointed at it" if done.instance.switched else "No application uses it yet"
        where = f"{done.instance.host}:{done.instance.port}"
        return [
            f"Backup {done.backup_id} came back as a server of its own on {where}, as of "
            f"{done.instance.recovery_lsn}, in {format_duration(done.duration_s)}. {used}."
        ]
    lines = [
        f"Backup {done.backup_id} now serves as {done.database}.",
        f"Writes were refused for {format_duration(done.fence_s)}; "
        f"the restore took {format_duration(done.duration_s)}.",
    ]
    if done.replayed_changes is not None:
        lines.append(
            f"{done.replayed_changes} changes that applications had made since the backup were carried over."
        )
    if done.parked:
        where = f" They are kept in the table {done.parked_table}." if done.parked_table else ""
        shown = done.parked[:PARKED_SHOWN]
        lines.append(f"{len(done.parked)} writes could not be carried over and are parked.{where}")
        lines += [f"Parked: {write}" for write in shown]
    if done.quarantine_database:
        lines.append(
            f"The former database is kept as {done.quarantine_database}; drop it when it is not needed."
        )
    return [*lines, *(f"Warning: {warning}" for warning in done.warnings)]


def check_summary(report: RunReport) -> str | None:
    """Return how many checks were made, when all were OK; None when some were not, or none were made."""
    if not report.checks or any(check.state is not CheckState.OK for check in report.checks):
        return None
    return "1 check, OK." if len(report.checks) == 1 else f"{len(report.checks)} checks, all OK."


def markdown_report(report: RunReport) -> str:
    """Return the whole story as Markdown (GitHub's tables), for Prefect's artifacts, files and CI."""
    parts = [f"# {escape_markdown(headline(report))}"]
    if link := safe_link(report.link):
        parts.append(f"[Open the run]({link})")
    if report.error:
        parts += ["## What went wrong", fenced(broken(plain(report.error)))]
    if report.next_command:
        parts += ["## What to do next", fenced(report.next_command, "sh")]
    parts.append(markdown_table(("", ""), [(name, code_span(value)) for name, value in facts(report)]))
    parts += _markdown_recovery(report)
    if report.steps:
        parts += ["## Steps", *narrow_table(("Step", "State", "Duration", "Detail"), step_rows(report))]
    if revisions := revision_rows(report):
        header = ("Revision", "Message", "Duration", "Attempts", "Lock time-outs")
        rows = [(code_span(row[0]), *map(escape_markdown, row[1:])) for row in revisions]
        parts += ["## Revisions", markdown_table(header, rows)]
    parts += _markdown_risk(report)
    parts += _markdown_checks(report)
    if lines := monitor_facts(report):
        parts += ["## Beside the migration", bullets(lines)]
    if report.warnings:
        parts += ["## Warnings", bullets(report.warnings)]
    return "\n\n".join(parts) + "\n"


def _markdown_recovery(report: RunReport) -> list[str]:
    parts = []
    if report.recovery:
        parts += ["## Recovery", *narrow_table(("Rung", "Enough", "Duration", "Why"), recovery_rows(report))]
    if lines := restore_facts(report):
        parts += ["## Restore", bullets(lines)]
    return parts


def _markdown_risk(report: RunReport) -> list[str]:
    lines, rows = risk_lines(report), cost_rows(report)
    table = markdown_table(COST_HEADER, [tuple(map(escape_markdown, row)) for row in rows])
    parts = [bullets(lines)] * bool(lines) + [table] * bool(rows)
    return ["## What it does to the application", *parts] if parts else []


def _markdown_checks(report: RunReport) -> list[str]:
    if summary := check_summary(report):
        return ["## Checks", summary]
    rows = [
        (check.name, check.state.value, check.message)
        for check in report.checks
        if check.state is not CheckState.OK
    ]
    return ["## Checks that were not OK", *narrow_table(("Check", "State", "Message"), rows)] if rows else []


def terminal_report(report: RunReport) -> RenderableType:
    """Return the story for ``rich.console.Console.print``; also readable without colours.

    What to do next is not in it: a command that is broken into lines cannot be copied.
    """
    parts: list[RenderableType] = [Text(headline(report), style=STYLES.get(report.outcome, "red"))]
    if report.error:
        parts.append(_indented(plain(report.error)))
    parts.append(_grid(facts(report)))
    parts += _terminal_recovery(report)
    if report.steps:
        parts.append(_titled("Steps", _steps_table(report)))
    if rows := revision_rows(report):
        header = ("revision", "message", "duration", "attempts", "lock time-outs")
        parts.append(_titled("Revisions", text_table(header, rows)))
    parts += _terminal_risk(report)
    parts += _terminal_checks(report)
    for title, lines in (("Beside the migration", monitor_facts(report)), ("Warnings", report.warnings)):
        if lines:
            parts.append(_titled(title, _indented("\n".join(map(plain, lines)))))
    return Group(*parts)


def _terminal_recovery(report: RunReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if report.recovery:
        parts.append(
            _titled("Recovery", text_table(("rung", "enough", "duration", "why"), recovery_rows(report)))
        )
    if lines := restore_facts(report):
        parts.append(_titled("Restore", _indented("\n".join(map(plain, lines)))))
    return parts


def _terminal_risk(report: RunReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if lines := risk_lines(report):
        parts.append(_titled("What it does to the application", _indented("\n".join(map(plain, lines)))))
    if rows := cost_rows(report):
        parts.append(_titled("Locks", text_table(COST_HEADER, rows)))
    return parts


def _terminal_checks(report: RunReport) -> list[RenderableType]:
    if summary := check_summary(report):
        return [Text(summary)]
    rows = [
        (one.name, one.state.value, one.message) for one in report.checks if one.state is not CheckState.OK
    ]
    if not rows:
        return []
    return [_titled("Checks that were not OK", text_table(("check", "state", "message"), rows))]


def _steps_table(report: RunReport) -> Table:
    table = text_table(("step", "state", "duration", "detail"), ())
    for step, row in zip(report.steps, step_rows(report), strict=True):
        name, state, duration, detail = (Text(plain(cell)) for cell in row)
        state.stylize(_STEP_STYLES.get(step.state, "dim"))
        table.add_row(name, state, duration, detail)
    return table


def text_table(header: Sequence[str], rows: Rows) -> Table:
    """Return a table without frames; cells are redacted text, never markup."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, overflow="fold", justify="right" if name in ("duration", "size") else "left")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _grid(rows: Rows) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(plain(value)))
    return grid


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), body)
