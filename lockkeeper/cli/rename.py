"""``lockkeeper rename ...`` and ``lockkeeper tune``: a column renamed stage by stage, without Prefect.

Every command can be run again: the ledger in the target's database says what is done. Who types ``flip`` or
``contract`` has approved it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.initiator import initiator
from lockkeeper.cli.options import CommonOptions, TargetOptions, with_options
from lockkeeper.cli.output import Result, Session
from lockkeeper.cli.runs import play
from lockkeeper.cli.selection import key_values, select_target
from lockkeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from lockkeeper.config import Target
    from lockkeeper.engine import Engine
    from lockkeeper.models import Approval, RunReport
    from lockkeeper.record import RunRecord
    from lockkeeper.rename import BackfillProgress, RenameStatus
    from lockkeeper.renaming import RenameRequest, RenameStages
    from lockkeeper.runbook import MigrationRequest

_NO_DATABASE = "postgresql:///lockkeeper_scaffold"
"""Stands for the database where none is needed; nothing connects to it."""

app = typer.Typer(help="Rename a column while the application goes on.", no_args_is_help=True)

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="A registered target, or a name for one.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the ledger.")]


@dataclasses.dataclass(frozen=True)
class ColumnArguments:
    """Which column of which target."""

    target: TargetName
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="With its schema where the search_path lacks it.")
    ]
    old: Annotated[str, typer.Argument(metavar="OLD", help="The column as it is called now.")]
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it will be called.")]


@dataclasses.dataclass(frozen=True)
class ChangeOptions:
    """What else a rename may be told; the same for each of its commands."""

    type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="SQL type of the new column.")
    ] = None
    up: Annotated[
        str | None, typer.Option("--up", metavar="SQL", help="New value, over the old column's name.")
    ] = None
    down: Annotated[
        str | None, typer.Option("--down", metavar="SQL", help="Old value, over the new column's name.")
    ] = None
    flag: Annotated[
        str | None, typer.Option("--flag", metavar="NAME", help="Feature flag. Default: use-new-OLD.")
    ] = None
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="KEY=VALUE",
            help="e.g. ramp.observe_s=30, throttle.batch_rows=500, scream_s=0.",
        ),
    ] = None


@app.command("start")
@with_options
def start(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
) -> Result:
    """Expand, backfill, validate.

    Adds the new column, lets the database write both, fills the old rows in batches and proves that both
    agree. Then it waits for `rename flip`. Run again, it goes on.
    """
    return _play(context.obj, column.target, options, _request(column, change), {})


@app.command("flip")
@with_options
def flip(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    reason: Reason = "",
) -> Result:
    """Let applications read the new column, a few percent at a time.

    Each step of the ramp is watched; the flag goes back to 0 % by itself when something breaks (exit code 1).
    """
    from lockkeeper.renaming import FLIP

    answers = {FLIP: _yes(FLIP, reason)}
    return _play(context.obj, column.target, options, _request(column, change), answers)


@app.command("contract")
@with_options
def contract(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    reason: Reason = "",
) -> Result:
    """Let the old column go: hidden for a while, then into quarantine, where `rename undo` finds it.

    Refuses before the flip.
    """
    from lockkeeper.errors import RefusedError
    from lockkeeper.renaming import DROP, FLIP

    chosen, request = select_target(column.target, options), _request(column, change)
    stage = _stages(chosen, request).status().stage
    if stage not in ("observing", "screaming", "screamed", "contracted", "dropped"):
        raise RefusedError(
            f"The rename is {stage}: applications must read {column.new} first (`rename flip`)."
        )
    answers = {FLIP: _yes(FLIP, reason), DROP: _yes(DROP, reason)}
    return _play(context.obj, column.target, options, request, answers)


@app.command("abort")
@with_options
def abort(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    reason: Reason = "",
) -> Result:
    """Bring back flag and schema of before, from any stage before the contract."""
    return _change(
        context.obj, column.target, options, _request(column, change), "abort",
        lambda stages: stages.abort(_yes("abort", reason)),
    )  # fmt: skip


@app.command("undo")
@with_options
def undo(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    reason: Reason = "",
) -> Result:
    """Bring the old column back after the contract, with every write since, while it is in quarantine."""
    return _change(
        context.obj, column.target, options, _request(column, change), "undo",
        lambda stages: stages.undo(_yes("undo", reason)),
    )  # fmt: skip


@app.command("drop")
@with_options
def drop(
    context: typer.Context,
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    force: Annotated[bool, typer.Option("--force", help="Before its retention time is over.")] = False,
) -> Result:
    """Really drop the old column, once its time in quarantine is over."""
    return _change(
        context.obj, column.target, options, _request(column, change), "drop",
        lambda stages: stages.drop(force=force),
    )  # fmt: skip


@app.command("status")
@with_options
def status(options: TargetOptions, common: CommonOptions, target: TargetName) -> Result:
    """Show every rename in the target's ledger: stage, rows, parity, what is in the way, what comes next."""
    from rich.console import Group

    from lockkeeper.rename.engine import list_changes
    from lockkeeper.renaming.story import status_lines
    from lockkeeper.reports import text_table

    chosen = select_target(target, options)
    changes = list_changes(chosen.url)
    tables = [text_table((f"{one.table}.{one.old}", f"to {one.new}"), status_lines(one)) for one in changes]
    text = Group(*tables) if tables else f"Target {chosen.name} has no rename in its ledger."
    return Result(data={"target": chosen.name, "renames": [one.as_dict() for one in changes]}, text=text)


@app.command("scaffold")
@with_options
def scaffold(
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    change: ChangeOptions,
    head: Annotated[
        str | None, typer.Option("--head", metavar="REVISION", help="Put them upon it. Default: the head.")
    ] = None,
    version_path: Annotated[
        str | None, typer.Option("--version-path", metavar="DIR", help="Where the project has several.")
    ] = None,
) -> Result:
    """Write the revisions expand and contract into the Alembic project, from its own template.

    Touches no database. The revisions and these commands share the ledger: what one has done, the other
    finds done.
    """
    from lockkeeper.alembic_project.scaffold import RenameRevisions, write_revisions
    from lockkeeper.reports import text_table

    if options.definition():
        options = dataclasses.replace(
            options,
            storage=options.storage or ".",
            database_url=None if options.database_url_env else options.database_url or _NO_DATABASE,
        )
    schema, _, name = column.table.rpartition(".")
    revisions = RenameRevisions(
        name, column.old, column.new, schema or None, change.type, change.up, change.down
    )
    settings = select_target(column.target, options).require_alembic()
    written = write_revisions(settings, revisions.pair(), head=head, version_path=version_path)
    rows = [(one.id, one.down or "base", one.path) for one in written]
    data = {"revisions": [dataclasses.asdict(one) for one in written]}
    return Result(data=data, text=text_table(("revision", "upon", "file"), rows))


@with_options
def tune(
    options: TargetOptions,
    common: CommonOptions,
    column: ColumnArguments,
    values: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="e.g. paused=true, batch_rows=500, max_lock_waiters=2."),
    ],
) -> Result:
    """Change a running backfill's throttle; it is read before each batch."""
    from lockkeeper.rename import ColumnChange
    from lockkeeper.rename.engine import ColumnRename

    chosen = select_target(column.target, options)
    given = {key: _value(text) for key, text in key_values("KEY=VALUE", values).items()}
    throttle = ColumnRename(chosen.url, ColumnChange(column.table, column.old, column.new)).tune(**given)
    data = dataclasses.asdict(throttle)
    return Result(data={"throttle": data}, text="\n".join(f"{key} = {data[key]}" for key in data))


def _play(
    session: Session,
    name: str,
    options: TargetOptions,
    request: RenameRequest,
    answers: Mapping[str, Approval],
) -> Result:
    """Play the rename's runbook as far as the answers allow, and return its report."""
    from lockkeeper.renaming import RenameStages, run_rename

    def runbook(engine: Engine, run: MigrationRequest) -> RunReport:
        stages = RenameStages(engine, request, on_progress=_shown(engine))
        return run_rename(stages, run, request, answers).report

    return _played(session, select_target(name, options), options, runbook)


def _change(
    session: Session,
    name: str,
    options: TargetOptions,
    request: RenameRequest,
    operation: str,
    stage: Callable[[RenameStages], RenameStatus],
) -> Result:
    """Play one stage of its own, with a report and a message to the team as for the others."""
    from lockkeeper.operations import play_operation
    from lockkeeper.renaming import RenameStages

    def runbook(engine: Engine, run: MigrationRequest) -> RunReport:
        stages = RenameStages(engine, request)

        def perform(record: RunRecord) -> None:
            record.update(requested_revision=request.subject)
            with record.step(operation) as note:
                note(f"stage {stage(stages).stage}")

        return play_operation("rename", stages, run, perform)

    return _played(session, select_target(name, options), options, runbook)


def _played(
    session: Session,
    target: Target,
    options: TargetOptions,
    runbook: Callable[[Engine, MigrationRequest], RunReport],
) -> Result:
    by_hand = command_line(target.name, options)
    session.changing = by_hand.inspect_renames()
    return play(session, target, by_hand, None, runbook, None)


def _stages(target: Target, request: RenameRequest) -> RenameStages:
    from lockkeeper.engine import Engine
    from lockkeeper.record import new_run_id
    from lockkeeper.renaming import RenameStages

    return RenameStages(Engine(target, new_run_id()), request)


def _shown(engine: Engine) -> Callable[[BackfillProgress], None]:
    from lockkeeper.renaming.story import progress_line

    say = engine.say("backfill")
    return lambda progress: say(progress_line(progress))


def _request(column: ColumnArguments, change: ChangeOptions) -> RenameRequest:
    from pydantic import ValidationError

    from lockkeeper.registry import readable_problems
    from lockkeeper.renaming import RenamePolicy, make_request

    given = nested({key: _value(text) for key, text in key_values("--policy", change.policy).items()})
    try:
        policy = RenamePolicy.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError("--policy is not valid: " + "; ".join(readable_problems(error))) from None
    return make_request(
        column.table,
        column.old,
        column.new,
        new_type=change.type,
        up=change.up,
        down=change.down,
        flag=change.flag,
        policy=policy,
    )


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        place = tree
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return tree


def _value(text: str) -> Any:
    """Return a value as JSON reads it (numbers, true, lists), or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _yes(key: str, reason: str) -> Approval:
    from lockkeeper.models import Approval, Decision, utc_now

    who = initiator()
    return Approval(
        key=key, decision=Decision.APPROVE, reason=reason, approver=who, recorded_by=who, decided_at=utc_now()
    )
