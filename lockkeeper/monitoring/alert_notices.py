"""One alert as a Slack message: what it is, since when, who is in the way, what to do. Pure."""

from __future__ import annotations

from typing import Any

from lockkeeper.monitoring.incidents import Alert, AlertState
from lockkeeper.monitoring.rules import Severity
from lockkeeper.notices import HEADER_LIMIT, SECTION_LIMIT, TEXT_LIMIT, SlackNotice, mrkdwn
from lockkeeper.reports import format_duration, plain, safe_link

_SYMBOLS = {Severity.WARNING: ":warning:", Severity.CRITICAL: ":rotating_light:"}
RESOLVED_SYMBOL = ":white_check_mark:"


def alert_notice(alert: Alert) -> SlackNotice:
    """Return the message for an alert, or for its all-clear."""
    firing = alert.state is AlertState.FIRING
    symbol = _SYMBOLS[alert.severity] if firing else RESOLVED_SYMBOL
    lasted = format_duration(max(0.0, (alert.at - alert.since).total_seconds()))
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": plain(f"{symbol} {alert.headline}")[:HEADER_LIMIT]},
        },
        _section(alert.message if firing else f"It is over after {lasted}. It was: {alert.message}"),
        {"type": "section", "fields": [_field(*pair) for pair in _facts(alert, lasted)]},
    ]
    if firing and alert.advice:
        blocks.append(_section(f"What to do: {alert.advice}"))
    if link := safe_link(alert.link):
        text = f"<{link.replace('&', '&amp;')}|Open the run>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    return SlackNotice(f"{symbol} {mrkdwn(f'{alert.headline}. {alert.message}', TEXT_LIMIT - 60)}", blocks)


def _facts(alert: Alert, lasted: str) -> list[tuple[str, str]]:
    facts = [
        ("Measured", f"{alert.meaning}: {alert.value:g}"),
        ("Limit", f"{alert.limit:g}"),
        ("Since", f"{alert.since:%Y-%m-%d %H:%M:%S} UTC ({lasted})"),
    ]
    return [*facts, ("Run", alert.run_id)] if alert.run_id else facts


def _field(name: str, value: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": f"*{name}*\n{mrkdwn(value, 1900)}"}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn(text, SECTION_LIMIT - 100)}}
