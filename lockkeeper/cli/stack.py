"""``lockkeeper up`` and ``lockkeeper down``: real servers on this machine, without Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockkeeper.cli.options import CommonOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.progress import showing_progress

Folder = Annotated[
    Path, typer.Option("--folder", metavar="DIR", help="Where the stack lives: data, passwords, logs.")
]


@with_options
def up(
    context: typer.Context,
    common: CommonOptions,
    folder: Folder = Path(".lockkeeper"),
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="Default: with Prefect where it is installed."),
    ] = None,
) -> Result:
    """Start the embedded stack for trying things out.

    PostgreSQL, an S3 server and Prefect with a worker; what runs already is kept.
    """
    from lockkeeper.local.stack import start_stack

    lines: list[str] = []
    with showing_progress(context.obj, "starting the embedded stack") as progress:

        def tell(line: str) -> None:
            lines.append(line)
            progress.say("up", line)

        state = start_stack(folder, prefect=prefect, progress=tell)
    running = state.running()
    data = {
        "folder": str(state.folder),
        "running": running,
        "postgres_port": state.postgres_port,
        "s3_port": state.s3_port,
        "ui_url": state.ui_url if running.get("prefect") else None,
    }
    lines.append(f"Stop it with: lockkeeper down --folder {folder}")
    return Result(data=data, text="\n".join(lines))


@with_options
def down(common: CommonOptions, folder: Folder = Path(".lockkeeper")) -> Result:
    """Stop the embedded stack, keep its data."""
    from lockkeeper.local.stack import stop_stack

    stopped = stop_stack(folder)
    text = f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running."
    return Result(data={"folder": str(folder), "stopped": stopped}, text=text)
