"""What a plan does to a running application, for people: rows and lines. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lockkeeper.measured import LockHold, RevisionCost, RevisionEstimate, Risk, WayBack
from lockkeeper.models import RunReport
from lockkeeper.text_units import format_duration, format_size

COST_HEADER = ("revision", "table", "lock", "rehearsed", "production", "who waits")
CHANGES_SHOWN = 20
"""Of one revision, in a line; --json has them all."""
_REHEARSALS = {
    "full": "on a restored copy, with its data compared",
    "sampled": (
        "on a sample of a restored copy's rows, with their data compared (rehearsal=sampled); times are "
        "scaled by the number of rows, and what only other rows would show was not seen"
    ),
    "schema-only": "on a restored copy; data was not compared (rehearsal=schema-only)",
    "off": "not at all (rehearsal=off)",
}
_WHOLE_SAMPLE = (
    "on a restored copy, with its data compared; no table has more rows than the sample may hold, so it "
    "holds all of them (rehearsal=sampled)"
)


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
    lines = [rehearsed_line(risk), *quiet_lines(risk), *verdict_lines(risk)]
    for estimate in risk.estimates:
        lines += [f"{estimate.revision}: {text}" for text in estimate_lines(estimate, report)]
    lines += recovery_lines(risk)
    if report.approval is not None:
        lines.append(f"{str(report.approval).capitalize()} ({report.approval.recorded_by or 'here'}).")
    return lines


def rehearsed_line(risk: Risk) -> str:
    """Say on what the plan was rehearsed, and what that cannot show."""
    how = _WHOLE_SAMPLE if risk.sample_is_whole else _REHEARSALS.get(risk.rehearsal, risk.rehearsal)
    return f"Rehearsed {how}."


def quiet_lines(risk: Risk) -> list[str]:
    """Say that nothing is over the budget, when nothing is."""
    whom = "writers" if risk.blocking == "writes" else "readers"
    quiet = f"Nothing is held against {whom} for longer than the budget of {risk.budget_ms} ms."
    return [] if risk.counting else [quiet]


def recovery_lines(risk: Risk) -> list[str]:
    """Say which ways back were gone in the rehearsal, how long they took, and what is known of the others."""
    went = [
        f"{one.way} {format_duration(one.duration_s)}"
        for one in risk.ways_back
        if one.worked and one.duration_s is not None
    ]
    lines = [f"Recovery rehearsed: {', '.join(went)}."] if went else []
    return lines + [_not_gone(one) for one in risk.ways_back if not one.worked]


def _not_gone(way: WayBack) -> str:
    what = "was not rehearsed" if way.worked is None else "failed in the rehearsal and is no way back"
    return f"The {way.way} {what}: {way.why}"


def failed_ways_back(risk: Risk) -> list[str]:
    """Say what the team should know although another way back works."""
    return [_not_gone(one) for one in risk.ways_back if one.worked is False]


def verdict_lines(risk: Risk) -> list[str]:
    """Say what a human should look at first, then what was refuted, and what the revisions allow."""
    counting = [f"{one.revision or 'plan'}: {one.message}" for one in risk.counting]
    refuted = [
        f"{one.revision}: refuted, {one.refuted_because}: {one.message}"
        for one in risk.findings
        if one.refuted_because
    ]
    allowed = [
        f"{one.revision}: allowed by its own comment, {one.allowed_because}: {one.message}"
        for one in risk.findings
        if one.allowed_because
    ]
    return counting + refuted + allowed


def estimate_lines(estimate: RevisionEstimate, report: RunReport) -> list[str]:
    """Say what one revision does, and whether there is a way back, one sentence each."""
    lines = []
    if estimate.irreversible_because is not None:
        lines.append(f"no way back, so none was rehearsed; declared: {estimate.irreversible_because}")
    lines += [f"changes data: {text}" for text in estimate.data_changes]
    lines += [f"its downgrade is not exact: {one}" for one in estimate.leaves]
    version_table = report.plan.version_table if report.plan else None
    risk = report.risk
    sample = risk is not None and risk.rehearsal == "sampled" and not risk.sample_is_whole
    lines += effect_lines(estimate.changes, estimate.own_writes, version_table, sample=sample)
    if estimate.own_writes is None:
        lines.append("which rows it writes could not be counted.")
    return lines + _work(estimate.cost)


def effect_lines(
    changes: Sequence[str],
    own_writes: Mapping[str, tuple[int, int, int]] | None,
    version_table: str | None = None,
    *,
    sample: bool = False,
) -> list[str]:
    """Say what a revision has changed: the schema, and the rows of which tables.

    Args:
        changes: in the schema, one sentence each.
        own_writes: table -> rows inserted, updated, deleted; None when that is not known.
        version_table: Alembic's own, which is left out.
        sample: the rows are those of a sample.
    """
    lines = []
    if changes:
        more = len(changes) - CHANGES_SHOWN
        shown = [*changes[:CHANGES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        lines.append(f"changes: {'; '.join(shown)}.")
    where = " (in the sample)" if sample else ""
    own = f".{version_table or 'alembic_version'}".replace('"', "")  # quoted where it need not be
    for table, counts in sorted((own_writes or {}).items()):
        if not f".{table}".replace('"', "").endswith(own):
            written = zip(counts, ("inserted", "updated", "deleted"), strict=True)
            told = ", ".join(f"{rows:,} {verb}" for rows, verb in written if rows)
            lines.append(f"writes rows of {table}: {told}{where}.")
    return lines


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
