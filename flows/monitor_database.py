"""A look at a database, scheduled each minute: what begins and what is over is told once each."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import TargetName
from lockkeeper.errors import LockkeeperError
from tasks.monitor import look_at_database
from tasks.outcomes import looked_state, untested_state
from tasks.runs import opened_run


@flow(name="monitor-database", flow_run_name="{target}", persist_result=False)
def monitor_database(target: TargetName) -> State[Any]:
    """Look at sessions, locks, sizes, debts and replication of a target; tell Slack, webhook and events.

    Changes nothing. Ends as Failed when it could not look, which is an alert of its own, or when an alert
    could not be delivered; the next look tries again.

    Args:
        target: Name of a Migration Target block, e.g. shop.
    """
    try:
        with opened_run(target, "monitor") as run:
            report = look_at_database(target, run.id)
    except LockkeeperError as error:
        return untested_state(error)
    return looked_state(report)
