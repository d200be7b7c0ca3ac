"""``lockkeeper target``: the registered targets."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from lockkeeper.cli.checks import check_result
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.selection import entry_from_options, select_target

app = typer.Typer(help="Register, show and check the databases that you migrate.", no_args_is_help=True)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Small letters, digits and '-'.", show_default=False)
]


@app.command()
@with_options
def add(
    name: Name,
    options: TargetOptions,
    common: CommonOptions,
    replace: Annotated[bool, typer.Option("--replace", help="Change a registered target.")] = False,
) -> Result:
    """Register a target.

    The registry keeps names of environment variables, never a secret.
    """
    from lockkeeper.registry import Registry

    registry = Registry()
    entry = entry_from_options(options)
    registry.add(name, entry, replace=replace)
    missing = [variable for variable in _variables(entry) if not os.environ.get(variable)]
    lines = [f"Target {name} is registered in {registry.path}."]
    lines += [f"Set {variable} before you use it." for variable in missing]
    lines.append(f"Next: lockkeeper target check {name}")
    data = {"target": name, "registry": str(registry.path), "missing_variables": missing, **_shown(entry)}
    return Result(data=data, text="\n".join(lines))


@app.command("list")
@with_options
def list_targets(common: CommonOptions) -> Result:
    """List the registered targets."""
    from lockkeeper.registry import Registry
    from lockkeeper.reports import text_table

    registry = Registry()
    entries = registry.entries()
    if not entries:
        text: Any = f"No target is registered yet (in {registry.path}). Add one: lockkeeper target add --help"
    else:
        rows = [
            (
                name,
                entry.database_url_env or entry.database_url or "",
                str(entry.alembic.config_file) if entry.alembic else "none",
                _place(entry.storage.model_dump()),
            )
            for name, entry in entries.items()
        ]
        text = text_table(("name", "database url", "alembic", "storage"), rows)
    targets = [{"name": name, **_shown(entry)} for name, entry in entries.items()]
    return Result(data={"registry": str(registry.path), "targets": targets}, text=text)


@app.command()
@with_options
def show(name: Name, common: CommonOptions) -> Result:
    """Show one registered target with the policies in force."""
    from lockkeeper.config import Policies
    from lockkeeper.registry import Registry
    from lockkeeper.reports import text_table

    entry = Registry().get(name)
    policies = Policies.model_validate(entry.policies).model_dump(mode="json")
    variables = {variable: bool(os.environ.get(variable)) for variable in _variables(entry)}
    shown = _shown(entry)
    rows = [("name", name), *_flat(shown | {"policies": policies})]
    rows += [(f"environment.{key}", "set" if is_set else "not set") for key, is_set in variables.items()]
    data = {"name": name, **shown, "policies": policies, "environment": variables}
    return Result(data=data, text=text_table(("setting", "value"), rows))


@app.command()
@with_options
def check(
    options: TargetOptions,
    common: CommonOptions,
    name: TargetArgument = None,
    revision: Annotated[str, typer.Option("--revision", help="What would be migrated to.")] = "head",
) -> Result:
    """Run every preflight check and show every result.

    Touches nothing. Exit code 2 when one of them refuses.
    """
    return check_result(select_target(name, options), revision)


@app.command()
@with_options
def remove(name: Name, common: CommonOptions) -> Result:
    """Forget a target; database and backups stay."""
    from lockkeeper.registry import Registry

    Registry().remove(name)
    text = f"Target {name} is no longer registered; its database and its backups are as they were."
    return Result(data={"target": name}, text=text)


def _shown(entry: Any) -> dict[str, Any]:
    shown: dict[str, Any] = entry.model_dump(mode="json", exclude_none=True)
    return shown


def _variables(entry: Any) -> list[str]:
    """Return the environment variables that this entry takes secrets from."""
    names = [
        entry.database_url_env,
        entry.scratch_url_env,
        entry.slack_webhook_url_env,
        entry.alert_webhook_url_env,
    ]
    names += entry.alembic.environment_from if entry.alembic else ()
    storage = entry.storage.model_dump()
    names += [storage.get("access_key_id_env"), storage.get("secret_access_key_env")]
    return [name for name in names if name]


def _place(storage: dict[str, Any]) -> str:
    if storage["kind"] == "local":
        return str(storage["path"])
    return "s3://" + "/".join(part for part in (storage["bucket"], storage["prefix"]) if part)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows
