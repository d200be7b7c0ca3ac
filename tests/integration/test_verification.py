"""Verification finds what a migration may not leave behind, and shows no row's contents."""

from __future__ import annotations

import pytest

from lockkeeper.errors import ConfigurationError
from lockkeeper.models import CheckState
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.fingerprint import schema_fingerprint
from lockkeeper.verification import (
    check_counts,
    check_invalid_objects,
    check_models,
    check_rules,
    invalid_objects,
    load_rules,
    row_counts,
)


@pytest.fixture
def shop(database):
    with connect(database, "setup") as connection:
        execute(connection, "CREATE TABLE users (id int PRIMARY KEY, email text, status text)")
        execute(connection, 'CREATE TABLE "Odd Name" (id int)')
        execute(
            connection,
            "INSERT INTO users SELECT n, 'user' || n || '@secret.example', 'active' "
            "FROM generate_series(1, 20) n",
        )
    return database


def test_a_broken_rule_shows_keys_and_no_contents(shop) -> None:
    with connect(shop, "setup") as connection:
        execute(connection, "UPDATE users SET status = 'gone' WHERE id > 12")
    rules = {
        "allowed_status": "SELECT id, email, status FROM users WHERE status NOT IN ('active') ORDER BY id"
    }
    (check,) = check_rules(shop, rules, timeout_ms=1000, run_id="r")
    assert check.state is CheckState.FAILED
    expected = "rule allowed_status is broken by 8 rows: (id=13), (id=14), (id=15), (id=16), (id=17), ..."
    assert check.message == expected


def test_a_rule_that_holds_passes_and_one_that_cannot_run_does_not(shop) -> None:
    rules = {
        "holds": "SELECT id FROM users WHERE id < 0",
        "misspelt": "SELECT nothing FROM users",
        "slow": "SELECT pg_sleep(30)",
        "writes": "DELETE FROM users RETURNING id",
        "casts": "SELECT email::int FROM users",
    }
    checks = check_rules(shop, rules, timeout_ms=200, run_id="r")
    assert "secret.example" not in str(checks)
    states = {check.name: check.state for check in checks}
    assert states == {
        "rule holds": CheckState.OK,
        "rule misspelt": CheckState.UNKNOWN,
        "rule slow": CheckState.UNKNOWN,
        "rule writes": CheckState.UNKNOWN,
        "rule casts": CheckState.UNKNOWN,
    }
    with connect(shop, "check") as connection:
        assert row_counts(connection, ["public.users"]) == {"public.users": 20}


def test_an_invalid_index_and_an_unvalidated_constraint_are_named(shop) -> None:
    with connect(shop, "setup") as connection:
        before = invalid_objects(schema_fingerprint(connection))
        execute(connection, "ALTER TABLE users ADD CONSTRAINT status_known CHECK (status <> '') NOT VALID")
        execute(connection, "CREATE INDEX broken ON users (status)")
        execute(connection, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
        now = invalid_objects(schema_fingerprint(connection))
    checks = check_invalid_objects(before, now)
    assert [check.state for check in checks] == [CheckState.FAILED, CheckState.FAILED]
    assert "constraint status_known on public.users is NOT VALID" in checks[0].message
    assert "index public.broken is invalid" in checks[1].message
    assert {check.state for check in check_invalid_objects(now, now)} == {CheckState.WARNING}


def test_an_emptied_table_fails_and_a_dropped_one_is_mentioned(shop) -> None:
    tables = ["public.users", 'public."Odd Name"']
    with connect(shop, "setup") as connection:
        before = row_counts(connection, tables)
        execute(connection, "TRUNCATE users")
        execute(connection, 'DROP TABLE "Odd Name"')
        checks = check_counts(before, row_counts(connection, tables))
    assert [(check.state, check.message) for check in checks] == [
        (CheckState.WARNING, 'table public."Odd Name" with 0 rows is gone'),
        (CheckState.FAILED, "table public.users had 20 rows and is empty"),
    ]


def test_model_differences_are_judged_by_policy() -> None:
    assert check_models(["table x is missing"], "warn")[0].state is CheckState.WARNING
    assert check_models(["table x is missing"], "fail")[0].state is CheckState.FAILED
    assert check_models([], "fail")[0].state is CheckState.OK
    assert check_models(None, "fail")[0].state is CheckState.OK


def test_a_missing_folder_of_rules_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_rules(tmp_path / "nowhere")
