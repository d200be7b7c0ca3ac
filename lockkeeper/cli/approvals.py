"""``lockkeeper approve``, ``reject`` and ``abort``: the answer to a flow run that waits for one."""

from __future__ import annotations

from typing import Annotated

import typer

from lockkeeper.cli.initiator import initiator
from lockkeeper.cli.options import CommonOptions, with_options
from lockkeeper.cli.output import Result

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The flow run's id or name, Lockkeeper's run id, or the target that it is about."
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; needed, and kept with the run.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides. Default: who runs this command.")
]


@with_options
def approve(common: CommonOptions, run: RunArgument, reason: Reason = "", by: By = None) -> Result:
    """Let a suspended flow run go on.

    Asks the Prefect server of PREFECT_API_URL. A migration is backed up and rehearsed again before it is
    applied, and asks again only when something has become worse.
    """
    return _answer("approve", run, reason, by)


@with_options
def reject(common: CommonOptions, run: RunArgument, reason: Reason = "", by: By = None) -> Result:
    """Say no to a suspended flow run: it ends, with everything as it is."""
    return _answer("reject", run, reason, by)


@with_options
def abort(common: CommonOptions, run: RunArgument, reason: Reason = "", by: By = None) -> Result:
    """Say no, and have a suspended flow run undo what it has done so far."""
    return _answer("abort", run, reason, by)


def _answer(decision: str, wanted: str, reason: str, by: str | None) -> Result:
    from lockkeeper.approval import require_reason
    from lockkeeper.models import Decision
    from lockkeeper.prefect_api import PrefectApi
    from lockkeeper.suspended_runs import answer, find_suspended

    reason = require_reason(reason)
    api, approver = PrefectApi.from_environment(), by or initiator()
    run = find_suspended(api, wanted)
    answer(api, run, Decision(decision), reason, approver)
    data = {"flow_run": run.id, "name": run.name, "decision": decision, "approver": approver}
    return Result(data=data, text=f"{run}: {decision}, answered by {approver}. A worker takes it up now.")
