"""Where alerts go, without ever holding anybody up: every channel has a queue and a thread of its own.

An alert that a channel surely did not take is tried again there, in order, while others go their way. What is
never delivered is reported when the channels are closed, and logged when it is given up after that.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from lockkeeper.config import Target
from lockkeeper.delivery import BUDGET_S, PATIENCE_S, Answer, post_json, post_to_webhook, try_until
from lockkeeper.models import Fact
from lockkeeper.monitoring.alert_notices import alert_notice
from lockkeeper.monitoring.incidents import Alert
from lockkeeper.redaction import redact

logger = logging.getLogger(__name__)
Post = Callable[[Alert], Answer]


class Undelivered(Fact):
    """An alert that one channel has not taken."""

    channel: str
    alert: Alert


class Channel(threading.Thread):
    """One way out. Not a daemon: the process lives until it has delivered or given up."""

    def __init__(self, name: str, post: Post) -> None:
        super().__init__(name=f"lockkeeper-alerts-{name}", daemon=False)
        self.channel = name
        self._post = post
        self._waiting: queue.SimpleQueue[Alert | None] = queue.SimpleQueue()
        self._deadline: float | None = None
        self._unsent: list[Alert] = []
        self.problems: list[str] = []

    def send(self, alert: Alert) -> None:
        """Put an alert into the queue; returns at once."""
        self._unsent.append(alert)
        self._waiting.put(alert)

    def close(self) -> None:
        """Say that no more alerts come; what waits is still tried for a while."""
        self._deadline = time.monotonic() + BUDGET_S
        self._waiting.put(None)

    @property
    def unsent(self) -> list[Alert]:
        """What was not delivered, up to now."""
        return [*self._unsent]

    def run(self) -> None:
        """Deliver in order until closed."""
        while (alert := self._waiting.get()) is not None:
            deadline = self._deadline or time.monotonic() + BUDGET_S
            answer = try_until(lambda alert=alert: self._attempt(alert), deadline)  # type: ignore[misc]
            if answer.delivered:
                self._unsent.remove(alert)
                continue
            problem = f"{self.channel} has not taken the alert {alert.headline!r}: {answer.problem}"
            self.problems.append(problem)
            logger.warning("%s", problem)

    def _attempt(self, alert: Alert) -> Answer:
        try:
            return self._post(alert)
        except Exception as error:  # whatever a channel raises, the migration and the other channels go on
            return Answer(False, redact(f"{type(error).__name__}: {error}"))


class Channels:
    """All ways out of one run or one look."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = list(channels)
        for channel in self._channels:
            channel.start()

    def send(self, alert: Alert, only: str | None = None) -> None:
        """Hand an alert to every channel, or to the one with that name; returns at once."""
        for channel in self._channels:
            if only is None or channel.channel == only:
                channel.send(alert)

    def close(self, patience_s: float = PATIENCE_S) -> list[str]:
        """Wait at most ``patience_s`` for what is under way; returns what has not arrived yet, and why."""
        deadline = time.monotonic() + patience_s
        for channel in self._channels:
            channel.close()
        for channel in self._channels:
            channel.join(max(0.0, deadline - time.monotonic()))
        problems = [problem for channel in self._channels for problem in channel.problems]
        late = [channel for channel in self._channels if channel.is_alive()]
        return problems + [
            f"{channel.channel} has not taken {len(channel.unsent)} alerts yet; they are still tried"
            for channel in late
            if channel.unsent
        ]

    def undelivered(self) -> list[Undelivered]:
        """Return what each channel has not taken, in order."""
        return [
            Undelivered(channel=channel.channel, alert=alert)
            for channel in self._channels
            for alert in channel.unsent
        ]


def open_channels(target: Target, listener: Callable[[Alert], None] | None = None) -> Channels:
    """Open the channels of a target: Slack, the webhook, and whoever listens in this process."""
    channels: list[Channel] = []
    if target.slack_webhook_url is not None:
        to_slack = post_to_webhook(target.slack_webhook_url)
        channels.append(Channel("Slack", lambda alert: to_slack(alert_notice(alert))))
    if target.alert_webhook_url is not None:
        to_webhook = post_json(target.alert_webhook_url)
        channels.append(Channel("the webhook", lambda alert: to_webhook(alert.model_dump(mode="json"))))
    if listener is not None:
        channels.append(Channel("the event", lambda alert: _listened(listener, alert)))
    return Channels(channels)


def _listened(listener: Callable[[Alert], None], alert: Alert) -> Answer:
    listener(alert)
    return Answer(True)
