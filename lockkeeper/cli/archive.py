"""``lockkeeper archive``."""

from __future__ import annotations

import signal
import threading

import typer

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.progress import showing_progress
from lockkeeper.cli.selection import select_target


@with_options
def archive(
    context: typer.Context, options: TargetOptions, common: CommonOptions, target: TargetArgument = None
) -> Result:
    """Keep the write-ahead log in the target's storage, so that physical backups reach the present.

    Runs until SIGTERM or Ctrl-C: let a service manager start it. Keeps no log back on the server; when the
    server recycles log that was not received, it says so, and a new physical backup is needed.
    """
    from lockkeeper.physical import Archiver

    chosen = select_target(target, options)
    session: Session = context.obj
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with showing_progress(session, f"{chosen.name}: archiving") as progress:
        archiver = Archiver(chosen, lambda message: progress.say("archive", message))
        segments = archiver.run(stopped.is_set)
    data = {"target": chosen.name, "segments": segments}
    return Result(data=data, text=f"{segments} segments of the log of {chosen.name} were completed.")
