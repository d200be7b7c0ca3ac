"""``lockkeeper migrate`` and ``lockkeeper plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.checks import check_result
from lockkeeper.cli.initiator import initiator
from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import refuse_ambiguous_name, select_target
from lockkeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from lockkeeper.models import Approval

RevisionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="REVISION",
        help="A revision's id, a part of one, head, heads, +1, branch@head. Default: head.",
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option("--revision", metavar="REVISION", help="The same, where TARGET is left out.")
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report-file", metavar="FILE", help="Write the report there as Markdown, too."),
]


@with_options
def migrate(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    revision: RevisionArgument = None,
    revision_option: RevisionOption = None,
    report_file: ReportFile = None,
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="RUN", help="Approve what that run has found, and go on."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is approved; needed.")] = "",
) -> Result:
    """Back up, migrate, verify; recover when it fails.

    The backup is proven by restoring it before anything is changed. Holds the database's migration
    lock for the whole time. Nothing is touched when a preflight check refuses (exit code 2) or when
    there is nothing to do (0).

    By policy (approval=over-budget or always) somebody must approve after the rehearsal: at the terminal, or
    with --approve, the id of the run that ended because nobody could be asked (2), and a --reason.
    """
    from lockkeeper.runbook import run_migration

    wanted = _revision(target, revision, revision_option, options)
    chosen = select_target(target, options)
    chosen.require_alembic()
    session: Session = context.obj
    by_hand = command_line(chosen.name, options)
    session.changing = by_hand.line("status")
    return play(session, chosen, by_hand, wanted, run_migration, report_file, _approval(approve, reason))


@with_options
def plan(
    options: TargetOptions,
    common: CommonOptions,
    target: TargetArgument = None,
    revision: RevisionArgument = None,
    revision_option: RevisionOption = None,
) -> Result:
    """Say what migrate would do, and touch nothing.

    Runs every preflight check and shows every result, and what the lint finds in the revisions, as warnings.
    Exit code 2 when a check refuses.
    """
    wanted = _revision(target, revision, revision_option, options)
    chosen = select_target(target, options)
    chosen.require_alembic()
    return check_result(chosen, wanted)


def _approval(run_id: str | None, reason: str) -> Approval | None:
    from lockkeeper.approval import require_reason
    from lockkeeper.models import Approval, Decision, utc_now

    if run_id is None:
        return None
    return Approval(
        key=run_id,
        decision=Decision.APPROVE,
        reason=require_reason(reason),
        approver=initiator(),
        recorded_by="the command line",
        decided_at=utc_now(),
    )


def _revision(target: str | None, argument: str | None, option: str | None, options: TargetOptions) -> str:
    if argument is not None and option is not None and argument != option:
        raise ConfigurationError(f"Two revisions are given: {argument} and --revision {option}.")
    refuse_ambiguous_name(target, argument or option, options)
    return argument or option or "head"
