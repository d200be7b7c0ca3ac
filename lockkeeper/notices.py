"""One Slack message for each outcome: who, what, how long, what to do, where to look.

Pure. Text is redacted, escaped for mrkdwn (``& < >``, so that no error can mention a channel or forge a
link) and cut to Slack's limits; see "Reference: blocks" of Slack's API documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockkeeper.models import Outcome, RunReport
from lockkeeper.reports import format_duration, headline, plain, restore_facts, safe_link
from lockkeeper.risk_report import verdict_lines

HEADER_LIMIT, SECTION_LIMIT, FIELD_LIMIT, URL_LIMIT, TEXT_LIMIT = 150, 3000, 2000, 3000, 3000
BLOCKS_LIMIT, WARNINGS_SHOWN = 50, 5
ERROR_SHOWN = 1200  # the whole error is in the report; a message is for a telephone's screen
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SYMBOLS = {
    Outcome.SUCCEEDED: ":white_check_mark:",
    Outcome.NOTHING_TO_DO: ":heavy_minus_sign:",
    Outcome.REFUSED: ":no_entry_sign:",
    Outcome.FAILED: ":x:",
    Outcome.UNCHANGED: ":x:",
    Outcome.RECOVERED: ":leftwards_arrow_with_hook:",
    Outcome.NEEDS_HUMAN: ":rotating_light:",
    Outcome.NEEDS_APPROVAL: ":raised_hand:",
    Outcome.WAITING: ":raised_hand:",
    Outcome.REJECTED: ":no_entry_sign:",
    Outcome.ABORTED: ":leftwards_arrow_with_hook:",
    None: ":hourglass_flowing_sand:",
}


@dataclass(frozen=True)
class SlackNotice:
    """``text`` is for notifications and screen readers, ``blocks`` is what Slack shows."""

    text: str
    blocks: list[dict[str, Any]]


def slack_notice(report: RunReport) -> SlackNotice:
    """Return the message that tells the team how a run stands or ended."""
    title = headline(report)
    blocks = [_header(title), _fields(report)]
    if report.error:
        blocks.append(_section("*What went wrong*\n", report.error, code=True, limit=ERROR_SHOWN))
    if report.risk and (lines := verdict_lines(report.risk)):
        blocks.append(_section("*What it does to the application*\n", _some(lines), limit=ERROR_SHOWN))
    if report.recovery:
        tried = "\n".join(
            f"{'worked' if one.succeeded else 'not enough'}: {one.rung} "
            f"({format_duration(one.duration_s)}) {one.reason}"
            for one in report.recovery
        )
        blocks.append(_section("*Recovery*\n", tried))
    if lines := restore_facts(report):
        blocks.append(_section("*Restore*\n", "\n".join(lines)))
    if report.next_command:
        blocks.append(_section("*What to do next*\n", report.next_command, code=True))
    if report.warnings:
        blocks.append(_section("*Warnings*\n", _some(report.warnings), limit=ERROR_SHOWN))
    link = safe_link(report.link)
    if link and len(link) <= URL_LIMIT - 20:
        blocks.append(_section("", "", suffix=f"<{link.replace('&', '&amp;')}|Open the run>"))
    return SlackNotice(text=_text(report, title), blocks=blocks[:BLOCKS_LIMIT])


def _some(lines: Sequence[str]) -> str:
    more = len(lines) - WARNINGS_SHOWN
    return "\n".join([*lines[:WARNINGS_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _text(report: RunReport, title: str) -> str:
    sentence = f"{title}, after {format_duration(report.duration_s)}"
    if report.initiator:
        sentence += f", started by {report.initiator}"
    return f"{_SYMBOLS[report.outcome]} {mrkdwn(sentence, TEXT_LIMIT - 60)}"


def _header(title: str) -> dict[str, Any]:
    # A header is plain text: Slack shows it as it is, so nothing is escaped here.
    return {"type": "header", "text": {"type": "plain_text", "text": _cut(title, HEADER_LIMIT)}}


def _fields(report: RunReport) -> dict[str, Any]:
    values = [
        ("Outcome", report.outcome.value if report.outcome else "still running"),
        ("Database", f"{report.target} ({report.database})"),
        ("Revision", _revisions(report)),
        ("Started by", report.initiator or "unknown"),
        ("Duration", format_duration(report.duration_s)),
        ("Backup", report.backup_id or "none"),
        ("Run", report.run_id),
    ]
    fields = []
    for name, value in values:
        symbol = f"{_SYMBOLS[report.outcome]} " if name == "Outcome" else ""
        text = f"*{name}*\n{symbol}{mrkdwn(value, FIELD_LIMIT - 60)}"
        fields.append({"type": "mrkdwn", "text": text})
    return {"type": "section", "fields": fields}


def _revisions(report: RunReport) -> str:
    if report.plan is None:
        return report.requested_revision or "none"
    before, after = (", ".join(names) or "base" for names in (report.plan.before, report.plan.after))
    return f"{before} to {after} ({len(report.revisions)} of {len(report.plan.steps)} ran)"


def _section(
    title: str, body: str, *, code: bool = False, limit: int = SECTION_LIMIT, suffix: str = ""
) -> dict[str, Any]:
    room = min(limit, SECTION_LIMIT - len(title) - len(suffix) - 10)
    shown = mrkdwn(body.replace("```", "'''") if code else body, room)
    text = f"{title}```{shown}```" if code else f"{title}{shown}{suffix}"
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def mrkdwn(text: str, limit: int) -> str:
    """Return ``text`` redacted and escaped for Slack, at most ``limit`` characters, no entity cut."""
    escaped = [_ENTITIES.get(character, character) for character in plain(text).strip()]
    if sum(map(len, escaped)) <= limit:
        return "".join(escaped)
    kept, length = [], 0
    for piece in escaped:
        length += len(piece)
        if length > limit - 1:
            break
        kept.append(piece)
    return "".join(kept) + "…"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
