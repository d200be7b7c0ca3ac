"""``lockkeeper drill``."""

from __future__ import annotations

import typer

from lockkeeper.cli.backups import ReportFile
from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import select_target


@with_options
def drill(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    report_file: ReportFile = None,
) -> Result:
    """Practise the recovery from storage and time it.

    The newest verified backup is restored on the scratch server, compared, timed and dropped again. Exit
    code 1 when it does not come back, or when a recovery would take longer than the policy
    recovery_objective_s allows.
    """
    from lockkeeper.operations import run_drill

    chosen = select_target(target, options)
    return play(context.obj, chosen, command_line(chosen.name, options), None, run_drill, report_file)
