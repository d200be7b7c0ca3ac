"""``lockkeeper recover``, ``undo`` and ``clean``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from lockkeeper.cli.backups import ReportFile
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import select_target


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
    session.changing = f"lockkeeper recover {chosen.name}"
    return play(session, chosen, None, run_recover, report_file)


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
    session.changing = f"lockkeeper status {chosen.name}"
    return play(session, chosen, None, run_undo, report_file)


@with_options
def clean(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Drop the newest quarantined database too.")
    ] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Also remove what waits for an undo or for a recovery.")
    ] = False,
    report_file: ReportFile = None,
) -> Result:
    """Remove what earlier runs have left.

    Scratch databases, captures with their slots and spools, warm copies, old quarantines. What waits for an
    undo or for a human, and the newest quarantine, stay unless asked for. `lockkeeper status` lists them.
    """
    from lockkeeper.recoveries import run_clean

    runbook = functools.partial(run_clean, quarantine=quarantine, waiting=waiting)
    return play(context.obj, select_target(target, options), None, runbook, report_file)
