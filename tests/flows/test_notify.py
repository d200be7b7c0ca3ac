"""What Prefect's Slack integration raises ends as a warning: the thread that sends has nobody to tell."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from webhook_receiver import BROKEN_ANSWERS

from lockkeeper.delivery import Delivery
from lockkeeper.notices import SlackNotice
from lockkeeper.redaction import register_secret
from tasks.logs import keep_secrets_out_of_logs
from tasks.notify import post_to_slack

NOTICE = SlackNotice("it is done", [{"type": "section", "text": {"type": "mrkdwn", "text": "*done*"}}])
# The library keeps a failed request's socket in a cycle of its own until that is collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect here, where the warning is expected, and not in whatever test comes next."""
    yield
    gc.collect()


def send(url: SecretStr) -> Delivery:
    delivery = Delivery(post_to_slack(url), NOTICE)
    delivery.start()
    delivery.join(20)
    assert not delivery.is_alive()
    return delivery


@pytest.mark.parametrize("how", BROKEN_ANSWERS)
def test_an_answer_that_is_none_is_a_problem_with_a_name_and_no_second_copy(broken_webhook, how) -> None:
    receiver = broken_webhook(BROKEN_ANSWERS[how])
    answer = send(receiver.url).answer
    assert not answer.delivered
    assert answer.problem not in ("", "no answer yet")
    assert receiver.requests == 1


@pytest.mark.parametrize("address", ["canary-webhook", "http://127.0.0.1:canary-webhook/x"])
def test_an_address_that_is_none_is_said_without_it(address, caplog) -> None:
    register_secret(address)
    keep_secrets_out_of_logs()
    with caplog.at_level(logging.DEBUG):
        answer = send(SecretStr(address)).answer
    assert not answer.delivered
    assert answer.problem not in ("", "no answer yet")
    assert address not in answer.problem + caplog.text
