"""``lockkeeper report``: the page with pictures of a run that is in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import ConfigurationError

RunId = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="Its id, as `lockkeeper status` shows it. Default: the newest."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: RUN.html in this folder.")
]


@with_options
def report(
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    run_id: RunId = None,
    output: Output = None,
) -> Result:
    """Write the story of a run as one HTML file with pictures.

    Steps over time, prediction against reality, blocked sessions, latency, sizes.
    The file needs nothing else.
    """
    from lockkeeper.journal import read_report, read_reports
    from lockkeeper.page import html_report
    from lockkeeper.storage import open_storage

    chosen = select_target(target, options)
    storage = open_storage(chosen.storage)
    reports = (
        [read_report(storage, chosen.name, run_id)]
        if run_id
        else read_reports(storage, chosen.name, newest=1)
    )
    if not reports:
        raise ConfigurationError(f"Target {chosen.name!r} has no run yet in {storage.describe()}.")
    path = output or Path(f"{reports[0].run_id}.html")
    write_page(path, html_report(reports[0]))
    return Result(data={"run_id": reports[0].run_id, "file": str(path)}, text=str(path))


def write_page(path: Path, page: str) -> None:
    """Write a page; raises ConfigurationError when it cannot be."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"The report cannot be written to {path}: {error.strerror}.") from error
