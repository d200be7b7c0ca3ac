"""Which target a command works on: a registered one, or one described on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lockkeeper.by_hand import LEFT_OUT
from lockkeeper.cli.options import TargetOptions
from lockkeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from lockkeeper.config import Target
    from lockkeeper.registry import TargetEntry

_LOOKS_LIKE_REVISION = re.compile(r"heads?|base|[+-]\d+|.*@.*|[0-9a-f]{3,40}")


def select_target(name: str | None, options: TargetOptions) -> Target:
    """Return the target with its secrets.

    Raises:
        ConfigurationError: unknown, incomplete, or its secrets are not in the environment.
    """
    from lockkeeper.registry import Registry, resolve

    policies = key_values("--set", options.set)
    definition = options.definition()
    if not definition:
        if name is None:
            raise ConfigurationError(
                "Which target? Give the name of a registered one (`lockkeeper target list`), or describe one "
                "with --database-url-env VAR --alembic alembic.ini --storage s3://bucket/prefix."
            )
        return resolve(name, Registry().get(name), policies=_checked(policies))
    if "database_url_env" not in definition and "database_url" not in definition:
        given = ", ".join(f"--{option.replace('_', '-')}" for option in definition)
        raise ConfigurationError(
            f"{given} describes a target that is not registered, which also needs --database-url-env VAR. "
            "Of a registered one, change the definition with `lockkeeper target add NAME ... --replace`."
        )
    entry = entry_from_options(options)
    if name is not None:
        return resolve(name, entry)
    named = resolve("unnamed", entry)
    return named.model_copy(update={"name": name_from_database(named.database)})


def refuse_ambiguous_name(name: str | None, revision: str | None, options: TargetOptions) -> None:
    """Refuse a lone first argument that is more likely a revision: it would be taken for a name."""
    alone = name is not None and revision is None and options.definition()
    if alone and _LOOKS_LIKE_REVISION.fullmatch(name or ""):
        raise ConfigurationError(
            f"{name!r} looks like a revision, but the first argument is the target's name. "
            f"Give a name before it, or: --revision {name}"
        )


def name_from_database(database: str) -> str:
    """Return a target's name made of a database's, e.g. ``My Shop`` -> ``my-shop``."""
    return re.sub(r"[^a-z0-9]+", "-", database.lower()).strip("-")[:63].strip("-") or "database"


def entry_from_options(options: TargetOptions) -> TargetEntry:
    """Return the registry's entry for these options; relative paths become absolute.

    Raises:
        ConfigurationError: something is missing or wrong; nothing is read from the environment yet.
    """
    from lockkeeper.registry import make_entry

    if options.storage is None:
        raise ConfigurationError(
            "Where do backups go? Give --storage s3://bucket/prefix, or --storage path/of/a/directory."
        )
    values = {
        "database_url_env": options.database_url_env,
        "database_url": options.database_url,
        "scratch_url_env": options.scratch_url_env,
        "slack_webhook_url_env": options.slack_webhook_env,
        "alert_webhook_url_env": options.alert_webhook_env,
        "client_bin_dir": absolute(options.client_bin_dir),
        "maintenance_database": options.maintenance_database,
        "alembic": _alembic_values(options),
        "storage": _storage_values(options, options.storage),
        "policies": key_values("--set", options.set),
    }
    return make_entry("The target", _given(values))


def _alembic_values(options: TargetOptions) -> dict[str, Any] | None:
    values = _given({
        "working_dir": absolute(options.working_dir),
        "python": _without_resolving(options.python),
        "ini_section": options.ini_section,
        "url_env": options.url_env,
        "driver": options.driver,
        "x_arguments": _x_arguments(options.x) or None,
        "environment_from": tuple(options.env_from) if options.env_from else None,
        "rules_dir": absolute(options.rules),
    })  # fmt: skip
    if options.alembic is None:
        if values:
            raise ConfigurationError("Options of the Alembic project need --alembic path/to/alembic.ini.")
        return None
    config_file = options.alembic.expanduser().resolve()
    if config_file.is_dir():
        config_file /= "alembic.ini"
    if not config_file.is_file():
        raise ConfigurationError(f"There is no Alembic configuration {config_file} (--alembic).")
    return {"config_file": config_file, **values}


def _x_arguments(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return what ``env.py`` gets by -x; raises ConfigurationError for a printed line without its values."""
    values = key_values("--x", pairs)
    if left_out := [key for key, value in values.items() if value == LEFT_OUT]:
        raise ConfigurationError(
            f"The value of --x {', '.join(left_out)} is not in the printed line, for it may be a secret: "
            f"put it in the place of {LEFT_OUT}"
        )
    return values


def _storage_values(options: TargetOptions, place: str) -> dict[str, Any]:
    s3_values = _given({
        "endpoint_url": options.s3_endpoint_url,
        "region": options.s3_region,
        "access_key_id_env": options.s3_access_key_id_env,
        "secret_access_key_env": options.s3_secret_access_key_env,
    })  # fmt: skip
    scheme, separator, rest = place.partition("://")
    if separator and scheme.lower() == "s3":
        bucket, _, prefix = rest.partition("/")
        if not bucket or "@" in bucket:
            raise ConfigurationError(
                "--storage must be s3://bucket/prefix; credentials come from the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from the address."
            )
        return {"kind": "s3", "bucket": bucket, "prefix": prefix.strip("/"), **s3_values}
    if s3_values:
        raise ConfigurationError("--s3-... options need --storage s3://bucket/prefix.")
    if separator and scheme.lower() != "file":
        raise ConfigurationError(
            f"Storage {scheme}:// is not known. Give s3://bucket/prefix, or a directory."
        )
    path = Path(unquote(urlsplit(place).path)) if separator else Path(place)
    return {"kind": "local", "path": absolute(path)}


def absolute(path: Path | None) -> Path | None:
    """Return the path as seen from anywhere; None stays None."""
    return None if path is None else path.expanduser().resolve()


def _without_resolving(python: Path | None) -> Path | None:
    """Return an absolute path that still is a virtual environment's: its link must not be followed."""
    return None if python is None else python.expanduser().absolute()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def key_values(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Parse KEY=VALUE pairs; raises ConfigurationError that does not repeat the value."""
    values = {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise ConfigurationError(
                f"{option} takes KEY=VALUE; a value without '=' or without a key was given."
            )
        values[key.strip()] = value.strip()
    return values


def _checked(policies: dict[str, str]) -> dict[str, Any]:
    """Return policies given for a registered target, typed; raises ConfigurationError."""
    from lockkeeper.registry import check_policies

    return check_policies(policies)
