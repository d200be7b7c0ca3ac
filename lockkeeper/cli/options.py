"""Options that several commands share, written once.

A command declares a parameter ``options: TargetOptions`` and is decorated with ``with_options``: its options
on the command line are then the fields of that dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

_UNREGISTERED = "A target that is not registered"
_EVERYWHERE = "Everywhere"


def _of_target(*names: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=_UNREGISTERED)


@dataclasses.dataclass(frozen=True)
class CommonOptions:
    """Flags that every command takes; ``output.Session`` has already read them from the arguments."""

    json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON document on stdout, nothing else.", rich_help_panel=_EVERYWHERE
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Progress even when stderr is no terminal.", rich_help_panel=_EVERYWHERE
        ),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Tracebacks and all logs, redacted.", rich_help_panel=_EVERYWHERE),
    ] = False


@dataclasses.dataclass(frozen=True)
class TargetOptions:
    """A target's definition: for ``target add``, or for a target that is not registered."""

    database_url_env: Annotated[
        str | None,
        _of_target("--database-url-env", metavar="VAR", help="Environment variable that holds the URL."),
    ] = None
    database_url: Annotated[
        str | None,
        _of_target("--database-url", metavar="URL", help="URL without a password (it is in ~/.pgpass)."),
    ] = None
    alembic: Annotated[
        Path | None, _of_target("--alembic", metavar="FILE", help="The project's alembic.ini.")
    ] = None
    storage: Annotated[
        str | None,
        _of_target("--storage", metavar="PLACE", help="s3://bucket/prefix, or a directory."),
    ] = None
    scratch_url_env: Annotated[
        str | None,
        _of_target(
            "--scratch-url-env",
            metavar="VAR",
            help="Variable with the URL of the server for scratch databases. Default: the target's own.",
        ),
    ] = None
    s3_endpoint_url: Annotated[
        str | None,
        _of_target(
            "--s3-endpoint-url", metavar="URL", help="S3-compatible service. Default: AWS_ENDPOINT_URL."
        ),
    ] = None
    s3_region: Annotated[
        str | None, _of_target("--s3-region", metavar="REGION", help="Default: AWS_DEFAULT_REGION.")
    ] = None
    s3_access_key_id_env: Annotated[
        str | None,
        _of_target(
            "--s3-access-key-id-env", metavar="VAR", help="Default: AWS_ACCESS_KEY_ID and boto3's chain."
        ),
    ] = None
    s3_secret_access_key_env: Annotated[
        str | None,
        _of_target("--s3-secret-access-key-env", metavar="VAR", help="Together with the one above."),
    ] = None
    slack_webhook_env: Annotated[
        str | None,
        _of_target("--slack-webhook-env", metavar="VAR", help="Variable with the Slack webhook to tell."),
    ] = None
    alert_webhook_env: Annotated[
        str | None,
        _of_target("--alert-webhook-env", metavar="VAR", help="Variable with a webhook that takes alerts."),
    ] = None
    python: Annotated[
        Path | None,
        _of_target("--python", metavar="FILE", help="The project's own interpreter. Default: this one."),
    ] = None
    working_dir: Annotated[
        Path | None,
        _of_target("--working-dir", metavar="DIR", help="Folder to run Alembic in. Default: the ini file's."),
    ] = None
    ini_section: Annotated[
        str | None, _of_target("--ini-section", metavar="NAME", help="As alembic -n. Default: alembic.")
    ] = None
    url_env: Annotated[
        str | None,
        _of_target(
            "--url-env", metavar="NAME", help="Variable in which env.py looks. Default: DATABASE_URL."
        ),
    ] = None
    driver: Annotated[
        str | None,
        _of_target("--driver", metavar="NAME", help="SQLAlchemy driver for env.py, e.g. asyncpg."),
    ] = None
    x: Annotated[
        list[str] | None,
        _of_target("-x", "--x", metavar="KEY=VALUE", help="As alembic -x; {url} becomes the URL."),
    ] = None
    env_from: Annotated[
        list[str] | None,
        _of_target("--env-from", metavar="NAME", help="Hand this environment variable to env.py."),
    ] = None
    rules: Annotated[
        Path | None,
        _of_target("--rules", metavar="DIR", help="*.sql files that must return no row after a migration."),
    ] = None
    client_bin_dir: Annotated[
        Path | None,
        _of_target("--client-bin-dir", metavar="DIR", help="Folder of pg_dump and pg_restore."),
    ] = None
    maintenance_database: Annotated[
        str | None,
        _of_target(
            "--maintenance-database", metavar="NAME", help="Always-there database. Default: postgres."
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="POLICY=VALUE", help="A policy, e.g. lock_timeout_ms=500."),
    ] = None

    def definition(self) -> dict[str, Any]:
        """Return the options that were given and define a target (policies can be set for any)."""
        given = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != "set"}
        return {name: value for name, value in given.items() if value not in (None, [], ())}


TargetArgument = Annotated[
    str | None,
    typer.Argument(metavar="TARGET", help="A registered target, or a name for one that is not."),
]


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` one option for each field of its parameters that are option dataclasses."""
    hints = get_type_hints(command, include_extras=True)
    bundles: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        bundle = hints[name]
        if not dataclasses.is_dataclass(bundle) or not isinstance(bundle, type):
            parameters.append(parameter.replace(annotation=bundle, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        bundles[name] = bundle
        field_hints = get_type_hints(bundle, include_extras=True)
        parameters += [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if one.default is dataclasses.MISSING else one.default,
                annotation=field_hints[one.name],
            )
            for one in dataclasses.fields(bundle)
        ]

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        packed = {
            name: bundle(**{one.name: values.pop(one.name) for one in dataclasses.fields(bundle)})
            for name, bundle in bundles.items()
        }
        return command(**values, **packed)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapper
