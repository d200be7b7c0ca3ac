"""Alerts leave in order and hold nobody up, whatever the other side does."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from lockkeeper.cli.main import run
from lockkeeper.local.daemons import free_port
from lockkeeper.monitoring import Alert, AlertState
from lockkeeper.monitoring.channels import open_channels
from lockkeeper.monitoring.rules import Severity

NOW = datetime(2026, 11, 26, tzinfo=timezone.utc)
PATIENCE_S, NOISE_S = 1.0, 1.5
URL = make_url("postgresql://app@127.0.0.1:1/shop")


def alert(state: AlertState = AlertState.FIRING) -> Alert:
    return Alert(
        state=state, rule="long-query", severity=Severity.WARNING, target="shop", message="session 7",
        value=9, limit=5, since=NOW, at=NOW,
    )  # fmt: skip


def test_an_alert_and_its_all_clear_arrive_in_order_in_slack_and_at_the_webhook(webhook, make_target) -> None:
    slack, other = webhook(500, 200), webhook(204)
    heard: list[Alert] = []
    channels = open_channels(
        make_target(URL, slack_webhook_url=slack.url, alert_webhook_url=other.url), heard.append
    )
    channels.send(alert())
    channels.send(alert(AlertState.RESOLVED))
    assert channels.close(patience_s=20) == []
    assert channels.undelivered() == []
    texts = [message["text"] for message in slack.received]
    assert texts[0] == texts[1]  # the 500 was tried again, before the all-clear
    assert [text.split(":")[1] for text in texts[1:]] == ["warning", "white_check_mark"]
    assert [message["state"] for message in other.received] == ["firing", "resolved"]
    assert [one.state.value for one in heard] == ["firing", "resolved"]


@pytest.mark.parametrize("statuses", [(0,), (500,), (429,), (404,), None], ids=str)
def test_a_channel_that_does_not_take_an_alert_costs_a_second_at_most_and_is_reported(
    webhook, make_target, statuses
) -> None:
    url = webhook(*statuses).url if statuses else SecretStr(f"http://127.0.0.1:{free_port()}/canary-hook")
    channels = open_channels(make_target(URL, slack_webhook_url=url))
    started = time.monotonic()
    channels.send(alert())
    assert time.monotonic() - started < 0.5
    [problem] = channels.close()
    assert time.monotonic() - started < PATIENCE_S + NOISE_S
    assert "Slack has not taken" in problem
    assert "canary" not in problem
    assert [(one.channel, one.alert.key) for one in channels.undelivered()] == [("Slack", "long-query")]


def test_an_alert_that_was_refused_for_a_while_arrives_later(webhook, make_target) -> None:
    slack = webhook(500, 500, 429, 200)
    channels = open_channels(make_target(URL, slack_webhook_url=slack.url))
    channels.send(alert())
    assert channels.close(patience_s=15) == []
    assert len(slack.received) == 4


def test_a_listener_that_raises_fails_nothing_else(webhook, make_target) -> None:
    other = webhook(200)

    def broken(_alert: Alert) -> None:
        raise ConnectionError("no API")

    channels = open_channels(make_target(URL, alert_webhook_url=other.url), broken)
    channels.send(alert())
    [problem] = channels.close(patience_s=10)
    assert "ConnectionError: no API" in problem
    assert len(other.received) == 1


def test_the_test_alert_reaches_slack_and_the_webhook(webhook, tmp_path, monkeypatch) -> None:
    slack, other = webhook(200), webhook(200)
    assert fire(tmp_path, monkeypatch, slack.url, other.url) == 0
    assert ["test-alert" in message["text"] for message in slack.received] == [True, True]
    assert [message["state"] for message in other.received] == ["firing", "resolved"]


def test_a_channel_that_does_not_take_the_test_alert_is_an_error(
    webhook, tmp_path, monkeypatch, capsys
) -> None:
    assert fire(tmp_path, monkeypatch, webhook(404).url, webhook(200).url) == 1
    assert "Slack has not taken" in capsys.readouterr().out


def fire(folder: Path, monkeypatch: pytest.MonkeyPatch, slack: SecretStr, other: SecretStr) -> int:
    """Run ``lockkeeper alert test`` for a target with these two channels."""
    for name, value in {"SHOP_SLACK": slack, "SHOP_ALERTS": other}.items():
        monkeypatch.setenv(name, value.get_secret_value())
    monkeypatch.setenv("SHOP_URL", URL.render_as_string(hide_password=False))
    target = ["--database-url-env", "SHOP_URL", "--storage", str(folder)]
    channels = ["--slack-webhook-env", "SHOP_SLACK", "--alert-webhook-env", "SHOP_ALERTS"]
    return run(["alert", "test", "shop", *target, *channels])
