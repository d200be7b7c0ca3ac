"""A rename in words: one line for a report, and the facts above an approver's form. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lockkeeper.rename import BackfillProgress, RenameStatus
from lockkeeper.renaming.request import RenameRequest
from lockkeeper.reports import format_duration, plain


@dataclass(frozen=True)
class Surroundings:
    """What is not in the ledger: the flag, and how the application fares."""

    flag: str
    flag_percent: int
    application: str


def rows_line(status: RenameStatus) -> str:
    """Say how many rows are filled, and which could not be."""
    parked = f", {status.rows_parked:,} set aside: `lockkeeper rename status` names them"
    return f"{status.rows_copied:,} rows filled" + (parked if status.rows_parked else "")


def parity_line(status: RenameStatus) -> str:
    """Say what is proven of the two columns, and when it was."""
    parity = status.parity
    if parity is None:
        return "not proven yet"
    proven = f"{parity.rows:,} rows compared in {parity.chunks:,} chunks"
    return f"{proven} at {parity.proven_at:%Y-%m-%d %H:%M:%S} UTC: {parity.differing or 'none'} differ"


def progress_line(status: RenameStatus | BackfillProgress) -> str:
    """Say how the backfill is doing."""
    parts = [f"{status.rows_copied:,} of about {status.rows_total:,} rows"]
    if status.rows_per_s:
        parts.append(f"{status.rows_per_s:,.0f} rows/s")
    if status.eta_s is not None:
        parts.append(f"{format_duration(status.eta_s)} left")
    if status.throttled_by:
        parts.append(f"waits: {', '.join(status.throttled_by)}")
    elif status.share_percent is not None:
        parts.append(f"rests: others use the server, it works {status.share_percent:g} % of its time")
    else:
        parts.append("not throttled")
    return ", ".join(parts)


def status_lines(status: RenameStatus) -> list[tuple[str, str]]:
    """Return what the ledger knows, as label and value."""
    rows = [
        ("stage", f"{status.stage} since {status.since:%Y-%m-%d %H:%M:%S} UTC"),
        ("backfill", progress_line(status) if status.stage == "backfilling" else rows_line(status)),
        ("parity", parity_line(status)),
        ("in the way now", "; ".join(status.blockers) or "nobody"),
        ("next", f"{status.next_step}: {status.next_lock}"),
    ]
    if status.quarantine_until:
        rows.append(("quarantine", f"until {status.quarantine_until:%Y-%m-%d %H:%M:%S} UTC"))
    return rows + [
        (stage, " ".join(part for part in (f"{at:%Y-%m-%d %H:%M:%S}", by, reason) if part))
        for at, stage, by, reason in status.history
    ]


def facts(status: RenameStatus, request: RenameRequest, around: Surroundings) -> list[tuple[str, str]]:
    """Return what was measured, as label and value."""
    return [
        ("Stage", f"{status.stage} since {status.since:%Y-%m-%d %H:%M:%S} UTC"),
        ("Backfill", rows_line(status)),
        ("Parity", parity_line(status)),
        ("Flag", f"{around.flag} is at {around.flag_percent} %"),
        ("Application", around.application),
        ("In the way now", "; ".join(status.blockers) or "nobody"),
        ("Next lock", status.next_lock),
    ]


def flip_question(status: RenameStatus, request: RenameRequest, around: Surroundings) -> str:
    """Return what the approver of the flip must know."""
    ramp = request.policy.ramp
    steps = ", ".join(f"{percent} %" for percent in ramp.percents)
    choices = [
        f"**approve**: the flag {_code(around.flag)} rises by {steps}, each step watched for "
        f"{format_duration(ramp.observe_s)}. It goes back to 0 % by itself when errors or a difference "
        "between the columns appear. No lock is taken that an application waits for.",
        "**reject**: nothing changes; both columns stay in step. Start again to be asked again.",
        "**abort**: the new column, its trigger and the flag go; the schema is what it was before.",
    ]
    title = f"Let applications read {request.change.new}?"
    return _page(title, request, facts(status, request, around), choices)


def drop_question(status: RenameStatus, request: RenameRequest, around: Surroundings) -> str:
    """Return what the approver of the drop must know."""
    policy, old = request.policy, _code(request.change.old)
    choices = [
        f"**approve**: the old column is hidden for {format_duration(policy.scream_s)}, and comes back at "
        f"once when errors appear. Then it is in quarantine for {format_duration(policy.retention_s)}, still "
        f"written, so that {_code('lockkeeper rename undo')} brings it back with every write. "
        f"**Every version of the application that names {old} fails from then on.**",
        "**reject**: nothing changes; applications go on reading the new column, both stay in step.",
        "**abort**: applications read the old column again, then the new one, its trigger and the flag go; "
        "the schema is what it was before.",
    ]
    title = f"Let {request.change.old} go?"
    return _page(title, request, facts(status, request, around), choices)


def _page(title: str, request: RenameRequest, rows: Iterable[tuple[str, str]], choices: Iterable[str]) -> str:
    # No table: the form is narrow, and would cut off what matters most.
    measured = "\n".join(f"- **{label}**: {_cell(value)}" for label, value in rows)
    ends = format_duration(request.policy.approval_timeout_s)
    parts = [
        f"## {_cell(title)}",
        f"Rename of {_code(request.subject)}.",
        measured,
        "### Your answer",
        "\n".join(f"- {choice}" for choice in choices),
        f"Without an answer within {ends} the run ends as failed, the team is told, and everything stays "
        "as it is.",
    ]
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(plain(text).split()).replace("*", r"\*").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{_cell(text).replace('`', chr(39))}`"
