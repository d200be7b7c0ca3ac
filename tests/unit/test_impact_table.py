"""The table that is shown beside a migration: who waits for whom, each session once, no secret."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from lockkeeper.measured import MonitorSummary, ProbeSummary
from lockkeeper.monitoring.impact_table import LONGEST_LINE, MOST_WAITS, impact_rows
from lockkeeper.monitoring.readings import Activity, Command, Look, Vitals, Wait
from lockkeeper.redaction import register_secret

AT = datetime(2026, 11, 26, 3, 0, tzinfo=timezone.utc)


def a_wait(waiter: int, blocker: int, statement: str = "SELECT") -> Wait:
    return Wait(
        waiter, "shop", "client backend", statement, 2.5, "AccessShareLock on t", blocker, "app", "u",
        "active", 3.0, "ALTER TABLE t",
    )  # fmt: skip


def rows_of(*waits: Wait, commands: tuple[Command, ...] = ()) -> list[tuple[str, str]]:
    activity = Activity(AT, 7, 3, 1, 0, 100, (), waits)
    look = Look(activity, Vitals(AT, commands=commands), None, frozenset({10}), 12.0)
    summary = MonitorSummary(
        max_blocked_sessions=4, longest_block_s=2.5, probe=ProbeSummary(before_ms=1.0, longest_ms=12.0)
    )
    return [(row["what"], row["seen"]) for row in impact_rows(look, summary)]


def test_what_the_migration_does_to_others_comes_first() -> None:
    rows = rows_of(a_wait(20, 10), a_wait(21, 10))
    assert rows[:3] == [
        ("Sessions kept waiting by it", "2 now, 4 at most"),
        ("Longest wait caused", "2.50 s"),
        ("Latency of the probe query", "12.0 ms, 1.0 ms before"),
    ]


def test_the_blocking_tree_names_each_session_once_below_what_it_waits_for() -> None:
    rows = rows_of(a_wait(30, 20), a_wait(20, 10), a_wait(30, 10))
    tree = [what for what, _ in rows if "session" in what or "Blocks" in what]
    assert tree == ["Blocks others (the migration)", "· session 20 (shop)", "· · session 30 (shop)"]
    assert rows[-2:] == [("· · session 30 (shop)", "waits 2.50 s for AccessShareLock on t"), ("", "`SELECT`")]


def test_sessions_that_wait_for_one_another_are_shown_and_the_table_ends() -> None:
    rows = rows_of(a_wait(30, 20), a_wait(20, 30))
    assert sum("session" in what for what, _ in rows) == 2


def test_no_more_waits_are_shown_than_anybody_reads() -> None:
    rows = rows_of(*(a_wait(number, 10) for number in range(100, 200)))
    assert sum("session" in what for what, _ in rows) == MOST_WAITS
    assert rows[-1] == ("More waits", f"{100 - MOST_WAITS} sessions are not shown")


def test_long_commands_are_shown_with_their_share_and_the_time_left() -> None:
    command = Command(10, "CREATE INDEX", "public.t", "building index", 25, 100, 90.0)
    assert ("CREATE INDEX public.t", "building index, 25 %, about 1 min 30 s left") in rows_of(
        commands=(command,)
    )


def test_a_long_statement_goes_on_in_the_rows_below_and_is_whole() -> None:
    statement = "UPDATE orders SET " + ", ".join(f"column_{number} = ?" for number in range(12))
    rows = rows_of(a_wait(20, 10, statement))
    first = next(number for number, (what, _) in enumerate(rows) if "session 20" in what)
    assert all(what == "" for what, _ in rows[first + 1 :])
    assert " ".join(seen.strip("`") for _, seen in rows[first + 1 :]) == statement
    assert max(len(seen) for _, seen in rows) <= LONGEST_LINE + 2


def test_what_comes_from_the_database_is_no_markup() -> None:
    name = "[here](http://evil.example) <b>`"
    rows = rows_of(replace(a_wait(20, 10, "SELECT `*`"), waiter_application=name))
    assert (
        "· session 20 ((here)(http://evil.example) (b)')",
        "waits 2.50 s for AccessShareLock on t",
    ) in rows
    assert rows[-1] == ("", "`SELECT '*'`")


def test_a_secret_in_a_statement_is_not_shown() -> None:
    register_secret("Canary-impact-table")
    assert "Canary" not in str(rows_of(a_wait(20, 10, 'SELECT "Canary-impact-table"')))


def test_why_it_was_cancelled_stands_at_the_top_also_when_nothing_is_seen_any_more() -> None:
    rows = impact_rows(None, MonitorSummary(cancelled="others wait longer than 5 s", failed_samples=2))
    assert rows[0] == {"what": "Cancelled by the impact budget", "seen": "others wait longer than 5 s"}
    assert {"what": "Samples that could not be taken", "seen": "2, 0 taken"} in rows
