"""``lockkeeper recover``, ``undo`` and ``clean``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from lockkeeper.cli.backups import ReportFile
from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import select_target

if TYPE_CHECKING:
    from lockkeeper.by_hand import CommandLine
    from lockkeeper.config import Target


@with_options
def recover(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    report_file: ReportFile = None,
) -> Result:
    """Take up a migration that was killed, or that needs a human: back to before it.

    Climbs the recovery ladder with what the run has left: its backup, its capture, its warm copy. Nothing
    that an application has written is lost where it was captured. Can be killed and run again.
    """
    from lockkeeper.recoveries import run_recover

    chosen = select_target(target, options)
    session: Session = context.obj
    by_hand = command_line(chosen.name, options)
    session.changing = by_hand.recover()
    return play(session, chosen, by_hand, None, run_recover, report_file)


@with_options
def undo(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    report_file: ReportFile = None,
) -> Result:
    """Undo the last migration, and keep every write since.

    The copy that the policy bake_time_s has kept takes the database's place. Writes are refused for the
    moments of the swap; what the former schema has no place for is parked and listed.
    """
    from lockkeeper.recoveries import run_undo

    chosen = select_target(target, options)
    session: Session = context.obj
    by_hand = command_line(chosen.name, options)
    session.changing = by_hand.line("status")
    return play(session, chosen, by_hand, None, run_undo, report_file)


@with_options
def clean(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    quarantine: Annotated[
        str | None,
        typer.Option("--quarantine", metavar="NAME", help="Also drop the newest quarantine, by its name."),
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Also remove what waits for an undo or for a recovery.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only show what would go.")] = False,
    report_file: ReportFile = None,
) -> Result:
    """Show what earlier runs have left, and with --yes remove it.

    Scratch databases, captures with slots, publications, origins and spools (in the storage too), warm
    copies, old quarantines. What waits for an undo or for a human, and the newest quarantine, stay unless
    asked for. Nothing of a run that is alive is touched: removing takes the migration lock.
    """
    from lockkeeper.recoveries import run_clean

    chosen = select_target(target, options)
    by_hand = command_line(chosen.name, options)
    if not yes:
        return _would_remove(chosen, quarantine, waiting, by_hand)
    runbook = functools.partial(run_clean, quarantine=quarantine, waiting=waiting)
    return play(context.obj, chosen, by_hand, None, runbook, report_file)


def _would_remove(target: Target, quarantine: str | None, waiting: bool, by_hand: CommandLine) -> Result:
    from lockkeeper.recovery.remains import find_remains, removable
    from lockkeeper.reports import text_table

    found = find_remains(target)
    going = removable(found, quarantine=quarantine, waiting=waiting)
    rows = [("would go" if one in going else "stays", one.kind, one.name, one.description) for one in found]
    command = by_hand.clean(waiting=waiting, quarantine=quarantine) if going else None
    data = {
        "target": target.name,
        "would_remove": [f"{one.kind} {one.name}" for one in going],
        "stays": [f"{one.kind} {one.name}" for one in found if one not in going],
        "next_command": command,
    }
    headings = ("", "kind", "name", "nothing was removed")
    text = text_table(headings, rows) if rows else "nothing is left"
    return Result(data=data, text=text, next_command=command)
