"""A production database brought to another revision, or left as it was."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.approvals import can_ask, latest_answer, require_decision
from flows.parameters import Revision, TargetName
from lockkeeper.errors import RefusedError
from lockkeeper.models import Outcome
from lockkeeper.runbook import run_migration
from tasks.approvals import KEYS, question, question_key
from tasks.outcomes import final_state, refused_state
from tasks.runs import opened_run
from tasks.steps import MigrationTasks


@flow(
    name="production-migration",
    flow_run_name="{target} to {revision}",
    task_runner=ThreadPoolTaskRunner(max_workers=4),
    persist_result=False,
)
def production_migration(target: TargetName, revision: Revision = "head") -> State[Any]:
    """Back up, prove the backup, migrate under a lock with short time-outs, verify; recover if it fails.

    Only one migration of a database runs at a time, wherever it was started. A failure ends the run as
    Failed also when the database was recovered: *Refused* and *Unchanged* mean that nothing was changed,
    *Recovered* that the database is as before, *NeedsHuman* that the message holds the next command.

    Where the target's policy wants an approval, the run is suspended after the rehearsal, with nothing
    changed and no lock held. Once it is approved, everything is done again, since others have written
    meanwhile; it asks again only when something has become worse.

    Args:
        target: Name of a Migration Target block, e.g. shop.
        revision: head, a revision's id or the beginning of one, +1, or branch@head.
    """
    try:
        with opened_run(target, "migrate") as run:
            steps = MigrationTasks(run)
            report = run_migration(steps, steps.request(revision, latest_answer(KEYS)))
            policies = run.target.policies
        if report.outcome is Outcome.NEEDS_APPROVAL and can_ask():
            timeout_s = policies.approval_timeout_s
            require_decision(question_key(report), question(report, timeout_s), timeout_s)
    except RefusedError as error:
        return refused_state(error)
    return final_state(report)
