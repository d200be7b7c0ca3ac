"""A question to a human suspends the run; its answer stands, and nothing is held meanwhile."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.approvals import require_decision
from lockkeeper.models import Decision
from tests.flows.observing import answer, work

story: list[str] = []


@flow(name="ask-twice", persist_result=False)
def ask_twice() -> State[Any]:
    for stage in ("flip", "contract"):
        answer = require_decision(f"stage-{stage}", f"## May I {stage}?", timeout_s=600)
        story.append(f"{stage} {answer}, {answer.recorded_by}")
        if answer.decision is not Decision.APPROVE:
            return Failed(name="Rejected", message=str(answer))
    return Completed()


def test_a_run_waits_for_each_answer_and_keeps_those_that_it_has(api, deployed) -> None:
    story.clear()
    run = deployed(ask_twice)
    assert work(api, ask_twice, run).name == "Suspended"
    assert answer(api, run, decision="approve", approver="ada", reason=" quiet hour") == "ACCEPT"
    assert work(api, ask_twice, run).name == "Suspended"
    assert answer(api, run, decision="maybe") == "REJECT"
    assert answer(api, run) == "REJECT"
    for empty in ("", " ", " ... "):
        assert answer(api, run, decision="reject", reason=empty) == "REJECT", "a no needs a reason as well"
    assert answer(api, run, decision="reject") == "REJECT"
    assert answer(api, run, decision="reject", reason="\u4e0d\u884c") == "ACCEPT"
    late = answer(api, run, decision="approve", reason="after all")
    assert late == "ABORT", "a second answer comes too late"
    state = work(api, ask_twice, run)
    assert (state.name, state.message) == ("Rejected", "rejected by somebody unnamed: \u4e0d\u884c")
    assert [line.split(", ")[0] for line in story] == [
        "flip approved by ada: quiet hour",
        "flip approved by ada: quiet hour",
        "contract rejected by somebody unnamed: \u4e0d\u884c",
    ]
    assert "UTC" in story[0]
    assert story[0] == story[1], "when it was answered is what the server says, not when it was read"


def test_what_nobody_answered_in_time_is_asked_again_when_the_run_is_retried(api, deployed) -> None:
    run = deployed(ask_twice)
    first = work(api, ask_twice, run)
    assert api.set_flow_run_state(run, Failed(), force=True).status.value == "ACCEPT"
    api.set_flow_run_state(run, State(type="SCHEDULED", name="AwaitingRetry"), force=True)
    again = work(api, ask_twice, run)
    assert again.name == "Suspended"
    assert again.state_details.pause_key != first.state_details.pause_key


def test_a_run_without_a_deployment_says_how_to_start_it_instead(prefect_server) -> None:
    state = ask_twice(return_state=True)
    assert state.is_failed()
    assert "prefect deployment run" in str(state.message)
