"""``lockkeeper backup``, ``backups`` and ``restore``."""

from __future__ import annotations

import functools
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import ConfigurationError

ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report-file",
        metavar="FILE",
        help="Write the report there, too: *.html with pictures, else Markdown.",
    ),
]


class Kind(str, Enum):
    """What may be asked for; the models' own would cost the help a third of a second."""

    DUMP = "dump"
    PHYSICAL = "physical"
    SNAPSHOT = "snapshot"


@with_options
def backup(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind", help="dump, physical (the whole server), snapshot. Default: policy backup_kind."
        ),
    ] = None,
    report_file: ReportFile = None,
) -> Result:
    """Make a backup and prove it by restoring it.

    Old backups then expire by the target's policies, never the last verified one.
    """
    from lockkeeper.operations import run_backup

    chosen = select_target(target, options)
    if kind is not None:
        policies = chosen.policies.model_copy(update={"backup_kind": kind.value})
        chosen = chosen.model_copy(update={"policies": policies})
    return play(context.obj, chosen, command_line(chosen.name, options), None, run_backup, report_file)


@with_options
def backups(options: TargetOptions, common: CommonOptions, target: TargetArgument = None) -> Result:
    """List the target's backups with their states, newest first."""
    from lockkeeper.backup import list_backups
    from lockkeeper.reports import format_size, text_table

    chosen = select_target(target, options)
    manifests = sorted(list_backups(chosen), key=lambda one: one.created_at, reverse=True)
    rows = [
        (
            one.id,
            one.kind.value,
            one.state.value,
            f"{one.created_at:%Y-%m-%d %H:%M:%S %Z}",
            "" if one.size_bytes is None else format_size(one.size_bytes),
            ", ".join(one.revisions) or "none",
            one.reason or "",
        )
        for one in manifests
    ]
    header = ("backup", "kind", "state", "made at", "size", "revision", "reason")
    listed = [
        one.model_dump(
            mode="json",
            include={
                "id", "kind", "state", "database", "created_at", "updated_at", "size_bytes",
                "uncompressed_bytes", "revisions", "sha256", "reason", "dump_key", "server_version_num",
            },
        )
        for one in manifests
    ]  # fmt: skip
    text = text_table(header, rows) if rows else f"Target {chosen.name} has no backup yet."
    return Result(data={"target": chosen.name, "backups": listed}, text=text)


@with_options
def restore(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    backup_id: Annotated[
        str | None, typer.Argument(metavar="BACKUP_ID", help="As `lockkeeper backups` lists it.")
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Restore even if something was written since the backup.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="MOMENT",
            help="Of a physical backup, out of the archive: latest, a position (0/3000060) or a time.",
        ),
    ] = None,
    report_file: ReportFile = None,
) -> Result:
    """Let a backup take the database's place.

    It is restored beside the database, verified and swapped in; the former database is kept aside.
    Refuses (exit code 2, nothing changed) when anything was written since the backup, without
    --accept-loss. Writes are refused for the moments of the swap; the report says for how long.

    A physical backup comes back as a server of its own below the policy physical_folder: exit code 3 says
    where, until applications are pointed at it. With --accept-loss the policy switch_command does that.
    """
    from lockkeeper.operations import run_restore

    if backup_id is None and options.definition():
        target, backup_id = None, target  # without a registered target the one argument is the backup
    if backup_id is None:
        raise ConfigurationError("Which backup? `lockkeeper backups TARGET` lists them.")
    chosen = select_target(target, options)
    session: Session = context.obj
    by_hand = command_line(chosen.name, options)
    session.changing = by_hand.line("status")
    runbook = functools.partial(run_restore, backup_id=backup_id, accept_loss=accept_loss, until=to)
    return play(session, chosen, by_hand, None, runbook, report_file)
