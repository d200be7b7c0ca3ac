"""Tells Slack, without failing a run and without holding it up for more than a second.

A message is sent from a thread of its own. What Slack surely did not take (refused connection, 429, 5xx)
is tried again with backoff while the run goes on to its end; a request that was sent and not answered is
not repeated, since it may have been delivered.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from lockkeeper.notices import SlackNotice
from lockkeeper.redaction import redact, register_secret

PATIENCE_S = 1.0
"""How long a run waits for Slack."""
BUDGET_S = 15.0
"""How long a message is tried in the background: less than the 30 s that a cancelled flow is given."""
REQUEST_TIMEOUT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 4.0
logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What came of one attempt; ``again`` says that it surely was not delivered and may be next time."""

    delivered: bool
    problem: str = ""
    again: bool = False


def answer_of_status(status: int, body: str) -> Answer:
    """Judge an HTTP status of a webhook."""
    if 200 <= status < 300:
        return Answer(True)
    return Answer(False, redact(f"status {status}: {body[:200]}"), again=status == 429 or status >= 500)


def answer_of_error(error: OSError) -> Answer:
    """Judge a failed request: one that timed out may have arrived."""
    reason = getattr(error, "reason", error)
    timed_out = isinstance(reason, TimeoutError)
    problem = f"no answer within {REQUEST_TIMEOUT_S:g} s" if timed_out else redact(f"{reason}")
    return Answer(False, problem, again=not timed_out)


def post_json(url: SecretStr) -> Callable[[Mapping[str, Any]], Answer]:
    """Return a function that posts a JSON document to a webhook."""
    register_secret(url.get_secret_value())

    def post(document: Mapping[str, Any]) -> Answer:
        request = urllib.request.Request(  # noqa: S310 (the user's own webhook)
            url.get_secret_value(), json.dumps(document).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
                return answer_of_status(response.status, response.read(200).decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return answer_of_status(error.code, error.read(200).decode(errors="replace"))
        except (OSError, ValueError) as error:
            return answer_of_error(error if isinstance(error, OSError) else OSError(str(error)))

    return post


def post_to_webhook(url: SecretStr) -> Callable[[SlackNotice], Answer]:
    """Return a function that posts a notice to an incoming webhook of Slack."""
    post = post_json(url)
    return lambda notice: post({"text": notice.text, "blocks": notice.blocks})


def try_until(attempt: Callable[[], Answer], deadline: float) -> Answer:
    """Try until delivered, refused for good, or ``deadline`` (of ``time.monotonic``) would be passed."""
    pause_s = _FIRST_PAUSE_S
    while True:
        answer = attempt()
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        wait_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 (jitter, not a secret)
        if not answer.again or time.monotonic() + wait_s > deadline:
            return answer
        time.sleep(wait_s)


class Delivery(threading.Thread):
    """One message on its way. Not a daemon: the process lives until it is delivered or given up."""

    def __init__(self, post: Callable[[SlackNotice], Answer], notice: SlackNotice) -> None:
        super().__init__(name="lockkeeper-slack", daemon=False)
        self._post = post
        self._notice = notice
        self.answer = Answer(False, f"no answer within {PATIENCE_S:g} s")

    def run(self) -> None:
        """Send until delivered, refused for good, or out of time."""

        def attempt() -> Answer:
            self.answer = self._post(self._notice)
            return self.answer

        try_until(attempt, time.monotonic() + BUDGET_S)
        if not self.answer.delivered:
            logger.warning("The Slack message was not delivered: %s", self.answer.problem)


def deliver(post: Callable[[SlackNotice], Answer], notice: SlackNotice) -> str | None:
    """Send a notice; returns a warning when it has not arrived within ``PATIENCE_S``."""
    delivery = Delivery(post, notice)
    delivery.start()
    delivery.join(PATIENCE_S)
    if delivery.answer.delivered:
        return None
    return f"Slack has not taken the message yet ({delivery.answer.problem})."
