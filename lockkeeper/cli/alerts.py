"""``lockkeeper alert ...``: what the monitor tells, tried out."""

from __future__ import annotations

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import FAILED, ConfigurationError

app = typer.Typer(help="What the monitor tells, and to whom.", no_args_is_help=True)


@app.command("test")
@with_options
def fire(options: TargetOptions, common: CommonOptions, target: TargetArgument = None) -> Result:
    """Send a test alert and its all-clear to Slack and to the webhook of a target.

    Exit code 1 when one of them has not taken it, with the reason.
    """
    from lockkeeper.monitoring.scheduled import send_test_alert

    chosen = select_target(target, options)
    if chosen.slack_webhook_url is None and chosen.alert_webhook_url is None:
        raise ConfigurationError(
            f"Target {chosen.name!r} tells nobody. Give it --slack-webhook-env or --alert-webhook-env."
        )
    problems = send_test_alert(chosen)
    data = {"target": chosen.name, "problems": problems}
    if problems:
        text = "\n".join(problems)
        return Result(exit_code=FAILED, data={**data, "error": text}, text=text)
    return Result(data=data, text=f"The test alert of {chosen.name} and its all-clear were taken.")
