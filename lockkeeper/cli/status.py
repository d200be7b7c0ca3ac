"""``lockkeeper status``: where a target stands. What could not be found out is said, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockkeeper.cli.options import CommonOptions, TargetArgument, TargetOptions, with_options
from lockkeeper.cli.output import Result
from lockkeeper.cli.selection import select_target
from lockkeeper.errors import FAILED, LockkeeperError

if TYPE_CHECKING:
    from lockkeeper.config import Target

RUNS_SHOWN = 5


@with_options
def status(options: TargetOptions, common: CommonOptions, target: TargetArgument = None) -> Result:
    """Show where a target stands.

    Its revision, a migration that runs, the latest verified backup, what runs have left, the last runs.
    Reads only. Exit code 1 when something could not be found out.
    """
    from lockkeeper.reports import text_table

    chosen = select_target(target, options)
    questions: dict[str, Callable[[Target], Any]] = {
        "revisions": _revisions,
        "migration_running": _lock_holder,
        "latest_verified_backup": _latest_backup,
        "leftovers": _leftovers,
        "runs": _runs,
    }
    answers: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, question in questions.items():
        try:
            answers[name] = question(chosen)
        except LockkeeperError as error:
            answers[name] = None
            problems[name] = str(error)
    rows = [("target", chosen.name), ("database", chosen.database)]
    for name in questions:
        values = (
            _lines(name, answers[name]) if name not in problems else [f"could not check: {problems[name]}"]
        )
        rows += [
            (name.replace("_", " ") if number == 0 else "", value) for number, value in enumerate(values)
        ]
    data = {"target": chosen.name, "database": chosen.database, **answers, "problems": problems}
    if problems:
        data["error"] = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return Result(exit_code=FAILED if problems else 0, data=data, text=text_table(("", ""), rows))


def _lines(name: str, answer: Any) -> list[str]:
    """Return an answer as lines for people."""
    if not answer:
        return ["none"]
    if name == "latest_verified_backup":
        return [f"{answer['id']}, made at {answer['created_at']}"]
    if name == "leftovers":
        return [f"{one['name']}: {one['description']}" for one in answer]
    if name == "runs":
        return [
            f"{one['run_id']}  {one['operation']}: {one['outcome'] or _unfinished(one)}" for one in answer
        ]
    return [str(answer)] if isinstance(answer, str) else [", ".join(answer)]


def _unfinished(run: dict[str, Any]) -> str:
    """Say where a run is, or was when it was killed."""
    steps = run["steps"]
    where = f"in step {steps[-1]['name']}" if steps else "before its first step"
    return f"running, or killed, {where}"


def _revisions(target: Target) -> list[str]:
    from lockkeeper.alembic_project import current_revisions

    return list(current_revisions(target.require_alembic(), target.url))


def _lock_holder(target: Target) -> str | None:
    from lockkeeper.postgres.connection import connect
    from lockkeeper.postgres.locks import lock_holder

    with connect(target.maintenance_url, "status") as connection:
        return lock_holder(connection, target.database)


def _latest_backup(target: Target) -> dict[str, Any] | None:
    from lockkeeper.backup import latest_verified

    manifest = latest_verified(target)
    if manifest is None:
        return None
    return manifest.model_dump(mode="json", include={"id", "created_at", "revisions", "size_bytes"})


def _leftovers(target: Target) -> list[dict[str, str]]:
    from lockkeeper.recovery.remains import find_remains

    found = find_remains(target)
    return [{"kind": one.kind, "name": one.name, "description": one.description} for one in found]


def _runs(target: Target) -> list[dict[str, Any]]:
    from lockkeeper.journal import read_reports
    from lockkeeper.storage import open_storage

    reports = read_reports(open_storage(target.storage), target.name, newest=RUNS_SHOWN)
    shown = {
        "run_id",
        "operation",
        "outcome",
        "started_at",
        "duration_s",
        "initiator",
        "error",
        "next_command",
        "backup_id",
        "steps",
    }
    return [report.model_dump(mode="json", include=shown) for report in reports]
