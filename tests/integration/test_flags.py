"""Flags in a real database: flipped in one transaction, audited, raised in steps and flipped back."""

from __future__ import annotations

import contextlib
from functools import partial

import psycopg2
import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from lockkeeper.errors import ConfigurationError, DatabaseError, FlagRevertedError, RefusedError
from lockkeeper.flags.provider import TableFlagProvider
from lockkeeper.flags.ramp import QueriedErrorRate, Ramp, RampPolicy, RolledBack, error_signal
from lockkeeper.flags.store import (
    claim_flag,
    ensure_flags,
    flag_of,
    history,
    read_percent,
    remove_flag,
    set_percent,
)
from lockkeeper.flags.switch import FlagChange, FlagHook
from lockkeeper.postgres.connection import connect, execute

FLAG = "use-new-description"


def change(percent: int, reason: str = "because") -> FlagChange:
    return FlagChange(FLAG, percent, "ana", reason)


def test_every_flip_is_audited_also_one_by_hand_and_one_that_changes_nothing_is_not(database: URL) -> None:
    with connect(database, "tests") as connection:
        assert read_percent(connection, FLAG) is None
        assert history(connection, FLAG) == []
        ensure_flags(connection)
        ensure_flags(connection)
        for percent in (10, 10, 100):
            set_percent(connection, change(percent))
        execute(connection, "UPDATE lockkeeper.feature_flag SET percent = 0, changed_by = 'psql'")
        remove_flag(connection, FLAG)
        remove_flag(connection, FLAG)
        audit = [(one.percent_before, one.percent_after, one.changed_by) for one in history(connection, FLAG)]
        assert audit == [(None, 10, "ana"), (10, 100, "ana"), (100, 0, "psql"), (0, None, "psql")]
        with pytest.raises(ConfigurationError):
            set_percent(connection, change(101))


def test_a_flag_belongs_to_one_change_and_is_not_taken_from_another(database: URL) -> None:
    with connect(database, "tests") as connection:
        ensure_flags(connection)
        assert flag_of(connection, "a -> b") is None
        for _ in range(2):
            claim_flag(connection, FLAG, "a -> b")
        assert (flag_of(connection, "a -> b"), read_percent(connection, FLAG)) == (FLAG, 0)
        with pytest.raises(RefusedError, match="in use"):
            claim_flag(connection, FLAG, "c -> d")
        with pytest.raises(RefusedError, match="another flag"):
            claim_flag(connection, "another", "a -> b")
        set_percent(connection, FlagChange("of-the-application", 50, "ana", ""))
        with pytest.raises(RefusedError):
            claim_flag(connection, "of-the-application", "e -> f")


def test_a_flip_that_is_rolled_back_was_never_seen_and_never_audited(database: URL) -> None:
    with connect(database, "tests") as connection:
        ensure_flags(connection)
        with connect(database, "tests", autocommit=False) as other:
            set_percent(other, change(100))
            assert read_percent(connection, FLAG) is None
        assert read_percent(connection, FLAG) is None
        assert history(connection, FLAG) == []


def test_an_application_with_no_rights_but_to_connect_reads_the_flag(database: URL) -> None:
    with connect(database, "tests") as connection:
        ensure_flags(connection)
        set_percent(connection, change(100))
        execute(connection, "DO $$BEGIN CREATE ROLE flag_reader; EXCEPTION WHEN duplicate_object THEN END$$")
    engine = create_engine(database.set(drivername="postgresql+psycopg2"))

    def as_reader():
        connection = engine.raw_connection()
        connection.cursor().execute("SET ROLE flag_reader")
        return connection

    try:
        api.set_provider_and_wait(TableFlagProvider(as_reader, environ={}))
        client = api.get_client()
        assert client.get_boolean_value(FLAG, False, EvaluationContext("1"))
        assert not client.get_boolean_value("another", False)
    finally:
        api.clear_providers()
        engine.dispose()


def test_before_the_first_rename_no_statement_fails(database: URL) -> None:
    provider = TableFlagProvider(partial(psycopg2.connect, database.render_as_string(hide_password=False)))
    with pytest.raises(FlagNotFoundError):  # a failed read would answer with the default
        provider.resolve_boolean_details(FLAG, True)


class Broken:
    """A signal that breaks once the flag has come to ``at``."""

    def __init__(self, database: URL, at: int) -> None:
        self.database, self.at, self.seen = database, at, []

    def learn(self) -> None:
        pass

    def problem(self) -> str | None:
        with connect(self.database, "tests") as connection:
            percent = read_percent(connection, FLAG) or 0
        self.seen.append(percent)
        return f"the parity is gone at {percent}" if percent >= self.at else None


def make_ramp(database: URL, signal, **changes) -> Ramp:
    policy = RampPolicy(observe_s=0.05, sample_interval_s=0.02)
    return Ramp(database, FLAG, "ana", policy, [signal], **changes)


def test_a_ramp_rises_step_by_step_and_looks_at_each(database: URL) -> None:
    signal = Broken(database, 101)
    make_ramp(database, signal).rise()
    assert list(dict.fromkeys(signal.seen)) == [0, 1, 10, 50, 100]
    with connect(database, "tests") as connection:
        assert [one.percent_after for one in history(connection, FLAG)] == [1, 10, 50, 100]


def test_what_breaks_flips_the_flag_back_and_says_why(database: URL, tmp_path) -> None:
    told = tmp_path / "told"
    hook = FlagHook(command=("sh", "-c", 'echo "$LOCKKEEPER_FLAG_PERCENT" >> "$0"', str(told)))
    with pytest.raises(FlagRevertedError, match="at 50 % the parity is gone"):
        make_ramp(database, Broken(database, 50), hook=hook).rise()
    assert told.read_text().split() == ["1", "10", "50", "0"]
    with connect(database, "tests") as connection:
        last = history(connection, FLAG)[-1]
        assert (last.percent_before, last.percent_after) == (50, 0)
        assert "parity is gone" in last.reason


def test_a_ramp_that_was_killed_goes_on_where_it_was(database: URL) -> None:
    with connect(database, "tests") as connection:
        ensure_flags(connection)
        set_percent(connection, change(10))
    signal = Broken(database, 101)
    make_ramp(database, signal).rise()
    assert list(dict.fromkeys(signal.seen)) == [10, 50, 100]


def test_a_signal_that_cannot_be_read_is_not_one_that_is_fine(database: URL) -> None:
    unreadable = QueriedErrorRate(database, "SELECT rate FROM no_such_table", 0.01)
    with connect(database, "tests") as connection:
        ensure_flags(connection)
        set_percent(connection, change(10))
    with pytest.raises(FlagRevertedError, match="could not be told"):
        make_ramp(database, unreadable).rise()
    with connect(database, "tests") as connection:
        assert read_percent(connection, FLAG) == 0


def test_failed_transactions_are_noticed_against_those_before_the_flip(database: URL) -> None:
    signal = RolledBack(database, 0.05, window_s=0)

    def traffic(bad: int) -> None:
        for statement in ["SELECT 1"] * 20 + ["SELECT 1/0"] * bad:
            with connect(database, "tests") as connection, contextlib.suppress(DatabaseError):
                execute(connection, statement)

    for _ in range(6):
        traffic(bad=0)
        signal.learn()
    traffic(bad=0)
    assert signal.problem() is None
    problem, rounds = None, 0
    while problem is None:
        traffic(bad=10)
        problem, rounds = signal.problem(), rounds + 1
        assert rounds < 100, "the server's counters did not move"
    assert "transactions failed" in problem


def test_the_users_own_error_rate_is_held_against_the_limit(database: URL) -> None:
    policy = RampPolicy(max_error_rate=0.02, error_rate_sql="SELECT 0.05")
    assert error_signal(database, policy).problem() == "the application's error rate is 5.00%"
    fine = RampPolicy(max_error_rate=0.02, error_rate_sql="SELECT 0.01")
    assert error_signal(database, fine).problem() is None
