"""Plays a run for the command line: progress while it lasts, its report at the end, its exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lockkeeper.cli.initiator import initiator, run_link
from lockkeeper.cli.interruption import ending_in_order
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.progress import showing_progress

if TYPE_CHECKING:
    from lockkeeper.by_hand import CommandLine
    from lockkeeper.config import Target
    from lockkeeper.engine import Engine
    from lockkeeper.models import Approval, RunReport
    from lockkeeper.runbook import MigrationRequest


def play(
    session: Session,
    target: Target,
    by_hand: CommandLine,
    revision: str | None,
    runbook: Callable[[Engine, MigrationRequest], RunReport],
    report_file: Path | None,
    approving: Approval | None = None,
) -> Result:
    """Play ``runbook`` with an engine for ``target`` and return its report.

    ``by_hand`` are the commands that it may tell somebody to run on this target.
    ``approving`` is an answer to the run that its key names. An interruption is answered with the report
    too: by then the runbook has ended in order.

    Raises:
        RefusedError: the run that is answered did not ask.
        KeyboardInterrupt: interrupted before there was anything to report.
    """
    from lockkeeper.cli.watched_engine import WatchedEngine
    from lockkeeper.record import new_run_id
    from lockkeeper.runbook import MigrationRequest

    request = MigrationRequest(
        run_id=new_run_id(),
        target=target.name,
        database=target.database,
        revision=revision or "",
        initiator=initiator(),
        link=run_link(),
        recovery=target.policies.recovery,
        rehearsal=target.policies.rehearsal,
        approval=target.policies.approval,
    )
    with showing_progress(session, f"{target.name}: starting") as progress, ending_in_order():
        engine = WatchedEngine(target, request.run_id, progress, session)
        engine.link, engine.by_hand = request.link, by_hand
        if approving is not None:
            request = dataclasses.replace(request, answered=engine.answered(approving.key, approving))
        try:
            report = runbook(engine, request)
        except KeyboardInterrupt:
            if engine.latest is None or engine.latest.outcome is None:
                raise
            report = engine.latest
    return report_result(report, report_file)


def report_result(report: RunReport, report_file: Path | None = None) -> Result:
    """Return a report as a command's result, and write it to a file where asked for."""
    from lockkeeper.models import Outcome
    from lockkeeper.reports import terminal_report

    outcome = report.outcome or Outcome.NEEDS_HUMAN
    warnings = list(report.warnings)
    if report_file is not None:
        try:
            report_file.write_text(_as_file(report, report_file), encoding="utf-8")
        except OSError as error:  # the run has ended; a full disk does not change how
            warnings.append(f"The report could not be written: {error}")
            report = report.model_copy(update={"warnings": tuple(warnings)})
    return Result(
        exit_code=outcome.exit_code,
        outcome=outcome.value,
        data=report.model_dump(mode="json"),
        text=terminal_report(report),
        next_command=report.next_command,
    )


def _as_file(report: RunReport, report_file: Path) -> str:
    if report_file.suffix.lower() in (".html", ".htm"):
        from lockkeeper.page import html_report

        return html_report(report)
    from lockkeeper.reports import markdown_report

    return markdown_report(report)
