"""One incident is one alert and one all-clear, whatever the values do in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from lockkeeper.config import Policies
from lockkeeper.errors import ConfigurationError
from lockkeeper.monitoring.alert_notices import alert_notice
from lockkeeper.monitoring.budget import ImpactBudget, blocked_sessions
from lockkeeper.monitoring.incidents import AlertState, IncidentBook, Judge
from lockkeeper.monitoring.readings import Activity, Look, Wait, outline
from lockkeeper.monitoring.rules import RULES, Measurement, Rule, limits_of

START = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)
QUIET = Activity(START, connections=3, active=1, idle_in_transaction=0, hidden=0, max_connections=97)


def values(rule: Rule, *measured: float, every_s: float = 10) -> list[tuple[int, str]]:
    """Feed one value at each look; returns (number of the look, state) of every alert."""
    judge = Judge("shop", [rule], {})
    told = []
    for number, value in enumerate(measured):
        at = START + timedelta(seconds=number * every_s)
        told += [(number, alert.state.value) for alert in judge.take_in(rule, [Measurement(value, "x")], at)]
    return told


def rule(**changes: object) -> Rule:
    return replace(Rule("r", "things", 10, lambda look: []), **changes)


def test_an_incident_is_told_once_and_cleared_once() -> None:
    assert values(rule(), 1, 10, 50, 12, 1, 1) == [(1, "firing"), (4, "resolved")]


def test_a_value_that_swings_around_the_limit_is_one_incident() -> None:
    assert values(rule(), 10, 9, 10.5, 8.1, 11, 7.9) == [(0, "firing"), (5, "resolved")]


def test_a_moments_excess_is_not_told() -> None:
    assert values(rule(for_s=30), 99, 1, 99, 99, 1) == []
    assert values(rule(for_s=30), 99, 99, 99, 99) == [(3, "firing")]


def test_an_end_must_last_before_it_is_told() -> None:
    swinging = values(rule(clear_after_s=20), 99, 1, 99, 1, 1, 1)
    assert swinging == [(0, "firing"), (5, "resolved")]


def test_subjects_are_incidents_of_their_own_and_one_that_is_gone_is_over() -> None:
    judge = Judge("shop", [rule()], {})
    first = judge.take_in(rule(), [Measurement(20, "", "a"), Measurement(20, "", "b")], START)
    assert [alert.subject for alert in first] == ["a", "b"]
    second = judge.take_in(rule(), [Measurement(20, "", "b")], START + timedelta(seconds=1))
    assert [(alert.subject, alert.state) for alert in second] == [("a", AlertState.RESOLVED)]


def test_a_monitor_that_is_started_again_goes_on_with_what_was_told() -> None:
    judge = Judge("shop", [rule()], {})
    judge.take_in(rule(), [Measurement(20, "full")], START)
    stored = IncidentBook.model_validate_json(judge.book.model_dump_json())
    again = Judge("shop", [rule()], {}, stored)
    assert again.take_in(rule(), [Measurement(21, "full")], START + timedelta(minutes=1)) == []
    [cleared] = again.take_in(rule(), [Measurement(0, "")], START + timedelta(minutes=2))
    assert cleared.state is AlertState.RESOLVED
    assert cleared.message == "full"


def test_what_was_watched_has_ended_and_so_has_the_incident() -> None:
    judge = Judge("shop", [rule()], {}, run_id="r1")
    judge.take_in(rule(), [Measurement(20, "full")], START)
    [cleared] = judge.end(START + timedelta(seconds=9))
    assert (cleared.state, cleared.run_id) == (AlertState.RESOLVED, "r1")
    assert judge.end(START) == []


def test_a_target_sets_its_own_limits_and_a_wrong_name_is_refused() -> None:
    policies = Policies(alert_limits="long-query=60, dead-rows=inf")
    limits = limits_of(policies.alert_limits)
    assert (limits["long-query"], limits["dead-rows"]) == (60, float("inf"))
    with pytest.raises(ConfigurationError, match="did you mean 'long-query'"):
        limits_of({"long-querry": 1})


def test_rules_have_names_of_their_own_and_say_what_to_do() -> None:
    assert len({one.name for one in RULES}) == len(RULES) >= 25
    assert all(one.advice and one.meaning for one in RULES)


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("UPDATE t SET a = 'it''s', b = 12.5 WHERE id=7", "UPDATE t SET a = ?, b = ? WHERE id=?"),
        ("SELECT $$secret$$, $x$ more $x$", "SELECT ?, ?"),
        ("SELECT 1 -- of card 4711\n, t1.c2", "SELECT ? , t1.c2"),
        ("SELECT /* 4711 */ E'a\\'", "SELECT ?"),
        ("SELECT 'cut in the mid", "SELECT ?"),
    ],
)
def test_statements_are_shown_without_the_values_in_them(statement, shape) -> None:
    assert outline(statement) == shape


def wait(waiter: int, blocker: int, waiting_s: float = 1.0, application: str = "shop") -> Wait:
    return Wait(
        waiter, application, "client backend", "UPDATE t", waiting_s, "RowExclusiveLock on t",
        blocker, f"app{blocker}", "shop", "idle in transaction", 60.0, "SELECT ?",
    )  # fmt: skip


def test_a_chain_of_blockers_has_one_root_and_blocks_all_below_it() -> None:
    activity = replace(QUIET, waits=(wait(3, 2), wait(2, 1), wait(4, 3)))
    assert list(activity.roots()) == [1]
    assert set(activity.blocked_by([1])) == {2, 3, 4}
    assert set(activity.blocked_by([3])) == {4}


def test_a_ring_of_waits_ends_the_search() -> None:
    activity = replace(QUIET, waits=(wait(1, 2), wait(2, 1)))
    assert set(activity.blocked_by([1])) == {2}
    assert activity.roots() == {}


def test_lockkeepers_own_helpers_are_nobodys_impact() -> None:
    waits = (wait(2, 1, application="lockkeeper:verify:r1"), wait(3, 1, application="lockkeeper:probe:r1"))
    assert set(blocked_sessions(replace(QUIET, waits=waits), frozenset({1}))) == {3}


@pytest.mark.parametrize(
    ("policies", "look", "crossed"),
    [
        ({"impact_block_s": 2}, {"waits": (wait(2, 1, 1.9),)}, False),
        ({"impact_block_s": 2}, {"waits": (wait(2, 1, 2.0),)}, True),
        ({"impact_block_s": 2}, {"waits": (wait(2, 9, 99.0),)}, False),
        ({"impact_block_s": 0}, {"waits": (wait(2, 1, 99.0),)}, False),
        ({"impact_block_s": 0, "impact_blocked_sessions": 1}, {"waits": (wait(2, 1),)}, False),
        ({"impact_block_s": 0, "impact_blocked_sessions": 1}, {"waits": (wait(2, 1), wait(3, 1))}, True),
    ],
)
def test_the_budget_counts_what_our_migration_does_to_others(policies, look, crossed) -> None:
    budget = ImpactBudget.of(Policies(**policies))
    seen = Look(replace(QUIET, **look), own_pids=frozenset({1}))
    assert bool(budget.crossings(seen)) is crossed
    worst = [measurement.value for measurement in budget.rule().measure(seen)]
    assert (max(worst, default=0) >= 1) is crossed


def test_the_probes_latency_is_part_of_the_budget() -> None:
    budget = ImpactBudget.of(Policies(impact_probe_ms=50))
    assert not budget.crossings(Look(QUIET, probe_ms=49))
    [crossing] = budget.crossings(Look(QUIET, probe_ms=51))
    assert not crossing.by_blocking


def test_an_alert_reads_in_slack_without_markup_from_the_database() -> None:
    advised = rule(advice="drop it")
    judge = Judge("shop", [advised], {}, link="https://prefect.example/runs/1")
    [fired] = judge.take_in(advised, [Measurement(20, "session 7 (<!channel>, user x)")], START)
    notice = alert_notice(fired)
    assert "&lt;!channel&gt;" in notice.text
    texts = str(notice.blocks)
    assert "What to do: drop it" in texts
    assert "<https://prefect.example/runs/1|Open the run>" in texts
    [cleared] = judge.end(START + timedelta(seconds=65))
    assert "It is over after 1 min 05 s" in str(alert_notice(cleared).blocks)
    assert "What to do" not in str(alert_notice(cleared).blocks)
