"""What a plan does to a running application, for people: rows and lines. Pure functions."""

from __future__ import annotations

from lockkeeper.measured import LockHold, RevisionCost, Risk
from lockkeeper.models import RunReport
from lockkeeper.text_units import format_duration, format_size

COST_HEADER = ("revision", "table", "lock", "rehearsed", "production", "who waits")
_REHEARSALS = {
    "full": "on a restored copy, with its data compared",
    "sampled": (
        "on a sample of a restored copy's rows, with their data compared (rehearsal=sampled); times are "
        "scaled by the number of rows, and what only other rows would show was not seen"
    ),
    "schema-only": "on a restored copy; data was not compared (rehearsal=schema-only)",
    "off": "not at all (rehearsal=off)",
}


def cost_rows(report: RunReport) -> list[tuple[str, str, str, str, str, str]]:
    """Return one line for each lock that anybody has to wait for, as predicted and as it was."""
    predicted = {one.revision: one.cost for one in report.risk.estimates} if report.risk else {}
    happened = {one.revision: one.cost for one in report.revisions}
    rows = []
    for revision in dict.fromkeys([*predicted, *happened]):
        here, there = _blocking(predicted.get(revision)), _blocking(happened.get(revision))
        for key in dict.fromkeys([*here, *there]):
            hold = here.get(key) or there[key]
            rows.append((
                revision, hold.table, hold.mode, _held(here.get(key)), _held(there.get(key)),
                _waiting(hold),
            ))  # fmt: skip
    return rows


def _blocking(cost: RevisionCost | None) -> dict[tuple[str, str], LockHold]:
    return {(one.table, one.mode): one for one in cost.locks if one.blocks} if cost else {}


def _held(hold: LockHold | None) -> str:
    return "" if hold is None else format_duration(hold.held_s)


def _waiting(hold: LockHold) -> str:
    return "nobody: the table is new" if hold.made_by_plan else str(hold.blocks)


def risk_lines(report: RunReport) -> list[str]:
    """Say what the verdict is, and what it rests on."""
    risk = report.risk
    if risk is None:
        return []
    lines = [f"Rehearsed {_REHEARSALS.get(risk.rehearsal, risk.rehearsal)}."]
    lines += verdict_lines(risk) or [
        f"Nothing is held against {'writers' if risk.blocking == 'writes' else 'readers'} for longer than "
        f"the budget of {risk.budget_ms} ms."
    ]
    for estimate in risk.estimates:
        lines += [f"{estimate.revision}: {text}" for text in _work(estimate.cost)]
    if risk.not_linted:
        lines.append(f"Not linted: {risk.not_linted}")
    if report.approval is not None:
        lines.append(f"{str(report.approval).capitalize()} ({report.approval.recorded_by or 'here'}).")
    return lines


def verdict_lines(risk: Risk) -> list[str]:
    """Say what a human should look at first, then what was refuted."""
    counting = [f"{one.revision or 'plan'}: {one.message}" for one in risk.counting]
    refuted = [
        f"{one.revision}: refuted, {one.refuted_because}: {one.message}"
        for one in risk.findings
        if one.refuted_because
    ]
    return counting + refuted


def _work(cost: RevisionCost | None) -> list[str]:
    """Say what a revision made the server do, one sentence each."""
    if cost is None:
        return ["its cost could not be measured."]
    lines = [f"rewrites {table} ({format_size(size)})." for table, size in cost.rewritten.items()]
    lines += [f"reads all of {table} ({rows:,} rows)." for table, rows in cost.scanned.items() if rows > 1000]
    if cost.indexes_built:
        lines.append(f"builds {', '.join(cost.indexes_built)}.")
    written = [
        f"{format_size(size)} of {what}"
        for what, size in (
            ("WAL", cost.wal_bytes), ("growth", cost.growth_bytes), ("temporary files", cost.temp_bytes),
        )
        if size is not None and size > 0
    ]  # fmt: skip
    return [*lines, f"writes {', '.join(written)}."] if written else lines


def risk_markdown(report: RunReport) -> str:
    """Return the facts that stand above the form in which somebody approves or rejects."""
    plan = ", ".join(step.id for step in report.plan.steps) if report.plan else "nothing"
    counting = verdict_lines(report.risk) if report.risk else []
    lines = [
        f"**{report.target}** ({report.database}): {plan}",
        "",
        *(f"- {line}" for line in counting or ["Nothing is over the budget; the policy asks anyway."]),
        "",
        "Nothing was changed so far, and no lock is held. After an approval the backup and the rehearsal are "
        "made again; you are asked again only when something has become worse.",
    ]
    return "\n".join(lines)
