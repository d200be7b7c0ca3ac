"""A migration over the budget is suspended after its rehearsal, and goes on only with a human's consent."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRunInput
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from flows.approval_expiry import approval_expiry
from flows.production_migration import production_migration
from lockkeeper.approval import find_answered
from lockkeeper.errors import RefusedError
from lockkeeper.models import Approval, Decision, RunReport, utc_now
from lockkeeper.postgres.locks import migration_lock
from lockkeeper.prefect_api import PrefectApi
from lockkeeper.storage import open_storage
from lockkeeper.suspended_runs import answer, find_suspended, newest_run
from tasks.approvals import question_key, run_that_asked
from tasks.blocks import load_target
from tests.flows.observing import leftovers, play, report_of, reports, work
from tests.webhook_receiver import text_of

# Held for a second: of a lock held for milliseconds a busy machine makes one that nobody has approved.
ADD_STATUS = 'op.execute("ALTER TABLE users ADD COLUMN status text")\nop.execute("SELECT pg_sleep(1)")'
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
POLICIES = {"lock_timeout_ms": 200, "approval": "over-budget", "max_block_ms": 0, "approval_timeout_s": 3600}


@pytest.fixture
def guarded(make_shop):
    """A shop whose budget no lock can keep, with one revision to apply."""
    shop = make_shop(policies=POLICIES)
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    return shop


@pytest.fixture
def prefect_api(prefect_server) -> PrefectApi:
    return PrefectApi(str(PREFECT_API_URL.value()))


def test_an_approved_migration_is_backed_up_and_rehearsed_again_and_applied(
    guarded, api, deployed, slack, prefect_api
) -> None:
    run = deployed(production_migration, target=guarded.name)
    state = work(api, production_migration, run)
    assert (state.type.value, state.name) == ("PAUSED", "Suspended")
    assert guarded.columns() == ["balance", "email", "id"]
    assert leftovers(guarded) == []
    with migration_lock(guarded.url.set(database="postgres"), str(guarded.url.database), "tests"):
        pass  # nobody holds it while a human thinks
    (message,) = slack.wait_for(1)
    assert "needs approval" in message["text"]
    assert "lockkeeper approve" in text_of(message)
    assert "ACCESS EXCLUSIVE on public.users" in text_of(message)

    asked = prefect_api.request(
        "GET", f"/flow_runs/{run}/input/{state.state_details.run_input_keyset['description']}"
    )
    assert "on a restored copy, with its data compared" in asked
    assert "changes: adds column public.users.status" in asked.replace("\\", "")

    waiting = find_suspended(prefect_api, guarded.name)
    assert find_suspended(prefect_api, str(run)[:8]) == waiting
    with pytest.raises(RefusedError, match="each need a reason"):
        answer(prefect_api, waiting, Decision.APPROVE, " ", "ada")
    answer(prefect_api, waiting, Decision.APPROVE, "it is short", "ada")
    with pytest.raises(RefusedError, match="does not take the answer"):
        answer(prefect_api, waiting, Decision.REJECT, "too late", "bob")
    with pytest.raises(RefusedError, match="it does not wait for an answer"):
        find_suspended(prefect_api, guarded.name)

    state = work(api, production_migration, run)
    assert state.is_completed(), state.message
    assert newest_run(prefect_api, str(run)[:8])["parameters"]["target"] == guarded.name
    assert guarded.columns() == ["balance", "email", "id", "status"]
    report = next(one for one in reports(api, run) if "succeeded" in one.splitlines()[0])
    assert "Approved by ada: it is short" in report
    assert "ACCESS EXCLUSIVE" in report
    assert len(slack.wait_for(2)) == 2


def test_a_rejected_migration_ends_with_everything_as_it_was_and_tells_why(
    guarded, api, deployed, slack, prefect_api
) -> None:
    run = deployed(production_migration, target=guarded.name)
    work(api, production_migration, run)
    answer(prefect_api, find_suspended(prefect_api, str(run)), Decision.REJECT, "not today", "ada")

    state = work(api, production_migration, run)

    assert (state.is_failed(), state.name) == (True, "Rejected")
    assert "rejected by ada: not today" in str(state.message)
    assert guarded.columns() == ["balance", "email", "id"]
    assert "not today" in text_of(slack.wait_for(2)[1])


def test_what_has_become_another_plan_is_asked_again(guarded, api, deployed, prefect_api) -> None:
    run = deployed(production_migration, target=guarded.name)
    first = work(api, production_migration, run)
    answer(prefect_api, find_suspended(prefect_api, str(run)), Decision.APPROVE, "fine", "ada")
    guarded.add_revision("r2", 'op.execute("CREATE TABLE more (id int)")', 'op.execute("DROP TABLE more")')

    second = work(api, production_migration, run)

    assert second.name == "Suspended"
    assert second.state_details.pause_key != first.state_details.pause_key
    assert guarded.columns() == ["balance", "email", "id"]


def test_when_nobody_answers_the_team_is_told_and_a_late_approval_counts_for_nothing(
    guarded, api, deployed, slack
) -> None:
    run = deployed(production_migration, target=guarded.name)
    key = work(api, production_migration, run).state_details.pause_key
    assert key is not None
    assert approval_expiry(run, return_state=True).name == "NothingToDo", "it still waits"
    # What Prefect's server does when the time is over.
    api.set_flow_run_state(run, Failed(message="The flow was paused and never resumed."), force=True)

    state = approval_expiry(run, return_state=True)

    assert state.is_completed(), state.message
    (_, message) = slack.wait_for(2)
    assert "refused before anything was touched" in message["text"]
    assert f"Nobody answered {key} of " in text_of(message)
    assert guarded.columns() == ["balance", "email", "id"]
    late = Approval(key=key, decision=Decision.APPROVE, decided_at=utc_now())
    target = load_target(guarded.name)
    with pytest.raises(RefusedError, match="it is refused"):
        find_answered(open_storage(target.storage), target.name, run_that_asked(key), late)


def test_a_script_that_cannot_be_suspended_says_how_to_approve(guarded, api) -> None:
    state = play(guarded.name)
    assert (state.is_failed(), state.name) == (True, "NeedsApproval")
    command = "prefect deployment run production-migration/production-migration"  # its runs can be suspended
    assert f"{command} -p target={guarded.name} " in str(state.message)
    assert "over the budget of 0 ms" in report_of(api, state)
    assert guarded.columns() == ["balance", "email", "id"]


def test_a_key_leads_back_to_the_run_that_asked_and_is_one_that_prefect_takes() -> None:
    report = RunReport(
        run_id="20261126T121347Z-297f1092", operation="migrate", target="shop", database="shop",
        started_at=utc_now(),
    )  # fmt: skip
    key = question_key(report)
    assert FlowRunInput(flow_run_id=uuid4(), key=f"suspended-{key}-schema", value="x").key.endswith("-schema")
    assert run_that_asked(key) == report.run_id


def test_nobody_to_answer_is_said_with_those_who_wait(prefect_api) -> None:
    with pytest.raises(RefusedError, match="No run 'nosuchrun' waits for an answer"):
        find_suspended(prefect_api, "nosuchrun")
