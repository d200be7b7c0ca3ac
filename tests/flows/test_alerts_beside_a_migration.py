"""Whatever Slack does, no migration is held up, and its alert arrives later or is reported as not taken."""

from __future__ import annotations

import threading
import time

import pytest

from tests.flows.observing import play, report_of

WAIT_S = 1.0
"""For the alerts at the end of the watch, and again for the message about the run."""
NOISE_S = 4.0
HEALTHY_S: list[float] = []
ALWAYS_CROSSED = {
    "impact_probe_ms": 0.0001, "impact_action": "warn", "rehearsal": "off", "lock_timeout_ms": 1000
}  # fmt: skip


def timed_play(shop) -> tuple[float, object]:
    shop.add_revision(f"r{shop.last}", 'op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS status text")')
    started = time.monotonic()
    state = play(shop.name)
    return time.monotonic() - started, state


def break_slack(slack, how: str) -> None:
    if how == "down":
        slack.close()
    elif how == "slow":
        slack.hang = threading.Event()
    else:
        slack.status = int(how)


@pytest.mark.parametrize("how", ["down", "slow", "500", "429"])
def test_a_slack_that_takes_no_alert_holds_nothing_up_and_is_reported(make_shop, slack, api, how) -> None:
    shop = make_shop(policies=ALWAYS_CROSSED)
    if not HEALTHY_S:  # measured once, for all ways of being broken
        healthy_s, state = timed_play(shop)
        assert state.is_completed(), state.message
        assert any("impact-budget" in message["text"] for message in slack.messages)
        HEALTHY_S.append(healthy_s)
    break_slack(slack, how)
    broken_s, state = timed_play(shop)
    assert state.is_completed(), state.message
    assert broken_s - HEALTHY_S[0] < 2 * WAIT_S + NOISE_S
    assert "Slack has not taken" in report_of(api, state)


def test_an_alert_that_slack_refuses_for_a_while_arrives_later(make_shop, slack) -> None:
    shop = make_shop(policies=ALWAYS_CROSSED)
    slack.status = 429

    def recover() -> None:
        while not slack.attempts:
            threading.Event().wait(0.02)
        slack.status = 200

    recovering = threading.Thread(target=recover)
    recovering.start()
    _, state = timed_play(shop)
    recovering.join()
    assert state.is_completed(), state.message
    texts = [message["text"] for message in slack.wait_for(3)]
    assert ["impact-budget" in text for text in texts].count(True) == 2  # the alert and its all-clear
    assert any("succeeded" in text for text in texts)
