"""A rename in Prefect: it waits without a process, goes on from the ledger, and does what the answer says."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed, Failed

from flows.approval_expiry import approval_expiry
from flows.column_rename import column_rename
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from tests.flows.observing import answer, artifacts_of, leftovers, work
from tests.webhook_receiver import text_of

QUICK = {
    "ramp": {"percents": [50, 100], "observe_s": 0.1, "sample_interval_s": 0.05},
    "scream_s": 0.2,
    "approval_timeout_s": 600,
}
RENAME = {"table": "users", "old_column": "email", "new_column": "contact", "policy": QUICK}


class Story:
    """One run of the deployment, worked on process by process."""

    def __init__(self, api: SyncPrefectClient, run: UUID) -> None:
        self.api, self.run = api, run

    def work(self) -> Any:
        return work(self.api, column_rename, self.run)

    def answer(self, decision: str, reason: str = "as planned") -> str:
        return answer(self.api, self.run, decision=decision, approver="ada", reason=reason)

    def description(self) -> str:
        """What stands above the form that is shown now."""
        keyset = self.api.read_flow_run(self.run).state.state_details.run_input_keyset
        return str(self.api._client.get(f"/flow_runs/{self.run}/input/{keyset['description']}").json())

    def tasks(self) -> list[str]:
        wanted = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[self.run]))
        found = self.api.read_task_runs(task_run_filter=wanted)
        return [one.name.rsplit("-", 1)[0] for one in sorted(found, key=lambda one: one.created)]


@pytest.fixture
def story(api, deployed, shop) -> Story:
    return Story(api, deployed(column_rename, target=shop.name, **RENAME))


def schema_of(shop) -> Any:
    """The application's schema; the ledger has one of its own."""
    with connect(shop.url, "tests") as connection:
        schema = schema_fingerprint(connection)
    objects = {
        kind: {name: facts for name, facts in found.items() if "lockkeeper" not in name}
        for kind, found in schema.objects.items()
    }
    return schema.model_copy(update={"objects": objects})


def percent(shop) -> int | None:
    rows = shop.query("SELECT percent FROM lockkeeper.feature_flag WHERE name = 'use-new-email'")
    return rows[0][0] if rows else None


def texts(slack, count: int) -> list[str]:
    return [message["text"] for message in slack.wait_for(count)]


def test_a_rename_waits_twice_and_ends_with_the_new_column_alone(story, shop, slack) -> None:
    before = shop.query("SELECT id, email FROM users ORDER BY id")
    assert story.work().name == "Suspended"
    assert shop.columns() == ["balance", "contact", "email", "id"]
    assert percent(shop) == 0
    assert leftovers(shop) == [], "nothing is held while it waits"
    asked = story.description()
    for fact in ("200 rows compared", "none differ", "use-new-email is at 0 %", "lock", "**abort**"):
        assert fact in asked
    shop.execute("UPDATE users SET email = 'changed@example.org' WHERE id = 1")
    assert shop.query("SELECT contact FROM users WHERE id = 1") == [("changed@example.org",)]

    assert story.answer("approve", "quiet hour") == "ACCEPT"
    assert story.work().name == "Suspended"
    assert percent(shop) == 100
    assert "use-new-email is at 100 %" in story.description()
    assert story.answer("approve") == "ACCEPT"
    state = story.work()
    assert state.is_completed(), state.message

    assert "email" not in shop.columns()
    after = shop.query("SELECT id, contact FROM users ORDER BY id")
    assert after == [(1, "changed@example.org"), *before[1:]]
    audit = shop.query("SELECT percent_after, changed_by FROM lockkeeper.feature_flag_change ORDER BY id")
    assert audit == [(0, ""), (50, "ada"), (100, "ada")]
    said = texts(slack, 3)
    assert ["waits for approval" in text for text in said] == [True, True, False]
    for message in slack.wait_for(3)[:2]:
        assert f"lockkeeper approve {story.run} --reason" in text_of(message)
    assert "succeeded" in said[2]


@pytest.mark.parametrize("approved_first", [False, True], ids=["instead of the flip", "instead of the drop"])
def test_an_abort_brings_back_the_schema_and_the_flag_of_before(story, shop, api, approved_first) -> None:
    before = schema_of(shop)
    story.work()
    if approved_first:
        story.answer("approve")
        story.work()
        assert percent(shop) == 100
    shop.execute("INSERT INTO users VALUES (1000, 'meanwhile@example.org', 1)")
    assert story.answer("abort", "not this week") == "ACCEPT"
    state = story.work()
    assert (state.type.value, state.name) == ("FAILED", "Aborted")
    assert compare_schemas(before, schema_of(shop)) == []
    assert percent(shop) is None
    assert shop.query("SELECT email FROM users WHERE id = 1000") == [("meanwhile@example.org",)]
    again = State(type=StateType.SCHEDULED, name="AwaitingRetry")
    api.set_flow_run_state(story.run, again, force=True)
    assert story.work().name == "Aborted", "retried in the UI, it stays aborted"
    assert compare_schemas(before, schema_of(shop)) == []


def test_a_rejection_leaves_everything_where_it_is_and_another_run_goes_on_from_there(
    story, shop, api, deployed
) -> None:
    story.work()
    story.answer("reject", "after the sale")
    state = story.work()
    assert (state.type.value, state.name) == ("FAILED", "Rejected")
    assert shop.columns() == ["balance", "contact", "email", "id"]
    again = Story(api, deployed(column_rename, target=shop.name, **RENAME))
    assert again.work().name == "Suspended"
    assert again.answer("approve") == "ACCEPT"
    assert again.work().name == "Suspended"
    assert percent(shop) == 100


def test_of_two_runs_of_one_rename_an_approval_counts_for_nothing_once_the_other_has_aborted_it(
    story, shop, api, deployed
) -> None:
    before = schema_of(shop)
    story.work()
    second = Story(api, deployed(column_rename, target=shop.name, **RENAME))
    assert second.work().name == "Suspended", "both wait, and hold nothing"
    assert second.answer("abort", "wrong column") == "ACCEPT"
    assert second.work().name == "Aborted"
    assert story.answer("approve") == "ACCEPT"
    state = story.work()
    assert (state.type.value, state.name) == ("FAILED", "Refused")
    assert "aborted since" in state.message
    assert compare_schemas(before, schema_of(shop)) == []
    assert percent(shop) is None


def test_an_approval_counts_for_nothing_once_the_rename_was_aborted_and_begun_anew(
    story, shop, api, deployed
) -> None:
    story.work()
    assert story.answer("approve") == "ACCEPT"
    api.set_flow_run_state(story.run, Crashed(), force=True)
    second = Story(api, deployed(column_rename, target=shop.name, **RENAME))
    second.work()
    assert second.answer("abort", "wrong column") == "ACCEPT"
    assert second.work().name == "Aborted"
    third = Story(api, deployed(column_rename, target=shop.name, **RENAME))
    assert third.work().name == "Suspended", "begun anew, and filled"
    api.set_flow_run_state(story.run, State(type=StateType.SCHEDULED, name="AwaitingRetry"), force=True)
    assert story.work().name == "Suspended", "retried, it asks again"
    assert percent(shop) == 0


def test_a_run_whose_process_was_killed_goes_on_in_another_run(story, shop, api, deployed) -> None:
    story.work()
    story.answer("approve")
    api.set_flow_run_state(story.run, Crashed(), force=True)
    again = Story(api, deployed(column_rename, target=shop.name, **RENAME))
    assert again.work().name == "Suspended"
    asked = again.description()
    assert "Let applications read contact?" in asked, "an answer counts for the run that has asked"


def test_a_flag_that_breaks_the_application_falls_back_and_the_run_says_so(shop, api, deployed) -> None:
    policy = {**QUICK, "ramp": {**QUICK["ramp"], "error_rate_sql": "SELECT rate FROM app_errors"}}
    shop.execute("CREATE TABLE app_errors (rate float); INSERT INTO app_errors VALUES (0)")
    shop.execute(
        "CREATE FUNCTION fail_at_50() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN UPDATE app_errors SET rate = CASE NEW.percent WHEN 50 THEN 0.3 ELSE 0 END; RETURN NEW; END$$"
    )
    story = Story(api, deployed(column_rename, target=shop.name, **{**RENAME, "policy": policy}))
    story.work()
    shop.execute(
        "CREATE TRIGGER fail_at_50 AFTER UPDATE ON lockkeeper.feature_flag "
        "FOR EACH ROW EXECUTE FUNCTION fail_at_50()"
    )
    story.answer("approve")
    state = story.work()
    assert state.is_failed()
    assert "error rate is 30.00%" in state.message
    assert "Next: " not in state.message, "every run of the deployment goes on; none only looks"
    assert percent(shop) == 0
    again = Story(api, deployed(column_rename, target=shop.name, **{**RENAME, "policy": policy}))
    assert again.work().name == "Suspended", "and it can be approved again"


def test_the_team_is_told_when_nobody_answers_in_time(story, shop, api, slack) -> None:
    assert story.work().name == "Suspended"
    columns = shop.columns()
    assert approval_expiry(story.run, return_state=True).name == "NothingToDo", "it still waits"
    api.set_flow_run_state(story.run, Failed(message="The flow was paused and never resumed."), force=True)
    assert approval_expiry(story.run, return_state=True).is_completed()
    said = slack.wait_for(2)
    assert "failed" in said[1]["text"]
    assert "Nobody answered approve-flip-1-0 of " in text_of(said[1])
    assert shop.columns() == columns


def test_without_a_deployment_the_run_says_how_to_start_it(shop, api) -> None:
    state = column_rename(target=shop.name, **RENAME, return_state=True)
    assert state.name == "Refused"
    assert "prefect deployment run" in state.message
    assert "contact" in shop.columns()
    reports = artifacts_of(api, state, f"rename-report-{shop.name}")
    assert reports
    assert not [report for report in reports if "Nothing was touched" in report]
