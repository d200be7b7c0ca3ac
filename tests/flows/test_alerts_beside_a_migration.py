"""Whatever Slack does, no migration waits for it longer than a second; alerts arrive later or are reported.

A wall clock cannot tell a second on a busy machine, so two things are proven instead: no thread of the
migration ever speaks to Slack, and the time spent at the only places where one waits for those that do.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lockkeeper.delivery import Patience
from lockkeeper.monitoring.channels import Channel, Channels
from tests.flows.observing import play, report_of

PROMISED_S = 1.0
LATE_S = 0.3
"""A waiter may be woken so much later than it asked for."""
ALWAYS_CROSSED = {
    "impact_probe_ms": 0.0001, "impact_action": "warn", "rehearsal": "off", "lock_timeout_ms": 1000
}  # fmt: skip
SPEAKERS = {"lockkeeper-alerts-Slack", "lockkeeper-slack"}


@dataclass
class Watched:
    """How long runs have waited, each time, and which threads have spoken to Slack."""

    waits_s: list[float] = field(default_factory=list)
    sends_s: list[float] = field(default_factory=list)
    speakers: set[str] = field(default_factory=set)
    delivering: list[Channel] = field(default_factory=list)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, slack) -> Watched:
    """Time what really happens; nothing is replaced."""
    seen = Watched()
    waiting, send, start = Patience.waiting, Channels.send, Channel.start
    connect = http.client.HTTPConnection.connect
    slack_port = int(slack.url.split(":")[2].split("/")[0])

    @contextlib.contextmanager
    def timed_waiting(patience: Patience) -> Iterator[float]:
        began = time.monotonic()
        try:
            with waiting(patience) as left_s:
                yield left_s
        finally:
            seen.waits_s.append(time.monotonic() - began)

    def timed_send(channels: Channels, *values: object, **named: object) -> None:
        began = time.monotonic()
        send(channels, *values, **named)
        seen.sends_s.append(time.monotonic() - began)

    def noted_connect(connection: http.client.HTTPConnection) -> None:
        if connection.port == slack_port:
            seen.speakers.add(threading.current_thread().name)
        connect(connection)

    def noted_start(channel: Channel) -> None:
        seen.delivering.append(channel)
        start(channel)

    monkeypatch.setattr(Patience, "waiting", timed_waiting)
    monkeypatch.setattr(Channels, "send", timed_send)
    monkeypatch.setattr(Channel, "start", noted_start)
    monkeypatch.setattr(http.client.HTTPConnection, "connect", noted_connect)
    return seen


def break_slack(slack, how: str) -> None:
    if how == "down":
        slack.close()
    elif how == "slow":
        slack.hang = threading.Event()
    else:
        slack.status = int(how)
        slack.retry_after_s = 3600 if how == "429" else None


@pytest.mark.parametrize("how", ["down", "slow", "500", "429"])
def test_a_slack_that_takes_nothing_costs_a_migration_a_second_in_all_and_is_reported(
    make_shop, slack, api, watched, how
) -> None:
    shop = make_shop(policies=ALWAYS_CROSSED)
    shop.add_revision("r1", 'op.execute("ALTER TABLE users ADD COLUMN status text")')
    break_slack(slack, how)
    state = play(shop.name)
    assert state.is_completed(), state.message
    assert watched.speakers == SPEAKERS, "an alert and the message about the run, from threads of their own"
    assert len(watched.waits_s) == 2, "for the alerts and for the message about the run"
    assert sum(watched.waits_s) < PROMISED_S + LATE_S, watched.waits_s
    assert watched.sends_s
    assert sum(watched.sends_s) < LATE_S, "an alert is put into a queue, whatever Slack does"
    assert "Slack has not taken" in report_of(api, state)


def test_a_slack_that_answers_is_waited_for_only_as_long_as_it_takes(make_shop, slack, watched) -> None:
    shop = make_shop(policies=ALWAYS_CROSSED)
    shop.add_revision("r1", 'op.execute("ALTER TABLE users ADD COLUMN status text")')
    assert play(shop.name).is_completed()
    assert sum(watched.waits_s) < PROMISED_S + LATE_S
    texts = [message["text"] for message in slack.wait_for(3)]
    assert ["impact-budget" in text for text in texts].count(True) == 2


def test_an_alert_that_slack_refuses_for_a_while_arrives_later(make_shop, slack, watched) -> None:
    """It answers 429 until the run is over: whatever arrives then was sent by a thread left behind."""
    shop = make_shop(policies=ALWAYS_CROSSED)
    shop.add_revision("r1", 'op.execute("ALTER TABLE users ADD COLUMN status text")')
    slack.status, slack.retry_after_s = 429, 1
    state = play(shop.name)
    assert state.is_completed(), state.message
    assert slack.messages == []
    slack.status = 200
    texts = [message["text"] for message in slack.wait_for(3, timeout_s=20)]
    assert ["impact-budget" in text for text in texts].count(True) == 2  # the alert and its all-clear
    assert any("succeeded" in text for text in texts)
    for channel in watched.delivering:
        channel.join(20)
        assert channel.unsent == []
