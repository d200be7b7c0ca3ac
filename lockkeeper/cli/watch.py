"""``lockkeeper watch``: one live view of a target, or of the run that works on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockkeeper.cli.options import CommonOptions, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import FAILED, ConfigurationError

if TYPE_CHECKING:
    from lockkeeper.monitoring.live import LivePicture
    from lockkeeper.prefect_api import PrefectApi

ENDED_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
ASK_INTERVAL_S = 2.0

Wanted = Annotated[
    str | None,
    typer.Argument(metavar="TARGET|RUN", help="A target, or a flow run of a Prefect server, by id or name."),
]
Once = Annotated[bool, typer.Option("--once", help="One picture, then end; so it is without a terminal.")]
Interval = Annotated[float, typer.Option("--interval", min=0.2, max=60, help="Seconds between two pictures.")]
For = Annotated[float | None, typer.Option("--for", min=0, help="End after so many seconds.")]


@with_options
def watch(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    wanted: Wanted = None,
    once: Once = False,
    interval_s: Interval = 1.0,
    for_s: For = None,
) -> Result:
    """Watch a target live: its run, sessions, long commands, who waits for whom, latency.

    Reads only, on connections of its own. A run is watched until it ends, a target until Ctrl-C. With --json,
    and without a terminal, it is one picture. Exit code 1 when something could not be read.
    """
    from lockkeeper.cli.live_screen import live_screen
    from lockkeeper.monitoring.live import looking_at

    session: Session = context.obj
    target_name, has_ended = _meant(wanted, options)
    chosen = select_target(target_name, options)
    single = once or session.json or not session.stdout.isatty()
    with looking_at(chosen, interval_s) as look:
        if single:
            time.sleep(min(interval_s, 1.0))  # the first latency, and the rate of what is under way
            picture = look()
        else:
            until = None if for_s is None else time.monotonic() + for_s
            picture = _show(session, look, interval_s, lambda: has_ended() or _is_past(until))
    data = picture.as_dict()
    if picture.problems:
        data["error"] = "; ".join(f"{what}: {why}" for what, why in picture.problems.items())
    return Result(exit_code=FAILED if picture.problems else 0, data=data, text=live_screen(picture))


def _is_past(until: float | None) -> bool:
    return until is not None and time.monotonic() >= until


def _show(
    session: Session, look: Callable[[], LivePicture], interval_s: float, has_ended: Callable[[], bool]
) -> LivePicture:
    """Redraw until the end, or until Ctrl-C, which is the way to end it; returns the last picture."""
    from rich.live import Live

    from lockkeeper.cli.live_screen import live_screen

    picture = look()
    console = session.console(session.stdout)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(live_screen(picture), refresh=True)
            if has_ended():
                break
            time.sleep(interval_s)
            picture = look()
    return picture


def _meant(wanted: str | None, options: TargetOptions) -> tuple[str | None, Callable[[], bool]]:
    """Return the target's name, and what tells whether the run has ended that was named instead of it."""
    from lockkeeper.prefect_api import PrefectApi
    from lockkeeper.registry import Registry

    if wanted is None or options.definition() or wanted in Registry().entries():
        return wanted, lambda: False
    try:
        api = PrefectApi.from_environment()
    except ConfigurationError:
        return wanted, lambda: False  # then it can only be a target, and what is wrong with that is said
    run = _flow_run(api, wanted)
    return run["parameters"]["target"], _FlowRun(api, run["id"]).has_ended


def _flow_run(api: PrefectApi, wanted: str) -> Any:
    from lockkeeper.suspended_runs import newest_run

    run = newest_run(api, wanted)
    if run is None or "target" not in (run.get("parameters") or {}):
        raise ConfigurationError(
            f"{wanted!r} is neither a registered target (`lockkeeper target list`) nor a run of one on the "
            "Prefect server of PREFECT_API_URL."
        )
    return run


class _FlowRun:
    """A run of a Prefect server, asked after now and then; a server that does not answer ends nothing."""

    def __init__(self, api: PrefectApi, run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self._asked_at: float | None = None
        self._ended = False

    def has_ended(self) -> bool:
        from lockkeeper.prefect_api import PrefectApiError

        if self._asked_at is None or time.monotonic() - self._asked_at >= ASK_INTERVAL_S:
            self._asked_at = time.monotonic()
            with contextlib.suppress(PrefectApiError):
                run = self._api.request("GET", f"/flow_runs/{self._run_id}")
                self._ended = run["state_type"] in ENDED_STATES
        return self._ended
