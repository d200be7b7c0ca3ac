"""Verification finds what a migration may not leave behind, and shows no row's contents."""

from __future__ import annotations

import subprocess
import sys

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

ROWS_IN_A_RULE = 200_000
A_RULE_IN_A_PROCESS = f"""
import os, resource
from sqlalchemy.engine import make_url
from lockkeeper.verification import check_rules

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

url = make_url(os.environ["DATABASE_URL"])
check_rules(url, {{"small": "SELECT 1 AS n"}}, timeout_ms=60000, run_id="r")
before = peak_mib()
rules = {{"wide": "SELECT n, repeat('x', 1000) FROM generate_series(1, {ROWS_IN_A_RULE}) AS n"}}
(check,) = check_rules(url, rules, timeout_ms=60000, run_id="r")
print(check.message)
print(round(peak_mib() - before))
"""


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


def test_a_rule_that_all_rows_break_does_not_fill_the_memory(database) -> None:
    """200 MB of failing rows: they are counted where they are."""
    done = subprocess.run(
        [sys.executable, "-c", A_RULE_IN_A_PROCESS],
        env={"DATABASE_URL": database.render_as_string(hide_password=False)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    message, grown_mib = done.stdout.splitlines()
    assert message == f"rule wide is broken by {ROWS_IN_A_RULE} rows"
    assert int(grown_mib) < 50


@pytest.mark.parametrize(
    "end",
    [
        "", ";", " ;;\n", ";\n-- that is all; really\n", "; -- done\n;", "\n-- nobody else\n", " -- here",
        "; /* end */", ";\n/* two\n lines */", ";\f\n", " AND email <> $$it's$$ ; -- done",
        " AND email <> '\n-- b'",
    ],
)  # fmt: skip
def test_a_rule_may_end_as_files_of_sql_do(shop, end) -> None:
    broken = f"-- Two; known by name\nSELECT id FROM users WHERE id > 18 AND email <> '; --'{end}"
    (check,) = check_rules(shop, {"two": broken}, timeout_ms=1000, run_id="r")
    assert check.message == "rule two is broken by 2 rows: (id=19), (id=20)"


def test_an_error_that_may_quote_a_row_is_shown_by_its_code_alone(shop) -> None:
    with connect(shop, "setup") as connection:
        execute(
            connection,
            """CREATE FUNCTION say(state text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION '%', (SELECT max(email) FROM users) USING ERRCODE = state; END $$""",
        )
        execute(
            connection,
            """CREATE FUNCTION ask() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                EXECUTE format('SELECT %I', (SELECT max(email) FROM users)); END $$""",
        )
    rules = {
        "P0001": "SELECT id FROM users WHERE say('P0001')",
        "XX123": "SELECT id FROM users WHERE say('XX123')",
        "42501": "SELECT id FROM users WHERE say('42501')",
        "42703": "SELECT id FROM users WHERE ask()",
        "42P01": "SELECT id FROM users WHERE replace(email, '.', '')::regclass IS NULL",
        "22P02": "SELECT id FROM users WHERE email::int > 1",
    }
    for check in check_rules(shop, rules, timeout_ms=1000, run_id="r"):
        code = check.name.removeprefix("rule ")
        assert check.state is CheckState.UNKNOWN
        assert f"SQLSTATE {code}" in check.message
        assert "@secret" not in check.message


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
