"""What the lint knows beyond single statements: transactions, revisions, exemptions, advice, its tools."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import pytest
from lint_corpus import CASES, Case

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.lint import (
    LintContext,
    LintFinding,
    LintReport,
    Severity,
    SqlStatement,
    lint_report,
    lint_sql,
    squawk,
)
from lockkeeper.lint.parsing import parse_statements
from lockkeeper.lint.registry import KNOWN_RULES, SQUAWK_RULES
from lockkeeper.lint.verdicts import Verdict

SCRIPT = """BEGIN;

-- Running upgrade 1 -> 2

{before}
UPDATE alembic_version SET version_num='2' WHERE alembic_version.version_num = '1';

COMMIT;
"""


def lint(text: str, **options: Any) -> list[LintFinding]:
    context = options.pop("context", None)
    return lint_sql([SqlStatement(text=text, **options)], server_version=16, context=context)


def rules(text: str, **options: Any) -> list[str]:
    return [one.rule for one in lint(text, **options)]


def report(*texts: str, context: LintContext | None = None) -> LintReport:
    statements = [SqlStatement(text=text, revision=str(number)) for number, text in enumerate(texts)]
    return lint_report(statements, server_version=16, context=context)


# -- transactions and revisions


def test_a_script_of_alembics_offline_mode_is_followed_through_its_transactions() -> None:
    concurrent = "COMMIT;\nCREATE INDEX CONCURRENTLY i ON users (name);\nBEGIN;"
    assert rules(SCRIPT.format(before=concurrent), revision="2", in_transaction=False) == []
    inside = "CREATE INDEX CONCURRENTLY i ON users (name);"
    assert rules(SCRIPT.format(before=inside), revision="2", in_transaction=False) == ["not-in-transaction"]


def test_a_primary_key_that_the_same_statement_replaces_is_not_missed() -> None:
    drop, new = "ALTER TABLE orders DROP CONSTRAINT orders_pkey", "ADD PRIMARY KEY USING INDEX orders_new"
    assert rules(drop) == ["drop-primary-key"]
    assert rules(f"{drop}, {new}") == []
    assert rules("ALTER TABLE orders DROP CONSTRAINT orders_amount_check") == []
    assert rules(f"CREATE TABLE orders (id int PRIMARY KEY); {drop}") == []


def test_whole_rows_in_the_log_are_warned_of_where_the_table_is_in_use() -> None:
    full = "ALTER TABLE orders REPLICA IDENTITY FULL"
    (found,) = lint(full)
    assert (found.rule, found.severity) == ("replica-identity-full", Severity.WARNING)
    assert rules(f"CREATE TABLE orders (id int); {full}") == []


def test_changes_before_an_autocommit_block_are_warned_of() -> None:
    text = "ALTER TABLE users ADD COLUMN a text; COMMIT; CREATE INDEX CONCURRENTLY i ON users (a); BEGIN;"
    (found,) = lint(SCRIPT.format(before=text), revision="2", in_transaction=False)
    assert (found.rule, found.severity) == ("partial-commit", Severity.WARNING)
    assert "ADD COLUMN a text" in found.message
    assert not found.counts


def test_what_can_be_run_again_is_not_warned_of() -> None:
    text = "COMMIT; DROP INDEX CONCURRENTLY IF EXISTS i; CREATE INDEX CONCURRENTLY i ON users (a); BEGIN;"
    assert lint(SCRIPT.format(before=text), revision="2", in_transaction=False) == []


def test_not_valid_and_validate_are_safe_in_two_revisions() -> None:
    found = report(
        "ALTER TABLE users ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID",
        "ALTER TABLE users VALIDATE CONSTRAINT c; ALTER TABLE users ALTER COLUMN name SET NOT NULL; "
        "ALTER TABLE users DROP CONSTRAINT c",
    )
    assert found.findings == ()
    assert found.statements == 4


def test_a_check_that_was_never_validated_does_not_make_set_not_null_safe() -> None:
    found = report(
        "ALTER TABLE users ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID",
        "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
    )
    assert [one.rule for one in found.findings] == ["set-not-null-without-check"]


def test_a_check_of_one_column_does_not_speak_for_another() -> None:
    found = report(
        "ALTER TABLE users ADD CONSTRAINT c CHECK (name IS NOT NULL OR age IS NOT NULL) NOT VALID",
        "ALTER TABLE users VALIDATE CONSTRAINT c; ALTER TABLE users ALTER COLUMN name SET NOT NULL",
    )
    assert [one.rule for one in found.findings] == ["set-not-null-without-check"]


def test_a_table_is_new_only_in_the_revision_that_makes_it() -> None:
    made, indexed = "CREATE TABLE t (a text)", "CREATE INDEX i ON t (a)"
    assert report(f"{made}; {indexed}").findings == ()
    assert [one.rule for one in report(made, indexed).findings] == ["index-without-concurrently"]


def test_what_another_schema_holds_under_the_same_name_is_another_table() -> None:
    assert rules("CREATE TABLE a.t (x int); CREATE INDEX i ON b.t (x)") == ["index-without-concurrently"]
    assert rules("CREATE TABLE public.t (x int); CREATE INDEX i ON t (x)") == []
    assert rules('CREATE TABLE "T" (x int); CREATE INDEX i ON t (x)') == ["index-without-concurrently"]


def test_a_table_follows_its_new_name() -> None:
    text = "CREATE TABLE t (x int); ALTER TABLE t RENAME TO u; CREATE INDEX i ON u (x)"
    assert rules(text) == []


def test_column_types_are_remembered_from_earlier_revisions() -> None:
    wider = "ALTER TABLE t ALTER COLUMN s TYPE varchar(30)"
    assert report("CREATE TABLE t (s varchar(20))", wider).findings == ()
    assert [one.rule for one in report("CREATE TABLE t (s varchar(40))", wider).findings] == [
        "column-type-change"
    ]


def test_tiny_tables_are_spared_locks_but_not_breakage() -> None:
    tiny = LintContext(row_estimates={"public.settings": 40, "users": 5_000_000})
    assert rules("ALTER TABLE settings ALTER COLUMN v SET NOT NULL", context=tiny) == []
    assert rules("CREATE INDEX i ON settings (v)", context=tiny) == []
    assert rules("UPDATE settings SET v = 1", context=tiny) == []
    assert rules("CREATE INDEX i ON users (name)", context=tiny) == ["index-without-concurrently"]
    assert rules("ALTER TABLE settings DROP COLUMN v", context=tiny) == ["drop-column"]
    assert rules("TRUNCATE settings", context=tiny) == ["truncate"]


def test_a_commit_as_text_is_found_and_followed() -> None:
    found = rules("COMMIT; CREATE INDEX CONCURRENTLY i ON users (name)")
    assert found == ["explicit-commit"]


# -- what could not be read


def test_what_does_not_parse_is_not_passed_and_does_not_hide_the_rest() -> None:
    found = lint("SELEC 1; DROP TABLE users; SELECT 'it''s; fine'")
    assert [(one.rule, one.severity) for one in found] == [
        ("drop-table", Severity.ERROR),
        ("could-not-check", Severity.UNKNOWN),
    ]


@pytest.mark.parametrize(
    "text", ["SELECT 'never closed", "DO $$ BEGIN EXECUTE format('x %s', 1); END $$", "("]
)
def test_what_cannot_be_known_ends_with_exit_code_2(text: str) -> None:
    found = lint_report([SqlStatement(text=text)], server_version=16)
    assert found.unknown
    assert found.exit_code == 2


def test_a_revision_without_sql_is_unknown_until_somebody_answers_for_it() -> None:
    unchecked = {"abc": "it asks the database"}
    found = lint_report([], server_version=16, unchecked=unchecked)
    assert (found.exit_code, found.revisions) == (2, ("abc",))
    source = "# lockkeeper: allow could-not-check because the rehearsal has shown its locks\n"
    context = LintContext(sources={"abc": source})
    assert lint_report([], server_version=16, unchecked=unchecked, context=context).exit_code == 0


def test_semicolons_in_strings_bodies_and_functions_do_not_split() -> None:
    text = """
        CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $x$ BEGIN DROP TABLE users; RETURN 1; END $x$;
        CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;
        COMMENT ON TABLE users IS 'a; b -- c';
        CREATE RULE r AS ON INSERT TO logs DO ALSO (SELECT 1; SELECT 2);
        SELECT 1
    """
    kinds = [one.kind for one in parse_statements(text)]
    assert kinds == [
        "create_function_stmt",
        "create_function_stmt",
        "comment_stmt",
        "rule_stmt",
        "select_stmt",
    ]


# -- exemptions


def test_an_exemption_in_sql_holds_for_its_statement_only_and_is_reported() -> None:
    found = report(
        "-- lockkeeper: allow drop-table because nobody has used it since 2024\nDROP TABLE a;\nDROP TABLE b;"
    )
    allowed, refused = found.findings
    assert allowed.allowed_because == "nobody has used it since 2024"
    assert refused.allowed_because is None
    (exemption,) = found.exemptions
    assert (exemption.rule, exemption.used, exemption.whole_revision) == ("drop-table", True, False)
    assert found.exit_code == 1


def test_a_comment_behind_the_semicolon_belongs_to_the_statement_before_it() -> None:
    text = "DROP TABLE a; -- lockkeeper: allow drop-table because unused\nSELECT 1"
    (found,) = lint(text)
    assert found.allowed_because == "unused"


def test_an_exemption_in_python_holds_for_the_revision() -> None:
    source = 'x = "# lockkeeper: allow drop-column because a string is no comment"\n'
    source += "# lockkeeper: allow drop-table, drop-column because both were abandoned in 2.0\n"
    context = LintContext(sources={"0": source})
    found = report("DROP TABLE a; ALTER TABLE b DROP COLUMN c", "DROP TABLE d", context=context)
    assert [(one.revision, one.allowed_because) for one in found.findings] == [
        ("0", "both were abandoned in 2.0"),
        ("0", "both were abandoned in 2.0"),
        ("1", None),
    ]


@pytest.mark.parametrize(
    "comment", ["allow drop-table", "allow drop-table because", "allow because I say so"]
)
def test_an_exemption_without_rule_or_reason_does_not_hold_and_is_a_finding(comment: str) -> None:
    found = lint(f"/* lockkeeper: {comment} */ DROP TABLE a")
    assert [one.rule for one in found] == ["drop-table", "exemption-without-reason"]
    assert all(one.counts for one in found)


def test_an_exemption_from_no_rule_is_a_finding_and_one_that_is_not_needed_a_warning() -> None:
    found = lint(
        "-- lockkeeper: allow drop-tabel because typo\n-- lockkeeper: allow truncate because x\nSELECT 1"
    )
    assert [(one.rule, one.severity) for one in found] == [
        ("unknown-rule", Severity.ERROR),
        ("unused-exemption", Severity.WARNING),
    ]


def test_squawks_names_can_be_allowed_too() -> None:
    (found,) = lint(
        "-- lockkeeper: allow ban-drop-column because unused since 3.1\nALTER TABLE a DROP COLUMN b"
    )
    assert found.allowed_because == "unused since 3.1"


# -- advice


ADVICE_TO_FOLLOW = (
    "CREATE INDEX", "partial index", "DROP INDEX", "REINDEX TABLE", "CHECK", "CHECK without a name",
    "FOREIGN KEY", "FOREIGN KEY of an odd table", "UNIQUE", "PRIMARY KEY", "SET NOT NULL", "DETACH PARTITION",
    "bigserial column", "uuid default", "REFRESH MATERIALIZED VIEW", "CONCURRENTLY in a transaction",
    "LOCK TABLE", "referring column",
)  # fmt: skip


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ADVICE_TO_FOLLOW], ids=lambda c: c.name
)
def test_advice_when_followed_is_safe_and_parses(case: Case) -> None:
    found = next(one for one in lint(case.sql) if one.rule == case.rule)
    steps = [one.text for one in parse_statements(found.advice)]
    assert steps
    # Each step alone in its revision, outside of a transaction where it must be.
    statements = [
        SqlStatement(text=text, revision=str(number), in_transaction="CONCURRENTLY" not in text)
        for number, text in enumerate(steps)
    ]
    assert [one for one in lint_sql(statements, server_version=16) if one.counts] == []


def test_advice_names_the_users_own_objects() -> None:
    (found,) = lint('CREATE UNIQUE INDEX "My Idx" ON "Sales"."Order" ("User", lower(mail)) WHERE live')
    assert found.advice.splitlines()[-1] == (
        'CREATE UNIQUE INDEX CONCURRENTLY "My Idx" ON "Sales"."Order" '
        'USING btree ("User", lower(mail)) WHERE live;'
    )
    (found,) = lint('ALTER TABLE "Order" ALTER "User" SET NOT NULL')
    assert '"Order_User_not_null" CHECK ("User" IS NOT NULL) NOT VALID' in found.advice


def test_every_rule_that_can_be_raised_is_listed_and_documented() -> None:
    package = Path(squawk.__file__).parent
    text = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "registry.py")
    assert {rule for several in SQUAWK_RULES.values() for rule in several} <= set(KNOWN_RULES)
    assert {rule for rule in KNOWN_RULES if f'"{rule}"' not in text} == set()
    documented = (package.parents[1] / "docs" / "lint.md").read_text()
    assert {rule for rule in KNOWN_RULES if f"`{rule}`" not in documented} == set()


# -- squawk


def test_squawk_is_called_with_version_and_transaction() -> None:
    argv = squawk.squawk_cmd(Path("/bin/squawk"), Path("c.toml"), [Path("0.sql")], 15, True)
    assert argv == [
        "/bin/squawk", "--reporter", "json", "--config", "c.toml", "--pg-version", "15.0",
        "--assume-in-transaction", "0.sql",
    ]  # fmt: skip
    assert "--no-assume-in-transaction" in squawk.squawk_cmd(Path("s"), Path("c"), [], 15, False)


def test_a_danger_that_only_squawk_sees_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockkeeper.lint.verdicts import RULES

    monkeypatch.setitem(RULES, "index_stmt", [])  # as if our own rule had been forgotten
    (found,) = lint("SELECT 1;\nCREATE INDEX i\n  ON users (name)")
    assert (found.rule, found.source, found.severity) == (
        "index-without-concurrently",
        "squawk",
        Severity.ERROR,
    )
    assert found.statement == "CREATE INDEX i ON users (name)"


def test_a_configuration_in_the_working_folder_switches_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockkeeper.lint.verdicts import RULES

    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["require-concurrent-index-creation"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RULES, "index_stmt", [])
    assert rules("CREATE INDEX i ON users (name)") == ["index-without-concurrently"]


def test_without_squawk_nothing_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'lockkeeper[lint]'")):
        lint("SELECT 1")


def test_a_squawk_that_cannot_be_understood_passes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\necho '[{\"surprise\": 1}]'\n")
    program.chmod(0o755)
    monkeypatch.setattr("lockkeeper.lint.squawk.find_squawk", lambda: program)
    with pytest.raises(ProgramError, match="not what was expected"):
        lint("SELECT 1")
    program.write_text("#!/bin/sh\necho broken >&2; exit 101\n")
    with pytest.raises(ProgramError, match="broken"):
        lint("SELECT 1")


def test_without_the_parser_nothing_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "postgast":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match="postgast"):
        lint("SELECT 1")


def test_a_server_too_old_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="13"):
        lint_sql([], server_version=13)


def test_a_cleared_verdict_is_no_finding() -> None:
    assert Verdict("drop-table", cleared="new").cleared == "new"
    assert report("CREATE TABLE t (a int); DROP TABLE t").findings == ()
