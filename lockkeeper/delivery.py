"""Tells Slack, without failing a run and without holding it up for more than a second in all.

A message is sent from a thread of its own. What Slack surely did not take (refused connection, 429, 5xx)
is tried again with backoff, not before the time that a Retry-After asks for, while the run goes on to its
end; a request that was sent and not answered is not repeated, since it may have been delivered.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from lockkeeper.notices import SlackNotice
from lockkeeper.redaction import redact, register_secret

PATIENCE_S = 1.0
"""How long a run waits for Slack and webhooks, for all its messages and alerts together."""
BUDGET_S = 15.0
"""How long a message is tried in the background: less than the 30 s that a cancelled flow is given."""
REQUEST_TIMEOUT_S = 5.0
SECRET_PATH_CHARACTERS = 16
"""A shorter path is no secret, and may be any word."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 4.0
logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What came of one attempt; ``again`` says that it surely was not delivered and may be next time."""

    delivered: bool
    problem: str = ""
    again: bool = False
    not_before_s: float = 0.0


class Patience:
    """The time that one run may still wait; what is spent is gone. For one thread at a time."""

    def __init__(self, total_s: float = PATIENCE_S) -> None:
        self.left_s = total_s

    @contextlib.contextmanager
    def waiting(self) -> Iterator[float]:
        """Yield how long the block may wait; what it took is spent, whatever came of it."""
        started = time.monotonic()
        try:
            yield self.left_s
        finally:
            self.left_s = max(0.0, self.left_s - (time.monotonic() - started))


def answer_of_status(status: int, body: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Judge an HTTP status of a webhook; a Retry-After that names a date is not understood."""
    if 200 <= status < 300:
        return Answer(True)
    asked = {name.lower(): value for name, value in (headers or {}).items()}.get("retry-after", "")
    return Answer(
        False,
        redact(f"status {status}: {body[:200]}"),
        again=status == 429 or status >= 500,
        not_before_s=float(asked) if asked.isdigit() else 0.0,
    )


def answer_of_error(error: Exception) -> Answer:
    """Judge a failed request, whatever a library raises: it is tried again only if it was surely not sent.

    ``URLError`` is that: what goes wrong after the sending (no answer, half of one, none that is HTTP) comes
    as it is, and an address that is none is not better the next time.
    """
    if isinstance(error, http.client.InvalidURL):  # whose text quotes a part of the secret address
        return Answer(False, "the webhook's address is no URL")
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return Answer(False, f"no answer within {REQUEST_TIMEOUT_S:g} s")
    said = redact(str(reason)) or type(reason).__name__
    return Answer(False, said, again=isinstance(error, urllib.error.URLError))


def register_webhook(url: SecretStr) -> None:
    """Mask a webhook's address in every text, also where a library quotes its path alone."""
    register_secret(url.get_secret_value())
    path = url.get_secret_value().partition("://")[2].partition("/")[2]
    if len(path) >= SECRET_PATH_CHARACTERS:
        register_secret(path)


def post_json(url: SecretStr) -> Callable[[Mapping[str, Any]], Answer]:
    """Return a function that posts a JSON document to a webhook."""
    register_webhook(url)

    def post(document: Mapping[str, Any]) -> Answer:
        data, header = json.dumps(document).encode(), {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(url.get_secret_value(), data, header)  # noqa: S310 (the user's own)
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
                return answer_of_status(response.status, response.read(200).decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                body = error.read(200).decode(errors="replace")
                return answer_of_status(error.code, body, dict(error.headers))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return answer_of_error(error)

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
        wait_s = max(answer.not_before_s, pause_s * random.uniform(0.5, 1))  # noqa: S311 (jitter)
        if not answer.again or time.monotonic() + wait_s > deadline:
            return answer
        time.sleep(wait_s)


class Delivery(threading.Thread):
    """One message on its way. Not a daemon: the process lives until it is delivered or given up."""

    def __init__(self, post: Callable[[SlackNotice], Answer], notice: SlackNotice) -> None:
        super().__init__(name="lockkeeper-slack", daemon=False)
        self._post = post
        self._notice = notice
        self.answer = Answer(False, "no answer yet")

    def run(self) -> None:
        """Send until delivered, refused for good, or out of time."""

        def attempt() -> Answer:
            try:
                self.answer = self._post(self._notice)
            except Exception as error:  # this thread has nobody else who could say so
                self.answer = answer_of_error(error)
            return self.answer

        try_until(attempt, time.monotonic() + BUDGET_S)
        if not self.answer.delivered:
            logger.warning("The Slack message was not delivered: %s", self.answer.problem)


def deliver(
    post: Callable[[SlackNotice], Answer], notice: SlackNotice, patience: Patience | None = None
) -> str | None:
    """Send a notice; returns a warning when it has not arrived while ``patience`` lasts."""
    delivery = Delivery(post, notice)
    delivery.start()
    with (patience or Patience()).waiting() as left_s:
        delivery.join(left_s)
    if delivery.answer.delivered:
        return None
    return f"Slack has not taken the message yet ({delivery.answer.problem})."
