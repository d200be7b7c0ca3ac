"""Rows made up from a schema: of every type, within every rule, the same each time; what they prove."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.fingerprint import compare_data, data_fingerprint
from lockkeeper.proving import FindingKind, GeneratedData, MigrationTestReport, run_migration_test
from lockkeeper.proving.reports import summary
from lockkeeper.testdata import Filled, Filler
from tests.integration.test_migration_test import CREATE, found, states

ROWS = 8
SCHEMA = (Path(__file__).parent / "generated_data" / "every_rule.sql").read_text(encoding="utf-8")
CANNOT = {"public.impossible", "public.nowhere", "public.refusing", "public.narcissus"}


pytestmark = pytest.mark.usefixtures("only_the_stairway")


@pytest.fixture(scope="module")
def filled(servers, server_folder) -> tuple[URL, Filled]:
    """A database with every kind of table, filled once."""
    server: EmbeddedPostgres = servers(16)
    with connect(server.url(), "tests") as connection:
        execute(connection, "CREATE DATABASE generated")
    url = server.url("generated")
    with connect(url, "tests") as connection:
        execute(connection, SCHEMA)
    return url, Filler(url, ROWS, 1, {"public.alembic_version"}).fill()


def rows(url: URL, query: str) -> list[tuple]:
    with connect(url, "tests") as connection:
        return fetch_all(connection, query)


def test_every_table_that_can_be_filled_has_all_its_rows(filled) -> None:
    url, result = filled
    tables = rows(
        url,
        "SELECT c.oid::regclass::text, n.nspname || '.' || c.relname FROM pg_class c, "
        "pg_namespace n WHERE n.oid = relnamespace AND relkind IN ('r', 'p') AND NOT relispartition "
        "AND nspname !~ '^(pg_|inf)'",
    )
    counts = {name: rows(url, f"SELECT count(*) FROM {regclass}")[0][0] for regclass, name in tables}
    assert counts.pop("public.alembic_version") == 0
    assert {name for name, count in counts.items() if count != ROWS} == CANNOT
    assert sum(result.rows.values()) == sum(counts.values())


def test_a_table_that_cannot_be_filled_is_named_with_the_databases_own_reason(filled) -> None:
    _, result = filled
    assert set(result.missing) == CANNOT
    assert "impossible_a_check" in result.missing["public.impossible"]
    assert "no partition" in result.missing["public.nowhere"]
    assert "never" in result.missing["public.refusing"]
    assert result.rejected["public.refusing"] > 1


def test_every_type_has_values_and_none(filled) -> None:
    url, _ = filled
    (found_there,) = rows(url, "SELECT to_jsonb(array_agg(e)) FROM every_type AS e")[0:1]
    columns = {name for row in found_there[0] for name in row}
    never = {name for name in columns if all(row[name] is None for row in found_there[0])}
    assert never == {"x"}, "the embedded server is built without XML; elsewhere it has values, too"
    always = {name for name in columns if all(row[name] is not None for row in found_there[0])}
    assert always == set(), "what may be NULL is NULL in some row"
    assert len(columns) > 45


def test_rows_in_a_circle_belong_to_each_other(filled) -> None:
    url, _ = filled
    assert rows(url, "SELECT count(*) FROM teams WHERE captain IS NOT NULL")[0][0] > 0
    assert rows(url, "SELECT count(*) FROM yin JOIN yang ON yin.other = yang.id")[0][0] == ROWS
    assert rows(url, "SELECT count(*) FROM tree WHERE parent IS NOT NULL")[0][0] > 0
    assert len(rows(url, "SELECT DISTINCT region FROM sales")) > 1, "more than one partition has rows"


def test_the_same_seed_makes_the_same_rows_and_another_one_others(server, make_database) -> None:
    databases = [make_database(server) for _ in range(3)]
    for url, seed in zip(databases, (1, 1, 2), strict=True):
        with connect(url, "tests") as connection:
            execute(connection, SCHEMA)
        Filler(url, ROWS, seed).fill()
    first, same, other = map(data_fingerprint, databases)
    assert compare_data(first, same) == []
    assert compare_data(first, other) != []


def test_a_table_is_filled_again_when_its_columns_have_changed_and_not_before(database) -> None:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int)")
        filler = Filler(database, 4, 1)
        assert filler.fill().rows == {"public.t": 4, "public.u": 4}
        assert filler.fill().rows == {}
        execute(connection, "ALTER TABLE t ADD late text NOT NULL DEFAULT ''")
        assert filler.fill().rows == {"public.t": 4}
        assert fetch_value(connection, "SELECT count(*) FROM t WHERE late <> ''") > 0


def proven(settings, server, **options) -> MigrationTestReport:
    return run_migration_test(settings, server.url(), generated=GeneratedData(**options))


def test_a_loss_is_found_without_any_sample_file(write, server) -> None:
    settings = write(
        CREATE,
        ("ALTER TABLE t ADD late int", "ALTER TABLE t DROP late"),
        ("ALTER TABLE t DROP late", "ALTER TABLE t ADD late int"),
        ("DELETE FROM t WHERE name IS NULL", "SELECT 1"),
    )
    report = proven(settings, server)
    assert states(report) == ["passed", "passed", "failed", "failed"]
    assert found(report, "r3") == {(FindingKind.DATA_CHANGED, "public.t.late")}
    assert found(report, "r4") == {(FindingKind.DATA_LOST, "public.t")}
    assert report.generated_rows["public.t"] == 24, "for each of its forms"
    assert "24 rows generated in 1 tables" in summary(report)


def test_an_upgrade_that_refuses_permitted_rows_is_a_finding_and_hides_nothing(write, server) -> None:
    reason = 'lockkeeper_leaves = {"generated rows": "the application always gives a name"}'
    settings = write(
        CREATE,
        ("ALTER TABLE t ALTER name SET NOT NULL", "ALTER TABLE t ALTER name DROP NOT NULL"),
        ("ALTER TABLE t ADD CHECK (id < 0)", "ALTER TABLE t DROP CONSTRAINT t_id_check", reason),
        ("ALTER TABLE t ADD b int", "ALTER TABLE t DROP b"),
        ("SELECT 1 / 0", "SELECT 1"),
    )
    report = proven(settings, server)
    assert states(report) == ["passed", "failed", "passed", "passed", "failed"]
    assert found(report, "r2") == {(FindingKind.UPGRADE_FAILED, "generated rows")}
    assert "that its schema permits" in report.proofs[1].findings[0].message
    assert report.proofs[2].findings[0].allowed_because == "the application always gives a name"
    assert found(report, "r5") == {(FindingKind.UPGRADE_FAILED, "revision r5")}, "it fails for every row"


def test_tables_that_got_no_rows_are_told_and_rules_are_not_held_against_made_up_ones(
    write,
    server,
    tmp_path: Path,
) -> None:
    settings = write(
        CREATE, ("CREATE TABLE no (a int CHECK (a IS NULL) NOT NULL)", "DROP TABLE no"), CREATE_U
    )
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "named.sql").write_text("SELECT id FROM t WHERE name IS NULL")
    report = proven(settings.model_copy(update={"rules_dir": tmp_path / "rules"}), server, rows=4, seed=7)
    assert (states(report), report.exit_code) == (["passed"] * 3, 0)
    told = [check.message for check in report.checks if check.name == "generated rows"]
    assert [text.split(":")[0] for text in told] == ["public.no could not be filled before revision r3"]


CREATE_U = ("CREATE TABLE u (id int)", "DROP TABLE u")
