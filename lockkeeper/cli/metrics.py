"""``lockkeeper metrics``: what Lockkeeper has measured on this machine, printed or served to Prometheus."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Annotated

import typer

from lockkeeper.cli.options import CommonOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.errors import ConfigurationError

HIGHEST_PORT = 65_535

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", metavar="[HOST:]PORT", help="Serve /metrics until Ctrl-C. Default host: 127.0.0.1."
    ),
]


@with_options
def metrics(context: typer.Context, common: CommonOptions, listen: Listen = None) -> Result:
    """Print the metrics of this machine's looks and migrations, or serve them to Prometheus.

    They are those in the folder that LOCKKEEPER_METRICS_DIR names, in the format of OpenMetrics.
    """
    from lockkeeper.monitoring.metrics import FOLDER_VARIABLE
    from lockkeeper.monitoring.metrics_server import merged_metrics, serving_metrics

    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise ConfigurationError(
            f"{FOLDER_VARIABLE} names no folder, so no metrics are written on this machine."
        )
    text = merged_metrics(Path(folder))
    if listen is None:
        return Result(data={"metrics": text}, text=text.rstrip("\n"))
    session: Session = context.obj
    host, port = _place(listen)
    with serving_metrics(Path(folder), host, port) as address, contextlib.suppress(KeyboardInterrupt):
        session.complain(f"Serving {address}")
        threading.Event().wait()
    return Result(data={"address": address}, text=f"Served {address}")


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > HIGHEST_PORT:
        raise ConfigurationError(f"--listen {listen}: expected PORT or HOST:PORT, e.g. 127.0.0.1:9187.")
    return host.strip("[]") or "127.0.0.1", int(port)
