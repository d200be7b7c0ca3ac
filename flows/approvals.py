"""Questions to a human: the flow run is suspended until somebody answers, and costs nothing meanwhile.

A suspended run has no process. Once it is answered, in the UI or with ``lockkeeper approve|reject|abort``, a
worker runs the flow again from its first line. So a flow asks only where no lock is held, no connection is
open and no ``with`` block waits for its end; what it did before must be safe to do again; and only
top-level flows that have a deployment can ask at all. Suspending raises ``prefect.exceptions.Pause``, a
BaseException, which must not be caught.

A question that nobody answers in its time ends the run as Failed, with everything as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import count

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput, keyset_from_base_key, read_flow_run_input
from pydantic import Field, ValidationError

from lockkeeper.approval import REASON_PATTERN
from lockkeeper.errors import ConfigurationError
from lockkeeper.models import Approval, Decision, utc_now

_RESUMED = "Resuming"
_KEY = re.compile(r"[a-z0-9-]+")


class ApprovalForm(RunInput):
    """What the UI shows, and what ``lockkeeper approve`` sends."""

    decision: Decision = Field(description="approve goes on; reject and abort do not.")
    reason: str = Field(
        min_length=1, pattern=REASON_PATTERN, description="Why: must be given, is kept with the run."
    )
    approver: str = Field(default="", description="Your name. It is kept as it is; nobody checks it.")


def can_ask() -> bool:
    """Whether this run can be suspended: only one of a deployment is run again."""
    return runtime.deployment.id is not None


def require_decision(key: str, description: str, timeout_s: float) -> Approval:
    """Return the answer to the question ``key``; while there is none, suspend the run and end this process.

    Can be called any number of times: a question is asked once, and its answer stands. One whose time ran
    out is asked again when somebody retries the run.

    Args:
        key: names the question within this flow run; lower-case letters, digits and hyphens.
        description: the facts, in Markdown, that stand above the form.
        timeout_s: how long to wait for an answer.

    Raises:
        ConfigurationError: the run has no deployment, or the key is none; the run is not suspended.
        prefect.exceptions.Pause: (a BaseException) the run is suspended now.
    """
    # Prefect finds that out only when the run is suspended already, and has then no form to answer.
    if not _KEY.fullmatch(key):
        raise ConfigurationError(f"{key!r} cannot be a question's key: lower-case letters, digits, hyphens.")
    asked = asked_keys()
    attempts = _attempts(key)
    while (attempt := next(attempts)) in asked:
        if answer := answer_to(attempt):
            return answer
    if not can_ask():
        raise ConfigurationError(
            "This run needs an approval, for which it must be a run of a deployment. Start it with "
            "`prefect deployment run`, or use the command line."
        )
    form = ApprovalForm.with_initial_data(description=description)
    suspend_flow_run(wait_for_input=form, timeout=max(1, round(timeout_s)), key=attempt)
    raise ConfigurationError(f"The question {attempt} was answered twice. Run again.")  # a race, at worst


def latest_answer(prefix: str) -> Approval | None:
    """Return the answer to the newest question, by the numbers in the keys, or None when it has none."""
    keys = sorted((key for key in asked_keys() if key.startswith(prefix)), key=_in_order)
    return answer_to(keys[-1]) if keys else None


def asked_keys() -> frozenset[str]:
    """Return the keys of all questions that this flow run has asked so far."""
    with get_client(sync_client=True) as client:
        policy = client.read_flow_run(runtime.flow_run.id).empirical_policy
    return frozenset(policy.pause_keys or ())


def answer_to(key: str) -> Approval | None:
    """Return the answer to one question, with what the server knows of how it came, or None.

    One without a reason is none: a form that was made before reasons were demanded has let it through.
    """
    value = read_flow_run_input(keyset_from_base_key(f"suspended-{key}")["response"])
    try:
        form = ApprovalForm(**(value or {}))
    except ValidationError:
        return None
    resumed_at = _resumed_at(key)
    seen = f"{resumed_at:%Y-%m-%d %H:%M:%S} UTC" if resumed_at else "an unknown time"
    return Approval(
        key=key,
        decision=form.decision,
        reason=form.reason.strip(),
        approver=form.approver.strip(),
        recorded_by=f"Prefect's API at {seen}, which does not know by whom",
        decided_at=resumed_at or utc_now(),
    )


def _in_order(key: str) -> list[str | int]:
    """Return what a key is sorted by: ``again-10`` comes after ``again-9``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def _attempts(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-again-{number}" for number in count(1))


def _resumed_at(key: str) -> datetime | None:
    """Find the state that ended the suspension of ``key``."""
    with get_client(sync_client=True) as client:
        states = sorted(client.read_flow_run_states(runtime.flow_run.id), key=lambda state: state.timestamp)
    suspended = [number for number, state in enumerate(states) if _asks(state, key)]
    after = states[suspended[-1] :] if suspended else []
    return next((state.timestamp for state in after if state.name == _RESUMED), None)


def _asks(state: State, key: str) -> bool:
    return state.is_paused() and state.state_details.pause_key == key
