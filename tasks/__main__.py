"""``python -m tasks save-target``: writes a Migration Target block from a shell or a CI job.

Secrets are named by environment variables, so that none stands in a command line or a shell's history.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect_aws import AwsCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters
from prefect_slack import SlackWebhook

from lockkeeper.errors import ConfigurationError, LockkeeperError
from tasks.automations import tell_when_the_monitor_is_late
from tasks.blocks import MigrationTarget, save_block

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Prefect blocks of Lockkeeper, from a shell."""


@app.command("save-target")
def save_target(
    name: Annotated[str, typer.Argument(help="The block's name, and the flows' target parameter.")],
    database_url_env: Annotated[str, typer.Option(help="Variable that holds the database's URL.")],
    alembic: Annotated[Path | None, typer.Option(help="The project's alembic.ini, on the worker.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Folder of *.sql files that must return no row.")] = None,
    storage: Annotated[str, typer.Option(help="s3://bucket/prefix, or a folder on the worker.")] = "",
    s3_endpoint_url: Annotated[str | None, typer.Option(help="S3-compatible service.")] = None,
    slack_webhook_env: Annotated[str | None, typer.Option(help="Variable that holds the webhook.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="e.g. lock_timeout_ms=500; repeatable.")] = None,
) -> None:
    """Save a target; an existing block of that name is replaced.

    For a bucket, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are stored when they are set; else the worker
    uses its own credentials.
    """
    block = MigrationTarget(
        database_url=_variable(database_url_env),
        alembic={"config_file": alembic, "rules_dir": rules} if alembic else None,
        slack=SlackWebhook(url=_variable(slack_webhook_env)) if slack_webhook_env else None,
        policies=dict(entry.split("=", 1) for entry in policy or []),
        **_storage(storage, s3_endpoint_url),
    )
    save_block(name, block)
    command = f"prefect deployment run production-migration/production-migration -p target={name}"
    typer.echo(f"Saved migration-target/{name}. Start a migration with: {command}")


@app.command("tell-when-the-monitor-is-late")
def tell_when_late(
    slack: Annotated[str, typer.Option(help="The Slack block that is told, e.g. shop-slack.")],
    after_minutes: Annotated[float, typer.Option(help="Without a look that begins.", min=1)] = 10,
) -> None:
    """Register the automation that tells when monitor-database is due and no look begins."""
    patience = timedelta(minutes=after_minutes)
    name = tell_when_the_monitor_is_late(f"slack-incoming-webhook/{slack}", patience)
    typer.echo(f"Registered the automation {name!r}.")


def _storage(place: str, endpoint_url: str | None) -> dict[str, Any]:
    if not place.startswith("s3://"):
        return {"storage_folder": place or None}
    bucket, _, folder = place.removeprefix("s3://").partition("/")
    credentials = AwsCredentials(
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
        region_name=os.environ.get("AWS_DEFAULT_REGION"),
        aws_client_parameters=AwsClientParameters(endpoint_url=endpoint_url),
    )
    return {"storage": S3Bucket(bucket_name=bucket, bucket_folder=folder, credentials=credentials)}


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(f"The environment variable {name} is not set.") from None


if __name__ == "__main__":
    try:
        app(standalone_mode=True)
    except LockkeeperError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(error.exit_code) from error
