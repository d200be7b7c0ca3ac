"""The scheduled look as a flow: one alert, one all-clear, and an alert when it could not look."""

from __future__ import annotations

from flows.monitor_database import monitor_database
from tests.flows.observing import task_runs


def test_an_incident_is_one_alert_and_one_all_clear_over_many_runs(shop, slack, api) -> None:
    assert monitor_database(shop.name, return_state=True).is_completed()
    shop.execute("ALTER TABLE users SET (autovacuum_enabled = false)")
    first = monitor_database(shop.name, return_state=True)
    assert monitor_database(shop.name, return_state=True).is_completed()
    shop.execute("ALTER TABLE users RESET (autovacuum_enabled)")
    assert monitor_database(shop.name, return_state=True).is_completed()
    texts = [message["text"] for message in slack.messages if "autovacuum-off" in message["text"]]
    assert [text.split(":")[1] for text in texts] == ["warning", "white_check_mark"]
    assert task_runs(api, first) == {"look": "Completed"}
    assert "autovacuum-off/public.users" in str(first.message)


def test_a_database_that_cannot_be_looked_at_is_an_alert_of_its_own(make_shop, server, slack) -> None:
    shop = make_shop(login=server.url().set(username="nobody", password="Canary-monitor"))
    for _ in range(2):
        state = monitor_database(shop.name, return_state=True)
        assert (state.is_failed(), state.name) == (True, "CouldNotCheck")
        assert "Canary" not in str(state.message)
    assert ["could-not-look" in message["text"] for message in slack.messages] == [True]


def test_an_alert_that_slack_did_not_take_is_told_by_the_next_look(shop, slack) -> None:
    shop.execute("ALTER TABLE users SET (autovacuum_enabled = false)")
    slack.status = 404
    state = monitor_database(shop.name, return_state=True)
    assert (state.is_failed(), state.name) == (True, "Undelivered")
    slack.status = 200
    assert monitor_database(shop.name, return_state=True).is_completed()
    assert [message["text"].count("autovacuum-off") for message in slack.messages] == [1]
