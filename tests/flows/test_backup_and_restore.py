"""The nightly backup and the operator's restore as flows, each step a task."""

from __future__ import annotations

import re

from flows.backup_database import backup_database
from flows.backup_drill import backup_drill
from flows.restore_database import restore_database
from tests.flows.observing import artifact_of, report_of, task_runs


def back_up(shop, api) -> str:
    """Run the backup flow and return the backup's id, as its report tells it."""
    state = backup_database(shop.name, return_state=True)
    assert state.is_completed(), state.message
    found = re.search(r"\| Backup \| `([^`]+)` \|", report_of(api, state))
    assert found is not None
    return found[1]


def test_a_backup_is_made_and_proven_and_the_team_told(shop, slack, api) -> None:
    state = backup_database(shop.name, return_state=True)
    assert state.is_completed(), state.message
    assert task_runs(api, state) == {
        "backup": "Completed",
        "verify-backup": "Completed",
        "expire-backups": "Completed",
        "notify": "Completed",
        "report": "Completed",
    }
    assert len(slack.messages) == 1


def test_a_backup_that_cannot_be_stored_fails_the_run(make_shop, slack, tmp_path) -> None:
    (tmp_path / "a-file").write_text("in the way")
    shop = make_shop(storage_folder=str(tmp_path / "a-file" / "below"))
    state = backup_database(shop.name, return_state=True)
    assert state.is_failed()
    assert [message["text"].count("Backup of") for message in slack.messages] == [1]


def test_a_restore_brings_back_what_the_backup_holds(shop, api) -> None:
    backup_id = back_up(shop, api)
    shop.execute("UPDATE users SET balance = 0")

    refused = restore_database(shop.name, backup_id, return_state=True)

    assert (refused.is_failed(), refused.name) == (True, "Refused")
    assert "public.users" in str(refused.message)
    assert shop.query("SELECT sum(balance) FROM users") == [(0,)]

    restored = restore_database(shop.name, backup_id, accept_loss=True, return_state=True)

    assert restored.is_completed(), restored.message
    assert shop.query("SELECT sum(balance) FROM users") == [(20100,)]
    assert task_runs(api, restored)["restore"] == "Completed"


def test_an_unknown_backup_is_refused(shop) -> None:
    state = restore_database(shop.name, "20200101T000000Z-aaaaaa", return_state=True)
    assert (state.is_failed(), state.name) == (True, "Refused")
    assert "20200101T000000Z-aaaaaa" in str(state.message)


def test_a_drill_is_timed_and_its_trend_is_an_artifact(shop, api) -> None:
    assert backup_database(shop.name, return_state=True).is_completed()
    state = backup_drill(shop.name, return_state=True)
    assert state.is_completed(), state.message
    trend = artifact_of(api, state, f"drill-trend-{shop.name}")
    assert "data:image/svg+xml;base64," in trend
    assert "within the objective" in trend
