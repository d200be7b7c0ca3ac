"""The command line's targets: a TOML file that holds names of environment variables, never a secret.

The file is ``$LOCKKEEPER_HOME/targets.toml``, or ``~/.config/lockkeeper/targets.toml``. It is readable by
its owner only, replaced atomically, and changed by one process at a time. A value that carries a password
is refused before it is written. ``resolve`` turns an entry into a ``lockkeeper.config.Target`` with the
secrets of the present environment.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lockkeeper.config import (
    TARGET_NAME_PATTERN,
    AlembicSettings,
    LocalStorageSettings,
    Policies,
    S3StorageSettings,
    StorageSettings,
    Target,
)
from lockkeeper.errors import ConfigurationError
from lockkeeper.home import lockkeeper_home
from lockkeeper.redaction import redact, register_secret

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "targets.toml"
_HEADER = "# Written by `lockkeeper target`. Names of environment variables stand here, never secrets.\n\n"
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DSN_PASSWORD = re.compile(r"\b((ssl)?password|oauth_client_secret)\s*=\s*\S", re.IGNORECASE)
_AMBIENT_SECRETS = ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def carries_password(text: str) -> bool:
    """Say whether ``text`` is or contains a URL or DSN with a password in it, percent-encoded or not."""
    if _DSN_PASSWORD.search(unquote(text)):
        return True
    try:
        return make_url(text).password is not None
    except (ArgumentError, ValueError):
        return redact(text) != text and "://" in text


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _holds_no_password(cls, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            texts = value.values() if isinstance(value, dict) else [value]
            if any(isinstance(text, str) and carries_password(text) for text in texts):
                raise ValueError(
                    f"{name} carries a password. It would stand in the shell's history, in the list of "
                    "processes and in the registry. Put the URL into an environment variable and give its "
                    "name: --database-url-env NAME"
                )
        return data


def _variable(name: str | None) -> str | None:
    if name is not None and not _VARIABLE_NAME.fullmatch(name):
        raise ValueError("not the name of an environment variable (give the name, not the value)")
    return name


class AlembicEntry(_Entry):
    """``AlembicSettings`` as registered; ``environment_from`` names variables handed to the project."""

    config_file: Path
    working_dir: Path | None = None
    python: Path | None = None
    ini_section: str = "alembic"
    url_env: str | None = "DATABASE_URL"
    driver: str | None = None
    x_arguments: dict[str, str] = Field(default_factory=dict)
    environment_from: tuple[str, ...] = ()
    rules_dir: Path | None = None

    @field_validator("environment_from")
    @classmethod
    def _are_variables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _variable(name)
        return names


class LocalStorageEntry(_Entry):
    """A folder on this machine."""

    kind: Literal["local"] = "local"
    path: Path


class S3StorageEntry(_Entry):
    """A bucket; keys come from the two named variables, or from boto3's own chain (AWS_ACCESS_KEY_ID...)."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(min_length=3)
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id_env: str | None = None
    secret_access_key_env: str | None = None

    @field_validator("access_key_id_env", "secret_access_key_env")
    @classmethod
    def _is_variable(cls, name: str | None) -> str | None:
        return _variable(name)


StorageEntry = Annotated[LocalStorageEntry | S3StorageEntry, Field(discriminator="kind")]


class TargetEntry(_Entry):
    """One target as registered: everything but the secrets, which stay in the environment."""

    database_url_env: str | None = None
    database_url: str | None = Field(default=None, description="Only without a password (~/.pgpass).")
    scratch_url_env: str | None = None
    maintenance_database: str = "postgres"
    client_bin_dir: Path | None = None
    slack_webhook_url_env: str | None = None
    alert_webhook_url_env: str | None = None
    alembic: AlembicEntry | None = None
    storage: StorageEntry
    policies: dict[str, Any] = Field(default_factory=dict, description="Only what differs from defaults.")

    @field_validator("database_url_env", "scratch_url_env", "slack_webhook_url_env", "alert_webhook_url_env")
    @classmethod
    def _is_variable(cls, name: str | None) -> str | None:
        return _variable(name)

    @field_validator("policies")
    @classmethod
    def _are_policies(cls, values: dict[str, Any]) -> dict[str, Any]:
        return typed_policies(values)

    @model_validator(mode="after")
    def _has_one_url(self) -> TargetEntry:
        if (self.database_url_env is None) == (self.database_url is None):
            raise ValueError("give the database by --database-url-env NAME (or, without password, by URL)")
        return self


def _did_you_mean(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def typed_policies(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return policies with their types; raises ValueError for one that is unknown or out of bounds."""
    for name in values:
        if name not in Policies.model_fields:
            raise ValueError(f"no policy {name!r}{_did_you_mean(name, Policies.model_fields)}")
    try:
        return Policies.model_validate(values).model_dump(include=set(values))
    except ValidationError as error:  # nested in another one, pydantic would print it with the values
        raise ValueError("; ".join(readable_problems(error))) from None


def check_policies(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return policies given on the command line with their types; raises ConfigurationError."""
    try:
        return typed_policies(values)
    except ValueError as error:
        raise ConfigurationError(f"--set is not valid: {error}") from None


def readable_problems(error: ValidationError) -> list[str]:
    """Return one line for each problem of a pydantic error, without any value that was given."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        names = [str(part) for part in problem["loc"] if part not in ("local", "s3")]
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(redact(f"{'.'.join(names)}: {message}" if names else message))
    return lines


def _refusal(what: str, error: ValidationError) -> ConfigurationError:
    return ConfigurationError(f"{what} is not valid: " + "; ".join(readable_problems(error)))


def make_entry(what: str, values: Mapping[str, Any]) -> TargetEntry:
    """Build an entry; raises ConfigurationError with one readable line, free of values."""
    try:
        return TargetEntry.model_validate(dict(values))
    except ValidationError as error:
        raise _refusal(what, error) from None  # the original repeats what was given


def registry_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the targets are registered."""
    if home := lockkeeper_home(environ):
        return home / FILE_NAME
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "lockkeeper" / FILE_NAME


class Registry:
    """The registered targets of one file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or registry_path()

    def entries(self) -> dict[str, TargetEntry]:
        """Return name -> entry, sorted by name.

        Raises:
            ConfigurationError: the file is not readable, not TOML, or an entry is wrong.
        """
        return {name: make_entry(self._where(name), values) for name, values in sorted(self._read().items())}

    def get(self, name: str) -> TargetEntry:
        """Return one entry; raises ConfigurationError with the known names when there is none."""
        targets = self._read()
        if name not in targets:
            known = ", ".join(sorted(targets)) or "none yet"
            raise ConfigurationError(
                f"No target {name!r} is registered (known: {known}; file: {self.path}). Register it with "
                f"`lockkeeper target add {name} ...`, or give --database-url-env, --alembic and --storage."
            )
        return make_entry(self._where(name), targets[name])

    def add(self, name: str, entry: TargetEntry, *, replace: bool = False) -> None:
        """Write an entry; raises ConfigurationError when the name is taken and ``replace`` is not given."""
        if not re.fullmatch(TARGET_NAME_PATTERN, name):
            raise ConfigurationError(
                f"{name!r} cannot be a target's name: use small letters, digits and '-', at most 63, "
                "starting with a letter or a digit."
            )
        with self._changing() as targets:
            if name in targets and not replace:
                raise ConfigurationError(
                    f"Target {name!r} is already registered. Change it with --replace, or remove it first."
                )
            targets[name] = entry.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
            targets[name]["storage"]["kind"] = entry.storage.kind

    def remove(self, name: str) -> None:
        """Forget an entry (its backups stay); raises ConfigurationError when there is none."""
        with self._changing() as targets:
            if targets.pop(name, None) is None:
                known = ", ".join(sorted(targets)) or "none"
                raise ConfigurationError(f"No target {name!r} is registered (known: {known}).")

    def _where(self, name: str) -> str:
        return f"Target {name!r} in {self.path}"

    def _read(self) -> dict[str, Any]:
        try:
            data = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"The registry {self.path} cannot be read: {error}") from error
        targets = data.get("targets", {})
        if not isinstance(targets, dict) or not all(isinstance(value, dict) for value in targets.values()):
            raise ConfigurationError(f"The registry {self.path} has no table [targets.NAME] for each target.")
        return targets

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Yield the targets and write them back; holds a file lock, so that no other change is lost."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (self.path.parent / f".{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                targets = self._read()
                yield targets
                self._write(targets)
        except OSError as error:
            raise ConfigurationError(f"The registry {self.path} cannot be written: {error}") from error

    def _write(self, targets: dict[str, Any]) -> None:
        destination = self.path.resolve()  # a symbolic link stays one
        handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:  # mkstemp gives mode 0600
                file.write(_HEADER + tomli_w.dumps({"targets": targets}))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(destination)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _secret(variable: str, what: str, example: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable)
    if not value:
        state = "empty" if value == "" else "not set"
        raise ConfigurationError(
            f"The environment variable {variable}, which holds {what}, is {state}. "
            f"Set it: export {variable}='{example}'"
        )
    return value


def _optional_secret(variable: str | None, what: str, example: str, environ: Mapping[str, str]) -> str | None:
    return _secret(variable, what, example, environ) if variable else None


def _resolve_storage(entry: TargetEntry, environ: Mapping[str, str]) -> StorageSettings:
    storage = entry.storage
    if isinstance(storage, LocalStorageEntry):
        return LocalStorageSettings(path=storage.path)
    return S3StorageSettings.model_validate(
        {
            **storage.model_dump(exclude={"access_key_id_env", "secret_access_key_env"}),
            "access_key_id": _optional_secret(storage.access_key_id_env, "the S3 access key", "...", environ),
            "secret_access_key": _optional_secret(
                storage.secret_access_key_env, "the S3 secret key", "...", environ
            ),
        }
    )


def _resolve_alembic(entry: AlembicEntry, environ: Mapping[str, str]) -> AlembicSettings:
    names = entry.environment_from
    environment = {name: _secret(name, "a value for env.py", "...", environ) for name in names}
    values = entry.model_dump(exclude={"environment_from"})
    return AlembicSettings.model_validate({**values, "environment": environment})


def resolve(
    name: str,
    entry: TargetEntry,
    *,
    policies: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """Return the target with its secrets, read from ``environ``; ``policies`` override the entry's.

    Raises:
        ConfigurationError: a variable is not set, or a value is wrong; names the variable or field.
    """
    for variable in _AMBIENT_SECRETS:  # libpq and boto3 read these by themselves
        register_secret(environ.get(variable))
    url = "postgresql://user:password@host:5432/database"
    source = entry.database_url_env
    values = {
        "name": name,
        "database_url": entry.database_url or _secret(source or "", "the database URL", url, environ),
        "scratch_url": _optional_secret(entry.scratch_url_env, "the scratch server's URL", url, environ),
        "maintenance_database": entry.maintenance_database,
        "client_bin_dir": entry.client_bin_dir,
        "slack_webhook_url": _optional_secret(
            entry.slack_webhook_url_env, "the Slack webhook", "https://hooks.slack.com/services/...", environ
        ),
        "alert_webhook_url": _optional_secret(
            entry.alert_webhook_url_env, "the webhook for alerts", "https://...", environ
        ),
    }
    try:
        return Target.model_validate(
            {
                **values,
                "alembic": entry.alembic and _resolve_alembic(entry.alembic, environ),
                "storage": _resolve_storage(entry, environ),
                "policies": Policies.model_validate({**entry.policies, **(policies or {})}),
            }
        )
    except ValidationError as error:
        origin = f" (its URL comes from {source})" if source else ""
        raise _refusal(f"Target {name!r}{origin}", error) from None
