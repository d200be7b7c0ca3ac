"""``lockkeeper trend``: where a target is going, by the looks and drills of the last days."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.pages import write_page
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import ConfigurationError

Days = Annotated[float, typer.Option("--days", min=0.01, help="How far to look back.")]
Page = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page with pictures here.")
]


@with_options
def trend(
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    days: Days = 30,
    output: Page = None,
) -> Result:
    """Show where a target is going: growth, load, waits, and what its drills took.

    Read from what scheduled looks and drills have left in the storage; the database is not asked.
    """
    from lockkeeper.monitoring.trend import read_trend
    from lockkeeper.monitoring.trend_story import trend_facts, trend_page
    from lockkeeper.reports import text_table

    chosen = select_target(target, options)
    seen = read_trend(chosen, days)
    if not seen.samples and not seen.drills:
        raise ConfigurationError(
            f"Nothing was kept of target {chosen.name!r} in the last {days:g} days. Schedule "
            "monitor-database for it, and keep the policy history_days above 0."
        )
    if output is not None:
        write_page(output, trend_page(seen))
    data = {**seen.as_dict(), "file": str(output) if output is not None else None}
    return Result(data=data, text=text_table(("", ""), trend_facts(seen)))
