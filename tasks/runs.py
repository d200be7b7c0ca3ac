"""One run in this process: its engine, its progress, its way into Prefect's log.

A flow opens the run; its tasks find the engine again by the target's name and the run's id. So a password
is resolved once and passes through no parameter, and all steps share the session that holds the lock.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from prefect import runtime
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.engine.run import Progress
from lockkeeper.errors import ConfigurationError, RefusedError
from lockkeeper.models import RunReport, StepState, utc_now
from lockkeeper.redaction import redact
from tasks.alerts import emit_alert
from tasks.blocks import load_target
from tasks.by_hand import Deployments
from tasks.logs import CORE_LOGGER, RunLogHandler, keep_secrets_out_of_logs, run_logger
from tasks.progress import RunBoard
from tasks.reports import publish_refusal

ACTOR_TAG = "github:"
"""What the tag of a run begins with that ``.github/workflows/prod-migration.yml`` started; then its actor."""
_open: dict[tuple[str, str], Engine] = {}


@dataclass(frozen=True)
class Run:
    """A run that is open: who it is, and what its steps work with."""

    id: str
    target: Target
    engine: Engine
    board: RunBoard
    initiator: str
    link: str | None

    def show(self, report: RunReport, expected_steps: int) -> None:
        """Show how far a report has come; costs no waiting."""
        ended = sum(step.state is not StepState.RUNNING for step in report.steps)
        self.board.reach(ended, expected_steps, report.steps[-1].name if report.steps else "starting")


@contextlib.contextmanager
def opened_run(target_name: str, operation: str) -> Iterator[Run]:
    """Open a run of ``operation`` for the length of the block; at most one a flow run.

    Raises:
        ConfigurationError: there is no such target, or it cannot be used; a report says so.
    """
    keep_secrets_out_of_logs()
    try:
        target = load_target(target_name)
    except RefusedError as error:
        publish_refusal(operation, target_name, redact(str(error)))
        raise
    run_id, log = _run_id(), get_run_logger()
    board = RunBoard(f"{operation}-progress-{target.name}")

    def announce(step: str, message: str) -> None:
        run_logger(log).info("%s: %s", step, message)
        board.say(redact(f"{step}: {message}"))

    flow_run = _flow_run()
    answerable = str(flow_run.id) if flow_run.deployment_id else None  # a script's run cannot be suspended
    engine = _engine(target, run_id, announce, answerable)
    engine.on_alert, engine.on_fraction, engine.link = emit_alert, board.advance, _link()
    run = Run(run_id, target, engine, board, _initiator(), engine.link)
    _open[target.name, run_id] = run.engine
    try:
        with _core_log(RunLogHandler(log)):
            yield run
    finally:
        del _open[target.name, run_id]
        board.close()


def engine_of(target: str, run_id: str) -> Engine:
    """Return the engine of a run: the open one, or a new one where a task is used outside its flow."""
    return _open.get((target, run_id)) or _engine(load_target(target), run_id)


def _engine(
    target: Target, run_id: str, progress: Progress | None = None, answerable: str | None = None
) -> Engine:
    engine = Engine(target, run_id, progress)
    engine.by_hand = Deployments(target.name, answerable)
    return engine


@contextlib.contextmanager
def _core_log(handler: logging.Handler) -> Iterator[None]:
    core = logging.getLogger(CORE_LOGGER)
    level = core.level
    core.addHandler(handler)
    core.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        core.removeHandler(handler)
        core.setLevel(level)


def _run_id() -> str:
    """Return an id that sorts by time and leads back to the flow run; a restarted run gets a new one."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{str(_flow_run().id)[:8]}"


def _initiator() -> str:
    """Say what Prefect knows of who started this run; its open-source server authenticates nobody.

    The GitHub workflow leaves its actor's name as a tag, which anybody may set who may start runs.
    """
    flow_run = _flow_run()
    actors = [tag.removeprefix(ACTOR_TAG) for tag in sorted(flow_run.tags) if tag.startswith(ACTOR_TAG)]
    known = [f"{actor} (GitHub Actions)" for actor in actors if actor]
    if flow_run.deployment_id is None:
        return ", ".join([*known, "a script"])
    who = flow_run.created_by.display_value if flow_run.created_by else None
    how = "schedule of " if flow_run.auto_scheduled else ""
    return ", ".join([*known, f"{how}deployment {runtime.deployment.name}", *([who] if who else [])])


def _link() -> str | None:
    return url_for(_flow_run()) if PREFECT_UI_URL.value() else None


def _flow_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError("Runs are opened inside a flow. Without one use the command `lockkeeper`.")
    return context.flow_run
