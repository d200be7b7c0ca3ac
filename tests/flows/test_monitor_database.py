"""The scheduled look as a flow: one alert, one all-clear, and an alert when it could not look."""

from __future__ import annotations

from datetime import timedelta

from prefect.states import Late
from prefect_slack import SlackWebhook

from flows.monitor_database import monitor_database
from lockkeeper.models import utc_now
from tasks.automations import LATE, tell_when_the_monitor_is_late
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


def test_a_monitor_that_is_late_is_told_by_the_server_itself(slack, api, deployed) -> None:
    """No worker takes part: the server sees that the look did not begin, and tells Slack."""
    name = SlackWebhook(url=slack.url).save("late-tests", overwrite=True)
    assert name is not None
    tell_when_the_monitor_is_late("slack-incoming-webhook/late-tests", timedelta(seconds=10))
    tell_when_the_monitor_is_late("slack-incoming-webhook/late-tests", timedelta(seconds=10))
    assert len(api.read_automations_by_name(LATE)) == 1
    run = deployed(monitor_database, target="shop")
    api.set_flow_run_state(run, Late(scheduled_time=utc_now()))
    [message] = slack.wait_for(1, timeout_s=60)
    assert "critical: monitor-late" in str(message)
    for automation in api.read_automations_by_name(LATE):
        api.delete_automation(automation.id)


def test_each_look_leaves_metrics_and_one_that_failed_says_so(
    shop, make_shop, server, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("LOCKKEEPER_METRICS_DIR", str(tmp_path))
    shop.execute("ALTER TABLE users SET (autovacuum_enabled = false)")
    assert monitor_database(shop.name, return_state=True).is_completed()
    text = (tmp_path / f"lockkeeper-{shop.name}-look.prom").read_text()
    assert f'lockkeeper_look_success{{target="{shop.name}"}} 1.0' in text
    assert f'lockkeeper_incidents_open{{target="{shop.name}",rule="autovacuum-off"}} 1.0' in text
    assert f'lockkeeper_database_size_bytes{{target="{shop.name}"}}' in text
    locked_out = make_shop(login=server.url().set(username="nobody", password="Canary-metrics"))
    monitor_database(locked_out.name, return_state=True)
    text = (tmp_path / f"lockkeeper-{locked_out.name}-look.prom").read_text()
    assert f'lockkeeper_look_success{{target="{locked_out.name}"}} 0.0' in text
    assert "lockkeeper_connections" not in text
    assert "Canary" not in text


def test_metrics_that_cannot_be_written_are_told_as_undelivered(shop, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LOCKKEEPER_METRICS_DIR", str(tmp_path / "missing"))
    state = monitor_database(shop.name, return_state=True)
    assert (state.is_failed(), state.name) == (True, "Undelivered")
    assert "LOCKKEEPER_METRICS_DIR" in str(state.message)
