"""Answers the questions of suspended flow runs (``flows.approvals``) through Prefect's HTTP API.

Prefect itself need not be installed. A run is found by its id or the beginning of one, by its name, by
Lockkeeper's id of the run that asked, or by the target that it is about.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockkeeper.approval import require_reason
from lockkeeper.errors import RefusedError
from lockkeeper.models import Decision
from lockkeeper.prefect_api import PrefectApi

SHORTEST_ID = 6
_PAGE = 200
Run = Mapping[str, Any]


@dataclass(frozen=True)
class SuspendedRun:
    """A flow run that waits for an answer."""

    id: str
    name: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.name} ({self.id})"


def find_suspended(api: PrefectApi, wanted: str) -> SuspendedRun:
    """Return the one suspended flow run that ``wanted`` means.

    Raises:
        RefusedError: there is none that waits, or there are several.
        PrefectApiError: the API cannot be asked.
    """
    waiting = list(_paused(api))
    found = [_suspended(run) for run in waiting if _is_meant(run, wanted)]
    if len(found) > 1:
        raise RefusedError(f"{wanted!r} can mean {len(found)} runs: {'; '.join(map(str, found))}.")
    if not found:
        raise RefusedError(_not_waiting(api, wanted, waiting))
    return found[0]


def newest_run(api: PrefectApi, wanted: str) -> Run | None:
    """Return the newest flow run that ``wanted`` means, whatever its state; raises PrefectApiError."""
    newest = api.request("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": _PAGE})
    return next((run for run in newest if _is_meant(run, wanted)), None)


def answer(api: PrefectApi, run: SuspendedRun, decision: Decision, reason: str, approver: str) -> None:
    """Answer the question of a suspended run, which a worker then takes up again.

    Raises:
        RefusedError: there is no reason, or the run does not take the answer: it is not waiting any more,
            or asks something else.
        PrefectApiError: the API cannot be asked.
    """
    form = {"decision": decision.value, "reason": require_reason(reason), "approver": approver}
    reply = api.request("POST", f"/flow_runs/{run.id}/resume", {"run_input": form})
    if reply["status"] != "ACCEPT":  # which comes as HTTP 200, too
        why = (reply.get("details") or {}).get("reason") or reply["status"]
        raise RefusedError(f"Run {run} does not take the answer: {why}")


def _paused(api: PrefectApi) -> Iterator[Run]:
    paused = {"state": {"type": {"any_": ["PAUSED"]}}}
    for offset in itertools.count(0, _PAGE):
        body = {"flow_runs": paused, "sort": "START_TIME_DESC", "limit": _PAGE, "offset": offset}
        page: list[Run] = api.request("POST", "/flow_runs/filter", body)
        yield from page
        if len(page) < _PAGE:
            return


def _suspended(run: Run) -> SuspendedRun:
    return SuspendedRun(str(run["id"]), str(run["name"]))


def _is_meant(run: Run, wanted: str) -> bool:
    by_id = len(wanted) >= SHORTEST_ID and str(run["id"]).startswith(wanted.lower())
    key = ((run.get("state") or {}).get("state_details") or {}).get("pause_key") or ""
    by_run_id = len(wanted) >= SHORTEST_ID and key.endswith(wanted.lower())
    return by_id or by_run_id or wanted in (run["name"], (run.get("parameters") or {}).get("target"))


def _not_waiting(api: PrefectApi, wanted: str, waiting: Sequence[Run]) -> str:
    known = newest_run(api, wanted)
    if known is not None:
        state = (known.get("state") or {}).get("name", "without a state")
        return f"Run {_suspended(known)} is {state}: it does not wait for an answer."
    hint = f"These do: {'; '.join(str(_suspended(run)) for run in waiting)}." if waiting else "None does."
    return (
        f"No run {wanted!r} waits for an answer on this Prefect server. {hint} A run of the command line is "
        "approved with `lockkeeper migrate TARGET --approve RUN --reason WHY`."
    )
