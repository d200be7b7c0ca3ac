"""What the lint makes of what the catalogue holds: indexes and their tables, partitions, policies."""

from __future__ import annotations

import pytest

from lockkeeper.lint import (
    ColumnFacts,
    IndexFacts,
    LintContext,
    LintFinding,
    Severity,
    SqlStatement,
    lint_sql,
)

BUSY = 5_000_000
CONTEXT = LintContext(
    row_estimates={
        "public.users": BUSY, "public.settings": 40, "public.events": BUSY, "public.visits": BUSY,
        "public.visits_rest": BUSY, "public.hits": 0, "public.hits_rest": 0,
    },
    columns={
        "public.users": {
            "name": ColumnFacts(type="text"),
            "email": ColumnFacts(type="text", not_null=True),
            "checked": ColumnFacts(type="text"),
        }
    },
    validated_checks={"public.users": ("(checked IS NOT NULL)",)},
    tables_with_policies=("public.settings",),
    indexes={
        "public.users_email": IndexFacts(table="public.users", columns=("email", "checked")),
        "public.users_name": IndexFacts(table="public.users", columns=("name",)),
        "public.settings_v": IndexFacts(table="public.settings", columns=("v",)),
        "public.events_at": IndexFacts(table="public.events", columns=("at",), partitioned=True),
    },
    default_partitions={
        "public.events": "", "public.visits": "public.visits_rest", "public.hits": "public.hits_rest",
    },
)  # fmt: skip
BOUNDS = "FOR VALUES FROM (1) TO (2)"


def lint(text: str) -> list[LintFinding]:
    return lint_sql([SqlStatement(text=text)], server_version=16, context=CONTEXT)


def errors(text: str) -> list[str]:
    return [one.rule for one in lint(text) if one.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DROP INDEX users_name", ["drop-index-without-concurrently"]),
        ("DROP INDEX settings_v", []),
        ("DROP INDEX public.settings_v, users_name", ["drop-index-without-concurrently"]),
        ("CREATE TABLE t (a int); CREATE INDEX i ON t (a); DROP INDEX i", []),
        ("REINDEX INDEX users_name", ["reindex-without-concurrently"]),
        ("REINDEX INDEX settings_v", []),
    ],
)
def test_an_index_is_judged_by_the_size_of_its_table(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


def test_where_postgresql_has_no_other_way_it_is_only_warned_of() -> None:
    (dropped,) = lint("DROP INDEX events_at")
    assert (dropped.severity, dropped.counts) == (Severity.WARNING, False)
    (detached,) = lint("ALTER TABLE visits DETACH PARTITION visits_1")
    assert (detached.severity, detached.counts) == (Severity.WARNING, False)
    assert "visits_rest" in detached.message


def test_an_index_of_a_partitioned_table_is_to_be_built_partition_by_partition() -> None:
    (found,) = lint("CREATE INDEX i ON events (kind)")
    assert found.advice.startswith("CREATE INDEX i ON ONLY events")
    assert "ALTER INDEX i ATTACH PARTITION" in found.advice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"CREATE TABLE e1 PARTITION OF events {BOUNDS}", ["partition-of-without-attach"]),
        (f"CREATE TABLE h1 PARTITION OF hits {BOUNDS}", []),
        (f"CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p {BOUNDS}", []),
        (f"CREATE TABLE e1 (LIKE events); ALTER TABLE events ATTACH PARTITION e1 {BOUNDS}", []),
        (
            f"CREATE TABLE v1 (LIKE visits); ALTER TABLE visits ATTACH PARTITION v1 {BOUNDS}",
            ["attach-partition-without-check"],
        ),
        ("ALTER TABLE hits DETACH PARTITION h1", []),
        ("ALTER TABLE events DETACH PARTITION e1", ["detach-partition-without-concurrently"]),
    ],
    ids=["made in place", "of an empty table", "of a new table", "attached", "a default is read",
         "detached from an empty table", "detached"],
)  # fmt: skip
def test_partitions_come_and_go_beside_the_application(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


def test_the_safe_form_of_a_partition_attaches_it() -> None:
    (found,) = lint(f'CREATE TABLE "E 1" PARTITION OF events {BOUNDS}')
    assert found.advice.splitlines() == [
        'CREATE TABLE "E 1" (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);',
        "-- in the same revision, while it is empty:",
        'ALTER TABLE events ATTACH PARTITION "E 1" FOR VALUES FROM (1) TO (2);',
    ]
    assert errors(found.advice) == []


def test_a_column_that_refers_to_another_table_locks_both_and_one_to_its_own_only_one() -> None:
    assert errors("ALTER TABLE users ADD COLUMN team bigint REFERENCES teams") == [
        "add-column-with-foreign-key"
    ]
    assert errors("ALTER TABLE users ADD COLUMN boss bigint REFERENCES users") == [
        "foreign-key-without-not-valid"
    ]
    assert errors("ALTER TABLE settings ADD COLUMN team bigint REFERENCES teams") == []


def test_a_primary_key_by_an_index_of_columns_that_may_be_null_reads_the_table() -> None:
    key = "ALTER TABLE users ADD PRIMARY KEY USING INDEX"
    (found,) = lint(f"{key} users_name")
    assert (found.rule, found.counts) == ("set-not-null-without-check", True)
    assert "makes name NOT NULL" in found.message
    assert errors(f"{key} users_email") == [], "NOT NULL, and by a validated CHECK"
    assert errors(f"{key} not_known") == []


def test_row_security_with_a_policy_that_is_there_already_hides_nothing_unforeseen() -> None:
    enable = "ALTER TABLE {} ENABLE ROW LEVEL SECURITY"
    assert errors(enable.format("settings")) == []
    assert errors(enable.format("users")) == ["row-security"]


def test_a_table_that_is_there_is_not_new_for_create_if_not_exists() -> None:
    assert errors("CREATE TABLE IF NOT EXISTS users (id int); DROP TABLE users") == ["drop-table"]
    assert errors("CREATE TABLE IF NOT EXISTS fresh (id int); DROP TABLE fresh") == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ALTER TABLE users ALTER COLUMN email DROP DEFAULT", "drop-default"),
        ("ALTER TABLE users OWNER TO app", "change-owner"),
        ("ALTER FUNCTION f() OWNER TO app", "change-owner"),
        ("REASSIGN OWNED BY a TO b", "change-owner"),
        ("ALTER TABLE users REPLICA IDENTITY NOTHING", "replica-identity-nothing"),
        ("ALTER TABLE users SET (fillfactor = 90, autovacuum_enabled = off)", "autovacuum-off"),
        ("ALTER TABLE users ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY", "sequence-restart"),
        ("ALTER TABLE users ALTER COLUMN id RESTART WITH 1", "sequence-restart"),
        ("CREATE POLICY p ON users AS RESTRICTIVE USING (name = 'x')", "row-security"),
        ("DROP TRIGGER keep ON users", "drop-object"),
        ("DROP ROLE reporting", "drop-object"),
        ("REVOKE reader FROM app", "revoke"),
    ],
)
def test_what_may_break_somebody_is_warned_of(text: str, rule: str) -> None:
    (found,) = lint(text)
    assert (found.rule, found.counts) == (rule, False)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE users ALTER COLUMN name DROP DEFAULT",
        "ALTER TABLE users SET (autovacuum_enabled = on)",
        "ALTER TABLE users ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH 9000)",
        "CREATE VIEW v AS SELECT 1; ALTER VIEW v OWNER TO app",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO app",
        "CREATE DOMAIN tall AS integer; ALTER DOMAIN tall ADD CHECK (VALUE > 180)",
        "GRANT reader TO app",
    ],
)
def test_what_breaks_nobody_is_not(text: str) -> None:
    assert lint(text) == []


def test_dropping_a_key_with_all_that_refers_to_it_is_told_apart_from_dropping_it_alone() -> None:
    assert errors("ALTER TABLE users DROP CONSTRAINT users_email_key") == []
    assert errors("ALTER TABLE users DROP CONSTRAINT users_email_key CASCADE") == ["drop-object"]
