"""Slack as it really is: taking messages, refusing them, failing, hanging, being away."""

from __future__ import annotations

import time

import pytest
from pydantic import SecretStr
from webhook_receiver import BROKEN_ANSWERS

from lockkeeper.delivery import BUDGET_S, Delivery, deliver, post_to_webhook, register_webhook
from lockkeeper.local.daemons import free_port
from lockkeeper.notices import SlackNotice
from lockkeeper.redaction import redact

NOTICE = SlackNotice("it is done", [{"type": "section", "text": {"type": "mrkdwn", "text": "*done*"}}])


def test_a_message_arrives_once_with_text_and_blocks(webhook) -> None:
    receiver = webhook(200)
    assert deliver(post_to_webhook(receiver.url), NOTICE) is None
    assert receiver.received == [{"text": NOTICE.text, "blocks": NOTICE.blocks}]


def test_what_slack_did_not_take_is_tried_again_in_the_background(webhook) -> None:
    receiver = webhook(500, 429, 200)
    delivery = Delivery(post_to_webhook(receiver.url), NOTICE)
    delivery.start()
    delivery.join(20)
    assert delivery.answer.delivered
    assert len(receiver.received) == 3


def test_a_refusal_is_final_and_said_without_the_webhook(webhook) -> None:
    receiver = webhook(404)
    warning = deliver(post_to_webhook(receiver.url), NOTICE)
    assert "status 404" in warning
    assert "canary" not in warning
    assert len(receiver.received) == 1


def test_a_slack_that_hangs_holds_nobody_up_and_gets_no_second_copy(webhook) -> None:
    receiver = webhook(0)
    started = time.monotonic()
    warning = deliver(post_to_webhook(receiver.url), NOTICE)
    assert time.monotonic() - started < 3
    assert "not taken" in warning
    receiver.closing.set()
    assert len(receiver.received) == 1


@pytest.mark.parametrize("how", BROKEN_ANSWERS)
def test_an_answer_that_is_none_ends_the_delivery_without_a_second_copy(broken_webhook, how) -> None:
    receiver = broken_webhook(BROKEN_ANSWERS[how])
    delivery = Delivery(post_to_webhook(receiver.url), NOTICE)
    delivery.start()
    delivery.join(20)
    assert not delivery.is_alive()
    assert delivery.answer.delivered or delivery.answer.problem not in ("", "no answer yet")
    assert receiver.requests == 1


@pytest.mark.parametrize(
    "address", ["canary-webhook", "http://127.0.0.1:canary-webhook/x", "http://a b/canary-webhook"]
)
def test_an_address_that_is_none_is_said_and_not_tried_again(address) -> None:
    started = time.monotonic()
    delivery = Delivery(post_to_webhook(SecretStr(address)), NOTICE)
    delivery.start()
    delivery.join(20)
    assert time.monotonic() - started < BUDGET_S / 2
    assert delivery.answer.problem not in ("", "no answer yet")
    assert address not in delivery.answer.problem


def test_a_slack_that_is_away_is_a_warning() -> None:
    url = SecretStr(f"http://127.0.0.1:{free_port()}/services/canary-webhook")
    warning = deliver(post_to_webhook(url), NOTICE)
    assert "refused" in warning
    assert "canary" not in warning


def test_an_address_that_is_no_url_is_said_without_its_secret_part() -> None:
    for said in ("https://hooks.example/services/T0/canary 7f2c-part", "https://hooks.example:canary/T0"):
        answer = post_to_webhook(SecretStr(said))(NOTICE)
        assert (answer.delivered, answer.again) == (False, False)
        assert "canary" not in answer.problem


def test_a_webhooks_path_alone_is_masked_too() -> None:
    register_webhook(SecretStr("https://hooks.example/services/T0/B0/canary-8d11"))
    assert "canary" not in redact("cannot POST '/services/T0/B0/canary-8d11'")
