"""One Slack message for each outcome, sent through the target's Slack block.

How long a run waits, what is tried again and when it is given up: ``lockkeeper.delivery``. Without Slack
the outcome stands in the log and in the report artifact.
"""

from __future__ import annotations

from collections.abc import Callable

from prefect.logging import get_run_logger
from prefect_slack import SlackWebhook
from pydantic import SecretStr
from slack_sdk.webhook.client import WebhookClient

from lockkeeper.delivery import REQUEST_TIMEOUT_S, Answer, answer_of_status, deliver, register_webhook
from lockkeeper.models import RunReport
from lockkeeper.notices import SlackNotice, slack_notice
from lockkeeper.reports import headline
from tasks.policies import once
from tasks.runs import engine_of


@once(name="notify")
def notify(report: RunReport) -> str | None:
    """Tell the team how a run ended; returns a warning when Slack has not taken the message in time."""
    log = get_run_logger()
    failed = report.outcome is None or report.outcome.exit_code != 0
    (log.error if failed else log.info)("%s. %s", headline(report), report.error or "")
    engine = engine_of(report.target, report.run_id)
    url = engine.target.slack_webhook_url
    return None if url is None else deliver(post_to_slack(url), slack_notice(report), engine.patience)


def post_to_slack(url: SecretStr) -> Callable[[SlackNotice], Answer]:
    """Return a function that posts a notice with Prefect's Slack integration; it raises what that raises."""
    register_webhook(url)
    client: WebhookClient = SlackWebhook(url=url).get_client(sync_client=True)
    client.timeout = int(REQUEST_TIMEOUT_S)
    client.retry_handlers = []  # its own tries come on top of ours and know no bound in time

    def post(notice: SlackNotice) -> Answer:
        response = client.send(text=notice.text, blocks=notice.blocks)
        return answer_of_status(response.status_code, str(response.body), response.headers)

    return post
