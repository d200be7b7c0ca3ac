"""The flow on a real Prefect, a real PostgreSQL and a real bucket; then the database is read back."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.restore_database import restore_database
from tests.flows.observing import (
    artifact_of,
    flow_run_id,
    leftovers,
    log_of,
    parameters_in,
    play,
    report_of,
    task_runs,
)
from tests.webhook_receiver import text_of

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
BROKEN_RULE = "SELECT id FROM users WHERE status = 'active'"


def test_a_migration_to_head_succeeds_and_tells_its_story(make_shop, bucket, slack, api) -> None:
    shop = make_shop(storage=bucket, storage_folder=None, policies={"rehearsal": "full"})
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)

    state = play(shop.name)

    assert state.is_completed(), state.message
    assert shop.columns() == ["balance", "email", "id", "status"]
    assert shop.query("SELECT version_num FROM alembic_version") == [("r1",)]
    assert task_runs(api, state) == {
        "preflight": "Completed",
        "backup": "Completed",
        "verify-backup": "Completed",
        "rehearse": "Completed",
        "monitor": "Completed",
        "migrate": "Completed",
        "verify": "Completed",
        "expire-backups": "Completed",
        "notify": "Completed",
        "report": "Completed",
    }
    report = report_of(api, state)
    assert "succeeded" in report
    assert "verify-backup" in report
    assert "r1" in report
    assert float(artifact_of(api, state, f"migrate-progress-{shop.name}")) > 80
    assert len(slack.messages) == 1
    assert "succeeded" in slack.messages[0]["text"]
    assert f"http://prefect.example/runs/flow-run/{flow_run_id(state)}" in text_of(slack.messages[0])
    assert leftovers(shop) == []
    lines = log_of(api, state)
    assert any(line.startswith("backup: ") for line in lines), "the engine's progress is in the log"
    assert any(line.startswith("migrate: ") for line in lines), "the engine's progress is in the log"


def test_at_head_already_there_is_nothing_to_do(shop, slack, api) -> None:
    state = play(shop.name)
    assert (state.is_completed(), state.name) == (True, "NothingToDo")
    assert set(task_runs(api, state)) == {"preflight", "notify", "report"}
    assert [message["text"].count("nothing to do") for message in slack.messages] == [1]
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id(state)]))
    assert [run.name for run in api.read_flow_runs(flow_run_filter=wanted)] == [f"{shop.name} to head"]


def test_an_unknown_revision_is_refused_before_anything_is_touched(shop, slack, api) -> None:
    state = play(shop.name, "nosuchrevision")
    assert (state.is_failed(), state.name) == (True, "Refused")
    assert "nosuchrevision" in str(state.message)
    assert "backup" not in task_runs(api, state)
    assert len(slack.messages) == 1


def test_an_unknown_target_is_refused_with_the_way_out_and_a_report(prefect_server, api) -> None:
    state = play("nowhere")
    assert (state.is_failed(), state.name) == (True, "Refused")
    assert "no migration target block called 'nowhere'" in str(state.message)
    report = artifact_of(api, state, "migrate-report-nowhere")
    assert "no migration target block called 'nowhere'" in report
    assert "No message was sent" in report


def test_a_failing_upgrade_leaves_the_database_unchanged_and_fails_the_run(shop, slack, api) -> None:
    shop.add_revision("r1", ADD_STATUS + '\nop.execute("SELECT 1/0")', DROP_STATUS)

    state = play(shop.name)

    assert (state.is_failed(), state.name) == (True, "Unchanged")
    assert "division by zero" in str(state.message)
    assert shop.columns() == ["balance", "email", "id"]
    assert shop.query("SELECT version_num FROM alembic_version") == [("base0",)]
    runs = task_runs(api, state)
    assert runs["migrate"] == "Failed"
    assert runs["verify-unchanged"] == "Completed"
    assert "transaction rollback" in report_of(api, state)
    assert len(slack.messages) == 1
    assert leftovers(shop) == []


def test_a_broken_rule_is_recovered_by_the_downgrade_and_still_fails_the_run(shop, slack, api) -> None:
    shop.add_revision("r1", ADD_STATUS, DROP_STATUS)
    shop.add_rule("nobody_is_active", BROKEN_RULE)

    state = play(shop.name)

    assert (state.is_failed(), state.name) == (True, "Recovered")
    assert "nobody_is_active" in str(state.message)
    assert shop.columns() == ["balance", "email", "id"]
    assert shop.query("SELECT count(*), sum(balance) FROM users") == [(200, 20100)]
    runs = task_runs(api, state)
    assert (runs["verify"], runs["downgrade"], runs["verify-unchanged"]) == (
        "Failed",
        "Completed",
        "Completed",
    )
    assert len(slack.messages) == 1
    assert "recovered" in slack.messages[0]["text"]


def test_without_a_downgrade_the_backup_is_restored(shop, slack, api) -> None:
    shop.add_revision("r1", 'op.execute("UPDATE users SET balance = 0")', "raise Exception('no way back')")
    shop.add_rule("balances", "SELECT id FROM users WHERE balance = 0")

    state = play(shop.name)

    assert (state.is_failed(), state.name) == (True, "Recovered"), state.message
    assert shop.query("SELECT count(*), sum(balance) FROM users") == [(200, 20100)]
    assert task_runs(api, state)["restore"] == "Completed"
    assert "kept as" in report_of(api, state)


def test_under_the_manual_policy_a_human_gets_the_exact_command(make_shop, slack) -> None:
    shop = make_shop(policies={"recovery": "manual", "rehearsal": "off"})
    shop.add_revision("r1", 'op.execute("UPDATE users SET balance = 0")', "raise Exception('no way back')")
    shop.add_rule("balances", "SELECT id FROM users WHERE balance = 0")

    state = play(shop.name)

    assert (state.is_failed(), state.name) == (True, "NeedsHuman")
    line = str(state.message).rpartition("Next: ")[2]
    assert line.startswith("prefect deployment run restore/restore -p ")
    assert len(slack.messages) == 1
    assert line in text_of(slack.messages[0])
    assert restore_database(**parameters_in(line), return_state=True).is_completed()
    assert shop.query("SELECT count(*), sum(balance) FROM users") == [(200, 20100)]


@pytest.mark.parametrize("trouble", ["refuses", "answers 500", "hangs"])
def test_slack_being_down_neither_fails_nor_delays_the_run(shop, slack, api, trouble) -> None:
    if trouble == "answers 500":
        slack.status = 500
    elif trouble == "hangs":
        slack.hang = threading.Event()
    else:
        slack.close()

    started = time.monotonic()
    state = play(shop.name)
    took_s = time.monotonic() - started

    assert state.is_completed()
    assert took_s < 15
    assert slack.messages == []
    assert "Slack has not taken the message" in report_of(api, state)


def test_without_slack_the_outcome_stands_in_the_log_and_the_artifact(make_shop, api) -> None:
    shop = make_shop(slack=None)
    state = play(shop.name)
    assert state.is_completed()
    assert "nothing to do" in report_of(api, state)
    assert any("nothing to do" in line for line in log_of(api, state))


def test_a_captured_migration_is_taken_back_by_the_copy_that_was_kept_warm(make_shop, slack, api) -> None:
    shop = make_shop(policies={"capture": "auto", "rehearsal": "off"})
    shop.add_revision("r1", 'op.execute("TRUNCATE users")', "raise Exception('no way back')")

    state = play(shop.name)

    assert (state.is_failed(), state.name) == (True, "Recovered"), state.message
    assert shop.query("SELECT count(*), sum(balance) FROM users") == [(200, 20100)]
    runs = task_runs(api, state)
    assert (runs["stand-by"], runs["warm-swap"]) == ("Completed", "Completed")
    assert "warm swap" in report_of(api, state)


def test_while_a_flow_migrates_the_command_line_is_refused(shop, tmp_path, api) -> None:
    answer = tmp_path / "answer.json"
    command = [
        str(Path(sys.executable).with_name("lockkeeper")), "migrate", "--json", "--set", "capture=off",
        "--database-url-env", "DATABASE_URL", "--alembic", str(shop.folder / "alembic.ini"),
        "--storage", str(tmp_path / "another-storage"),
    ]  # fmt: skip
    # The revision itself starts the second migration, so that the first is certainly still at work.
    shop.add_revision(
        "r1",
        f"import subprocess\nwith open({str(answer)!r}, 'w') as file:\n"
        f"    subprocess.run({command!r}, stdout=file)\n{ADD_STATUS}",
        DROP_STATUS,
    )
    state = play(shop.name)
    assert state.is_completed(), state.message
    assert shop.columns() == ["balance", "email", "id", "status"]
    refused = json.loads(answer.read_text())
    assert (refused["outcome"], refused["exit_code"]) == ("refused", 2)
    assert "lockkeeper:lock:" in refused["error"]
    assert leftovers(shop) == []
