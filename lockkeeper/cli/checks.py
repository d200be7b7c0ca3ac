"""Preflight as a command's result: every check is shown, then it is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockkeeper.cli.output import Result
from lockkeeper.errors import REFUSED

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from lockkeeper.config import Target
    from lockkeeper.models import Check, MigrationPlan

_STYLES = {"ok": "green", "warning": "yellow"}


def check_result(target: Target, revision: str) -> Result:
    """Run preflight for migrating ``target`` to ``revision``; reads only."""
    from rich.console import Group
    from rich.text import Text

    from lockkeeper.preflight import run_preflight
    from lockkeeper.record import new_run_id
    from lockkeeper.reports import text_table

    plan, checks, *_ = run_preflight(target, revision, run_id=new_run_id(), lock_is_ours=False)
    refusing = [check for check in checks if check.refuses]
    verdict = f"{len(refusing)} of {len(checks)} checks refuse." if refusing else "A migration could start."
    parts: list[RenderableType] = [
        _checks_table(checks),
        Text(f"\n{verdict}", style="red" if refusing else "green"),
    ]
    if plan is not None and plan.steps:
        steps = [(step.id, step.message) for step in plan.steps]
        parts += [Text("\nWould apply, in this order:"), text_table(("revision", "message"), steps)]
    data = {
        "target": target.name,
        "database": target.database,
        "revision": revision,
        "checks": [check.model_dump(mode="json") for check in checks],
        "plan": _plan_data(plan),
    }
    if refusing:
        data["error"] = "; ".join(f"{check.name}: {check.message}" for check in refusing)
    return Result(exit_code=REFUSED if refusing else 0, data=data, text=Group(*parts))


def _plan_data(plan: MigrationPlan | None) -> dict[str, object] | None:
    return None if plan is None else plan.model_dump(mode="json")


def _checks_table(checks: list[Check]) -> Table:
    from rich.text import Text

    from lockkeeper.reports import plain, text_table

    table = text_table(("check", "state", "message"), ())
    for check in checks:
        state = Text(check.state.value, style=_STYLES.get(check.state.value, "red"))
        table.add_row(Text(plain(check.name)), state, Text(plain(check.message)))
    return table
