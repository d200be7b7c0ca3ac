"""Slack as it really is: taking messages, refusing them, failing, hanging, being away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from lockkeeper.delivery import Delivery, deliver, post_to_webhook
from lockkeeper.local.daemons import free_port
from lockkeeper.notices import SlackNotice

NOTICE = SlackNotice("it is done", [{"type": "section", "text": {"type": "mrkdwn", "text": "*done*"}}])


class Receiver(ThreadingHTTPServer):
    """Answers with ``statuses`` in turn, the last one for ever; 0 hangs until the server is closed."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = statuses
        self.received: list[dict] = []
        self.closing = threading.Event()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_port}/services/T0/B0/canary-webhook")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        position = min(len(self.server.received), len(self.server.statuses)) - 1
        status = self.server.statuses[position]
        if status == 0:
            self.server.closing.wait(30)
            return
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def slack() -> Iterator:
    started: list[Receiver] = []

    def start(*statuses: int) -> Receiver:
        receiver = Receiver(list(statuses))
        threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.closing.set()
        receiver.shutdown()
        receiver.server_close()


def test_a_message_arrives_once_with_text_and_blocks(slack) -> None:
    receiver = slack(200)
    assert deliver(post_to_webhook(receiver.url), NOTICE) is None
    assert receiver.received == [{"text": NOTICE.text, "blocks": NOTICE.blocks}]


def test_what_slack_did_not_take_is_tried_again_in_the_background(slack) -> None:
    receiver = slack(500, 429, 200)
    delivery = Delivery(post_to_webhook(receiver.url), NOTICE)
    delivery.start()
    delivery.join(20)
    assert delivery.answer.delivered
    assert len(receiver.received) == 3


def test_a_refusal_is_final_and_said_without_the_webhook(slack) -> None:
    receiver = slack(404)
    warning = deliver(post_to_webhook(receiver.url), NOTICE)
    assert "status 404" in warning
    assert "canary" not in warning
    assert len(receiver.received) == 1


def test_a_slack_that_hangs_holds_nobody_up_and_gets_no_second_copy(slack) -> None:
    receiver = slack(0)
    started = time.monotonic()
    warning = deliver(post_to_webhook(receiver.url), NOTICE)
    assert time.monotonic() - started < 3
    assert "not taken" in warning
    receiver.closing.set()
    assert len(receiver.received) == 1


def test_a_slack_that_is_away_is_a_warning() -> None:
    url = SecretStr(f"http://127.0.0.1:{free_port()}/services/canary-webhook")
    warning = deliver(post_to_webhook(url), NOTICE)
    assert "refused" in warning
    assert "canary" not in warning
