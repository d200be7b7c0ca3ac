"""One Slack message for each outcome, which neither fails a run nor holds it up for more than a second.

The message is sent from a thread of its own. What Slack surely did not take (refused connection, 429, 5xx)
is tried again with backoff for a quarter of a minute, while the flow goes on to its end; a request that
was sent and not answered is not repeated, since it may have been delivered. Without Slack the outcome
stands in the log and in the report artifact.
"""

from __future__ import annotations

import contextvars
import random
import threading
import time
from urllib.error import URLError

from prefect.logging import get_run_logger
from prefect_slack import SlackWebhook
from pydantic import SecretStr
from slack_sdk.webhook.client import WebhookClient

from lockkeeper.models import Outcome, RunReport
from lockkeeper.notices import SlackNotice, slack_notice
from lockkeeper.redaction import redact
from lockkeeper.reports import headline
from tasks.policies import once
from tasks.runs import engine_of

PATIENCE_S = 1.0
"""How long a run waits for Slack."""
BUDGET_S = 15.0
"""How long a message is tried in the background; less than the 30 s that a cancelled flow is given."""
REQUEST_TIMEOUT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 4.0
_QUIET = frozenset({Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO})


class Delivery(threading.Thread):
    """One message on its way. Not a daemon: the process lives until it is delivered or given up."""

    def __init__(self, url: SecretStr, notice: SlackNotice) -> None:
        self._context = contextvars.copy_context()
        self._logger = get_run_logger()
        self._client: WebhookClient = SlackWebhook(url=url).get_client(sync_client=True)
        self._client.timeout = REQUEST_TIMEOUT_S  # type: ignore[assignment]
        self._client.retry_handlers = []  # its own retries know no bound in time
        self._notice = notice
        self.delivered = False
        self.problem = f"no answer within {PATIENCE_S:g} s"
        super().__init__(name="lockkeeper-slack", daemon=False)

    def run(self) -> None:
        """Send until delivered, refused for good, or out of time."""
        self._context.run(self._deliver)

    def _deliver(self) -> None:
        deadline, pause_s = time.monotonic() + BUDGET_S, _FIRST_PAUSE_S
        while not self.delivered and self._send():
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            wait_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 (jitter, not a secret)
            if time.monotonic() + wait_s > deadline:
                break
            time.sleep(wait_s)
        if not self.delivered:
            self._logger.warning("The Slack message was not delivered: %s", self.problem)

    def _send(self) -> bool:
        """Send once; says whether another try makes sense."""
        try:
            response = self._client.send(text=self._notice.text, blocks=self._notice.blocks)
        except TimeoutError:
            self.problem = f"no answer within {REQUEST_TIMEOUT_S:g} s"
            return False
        except (URLError, OSError) as error:
            self.problem = redact(f"{type(error).__name__}: {error}")
            return not isinstance(getattr(error, "reason", None), TimeoutError)
        self.delivered = response.status_code == 200
        if not self.delivered:
            self.problem = redact(f"status {response.status_code}: {str(response.body)[:200]}")
        return response.status_code == 429 or response.status_code >= 500


@once(name="notify")
def notify(report: RunReport) -> str | None:
    """Tell the team how a run ended; returns a warning when Slack has not taken the message in time."""
    url = engine_of(report.target, report.run_id).target.slack_webhook_url
    log = get_run_logger()
    (log.info if report.outcome in _QUIET else log.error)("%s. %s", headline(report), report.error or "")
    if url is None:
        return None
    delivery = Delivery(url, slack_notice(report))
    delivery.start()
    delivery.join(PATIENCE_S)
    if delivery.delivered:
        return None
    return f"Slack has not taken the message yet ({delivery.problem})."
