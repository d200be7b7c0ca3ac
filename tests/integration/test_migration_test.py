"""Every revision up, down and up again: planted defects are named, healthy projects are left in peace."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.cli import main as program
from lockkeeper.config import AlembicSettings, Target
from lockkeeper.errors import ConfigurationError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import BackupManifest, BackupState, utc_now
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.fingerprint import compare_schemas, schema_fingerprint
from lockkeeper.proving import (
    Baseline,
    FindingKind,
    MigrationTestReport,
    ProofState,
    SampleData,
    rehearse,
    run_migration_test,
)
from lockkeeper.proving.reports import proof_lines, summary

pytestmark = pytest.mark.usefixtures("only_the_stairway")
CREATE = ("CREATE TABLE t (id int PRIMARY KEY, name text)", "DROP TABLE t")
ROWS = "INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 20) AS n"


@pytest.fixture
def rows(tmp_path: Path) -> SampleData:
    (tmp_path / "rows.sql").write_text(ROWS)
    return SampleData(tmp_path / "rows.sql")


def states(report: MigrationTestReport) -> list[str]:
    return [proof.state.value for proof in report.proofs]


def found(report: MigrationTestReport, revision: str) -> set[tuple[FindingKind, str]]:
    (proof,) = [one for one in report.proofs if one.revision == revision]
    return {(one.kind, one.subject) for one in proof.findings}


def test_residue_and_loss_after_a_downgrade_are_named(write, rows, server) -> None:
    settings = write(
        CREATE,
        ("CREATE TYPE mood AS ENUM ('ok'); ALTER TABLE t ADD m mood", "ALTER TABLE t DROP m"),
        ("ALTER TABLE t DROP name", "ALTER TABLE t ADD name text"),
        ("ALTER TABLE t ADD late int; CREATE INDEX i ON t (late)", "DROP INDEX i; ALTER TABLE t DROP late"),
        ("DELETE FROM t WHERE id > 15", "SELECT 1"),
    )
    report = run_migration_test(settings, server.url(), sample_data=rows)
    assert rows.after == "r1"
    assert states(report) == ["passed", "failed", "failed", "passed", "failed"]
    assert (FindingKind.RESIDUE, "type public.mood") in found(report, "r2")
    assert (FindingKind.NOT_REPEATABLE, "revision r2") in found(report, "r2")
    assert found(report, "r3") == {(FindingKind.DATA_CHANGED, "public.t.name")}
    assert found(report, "r5") == {(FindingKind.DATA_LOST, "public.t")}
    (lost,) = report.proofs[4].findings
    assert lost.message == (
        "public.t had 20 rows and has 15 after the downgrade: "
        "5 are missing (id=16; id=17; id=18; id=19; id=20)"
    )
    (changed,) = report.proofs[2].findings
    assert changed.message == (
        "column public.t.name has other values after the downgrade: "
        "20 of 20 rows differ (id=1; id=2; id=3; id=4; id=5; ...)"
    )
    assert (changed.rows, changed.keys) == (20, ("id=1", "id=2", "id=3", "id=4", "id=5"))
    assert report.exit_code == 1


def test_a_downgrade_that_fails_is_found_and_the_revisions_above_are_tested(write, server) -> None:
    settings = write(
        CREATE, ("ALTER TABLE t ADD a int", "DROP TABLE nowhere"), ("ALTER TABLE t ADD b int", None)
    )
    report = run_migration_test(settings, server.url())
    assert states(report) == ["passed", "failed", "failed"]
    assert found(report, "r2") == {(FindingKind.DOWNGRADE_FAILED, "revision r2")}
    assert "lockkeeper_irreversible" in report.proofs[2].findings[0].message
    assert (report.tested, round(report.coverage, 2)) == (1, 0.33)


def test_a_file_without_any_downgrade_is_a_finding_and_hides_nothing(write, server) -> None:
    settings = write(CREATE, ("ALTER TABLE t ADD a int", "SELECT 1"), ("SELECT 1", "SELECT 1"))
    file = settings.config_file.parent / "scripts" / "versions" / "r2.py"
    file.write_text(file.read_text().replace("def downgrade", "def another_name"))
    report = run_migration_test(settings, server.url())
    assert states(report) == ["passed", "failed", "passed"]
    assert found(report, "r2") == {(FindingKind.DOWNGRADE_FAILED, "revision r2")}
    assert "no downgrade()" in report.proofs[1].findings[0].message


def test_nothing_above_a_failing_upgrade_counts_as_passed(write, server) -> None:
    report = run_migration_test(write(CREATE, ("SELECT 1 / 0", "SELECT 1"), CREATE), server.url())
    assert states(report) == ["passed", "failed", "could not check"]
    assert found(report, "r2") == {(FindingKind.UPGRADE_FAILED, "revision r2")}


def test_declared_with_a_reason_no_way_back_is_accepted(write, server) -> None:
    ini = "[lockkeeper]\nirreversible =\n    r2: the names are gone\n"
    attribute = 'lockkeeper_irreversible = "too big to go back"'
    settings = write(CREATE, ("ALTER TABLE t DROP name", None), ("SELECT 1", None, attribute), ini=ini)
    report = run_migration_test(settings, server.url())
    assert states(report) == ["passed", "irreversible", "irreversible"]
    assert [proof.reason for proof in report.proofs[1:]] == ["the names are gone", "too big to go back"]
    assert (report.exit_code, report.declared, report.coverage) == (0, 2, 1.0)


def test_what_an_irreversible_revision_does_to_other_rows_is_shown(write, rows, server) -> None:
    """Nothing is reverted there, so nothing is compared with what was before: it is told instead."""
    attribute = 'lockkeeper_irreversible = "the names are gone"'
    settings = write(
        CREATE,
        ("CREATE TABLE other AS SELECT id FROM t", "DROP TABLE other"),
        ("ALTER TABLE t DROP name; DELETE FROM other WHERE id > 17", None, attribute),
    )
    report = run_migration_test(settings, server.url(), sample_data=rows)
    assert (states(report)[2], report.exit_code) == ("irreversible", 0)
    assert set(report.proofs[2].data_changes) == {
        "column public.t.name is gone with the values of 20 rows (id=1; id=2; id=3; id=4; id=5; ...)",
        "public.other had 20 rows and has 17 after the upgrade",
    }
    assert "changes data: public.other had 20 rows and has 17 after the upgrade" in proof_lines(
        report.proofs[2]
    )


def test_a_project_that_leads_to_no_revision_could_not_be_checked(write, tmp_path: Path, server) -> None:
    settings = write(CREATE, ini="version_locations = %(here)s/mistyped\n")
    report = run_migration_test(settings, server.url())
    assert (report.proofs, report.exit_code, report.coverage) == ((), 2, 0.0)
    assert "leads to no revisions" in report.checks[0].message


def test_a_baseline_that_is_at_the_heads_leaves_nothing_to_prove(write, tmp_path: Path, server) -> None:
    file = tmp_path / "schema.sql"
    file.write_text(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
        "INSERT INTO alembic_version VALUES ('r1')"
    )
    report = run_migration_test(write(CREATE), server.url(), baseline=Baseline(file))
    assert (report.proofs, report.exit_code, report.coverage) == ((), 0, 1.0)


def test_a_declaration_for_a_revision_that_does_not_exist_is_refused(write, server) -> None:
    settings = write(CREATE, ini="[lockkeeper]\nirreversible = r9: no\n")
    with pytest.raises(ConfigurationError, match="r9"):
        run_migration_test(settings, server.url())


def test_what_a_downgrade_may_leave_is_allowed_by_name_only(write, rows, server) -> None:
    attribute = 'lockkeeper_leaves = {"public.t.name": "the old spelling is not needed"}'
    up = "UPDATE t SET name = upper(name)"
    settings = write(CREATE, (up, "SELECT 1", attribute), (f"{up}; UPDATE t SET name = 'x'", "SELECT 1"))
    report = run_migration_test(settings, server.url(), sample_data=rows)
    assert states(report) == ["passed", "passed", "failed"]
    assert report.proofs[1].findings[0].allowed_because == "the old spelling is not needed"


def test_sample_data_that_fits_nowhere_could_not_be_checked(write, tmp_path: Path, server) -> None:
    (tmp_path / "other.sql").write_text("INSERT INTO nowhere VALUES (1)")
    report = run_migration_test(write(CREATE), server.url(), sample_data=SampleData(tmp_path / "other.sql"))
    assert (states(report), report.exit_code) == (["passed"], 2)


def test_a_test_can_end_before_the_heads(write, server) -> None:
    settings = write(
        CREATE, ("ALTER TABLE t ADD a int", "ALTER TABLE t DROP a"), ("SELECT 1 / 0", "SELECT 1")
    )
    report = run_migration_test(settings, server.url(), to="r2")
    assert (states(report), report.exit_code) == (["passed", "passed"], 0)
    assert "up to r2" in summary(report)


def test_a_baseline_that_fails_or_is_for_psql_is_refused(write, tmp_path: Path, server) -> None:
    settings = write(CREATE)
    file = tmp_path / "schema.sql"
    for text, why in (("CREATE TABLE t (id nonsense)", "nonsense"), ("\\connect shop\n", "psql")):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=why):
            run_migration_test(settings, server.url(), baseline=Baseline(file))
    file.write_text("\\restrict a1\nCREATE TABLE other (id int);\n\\unrestrict a1\n")
    assert run_migration_test(settings, server.url(), baseline=Baseline(file)).exit_code == 0


def test_the_command_writes_a_document_and_junit(
    write, tmp_path: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    settings = write(CREATE, ("ALTER TABLE t ADD a int", "SELECT 1"))
    monkeypatch.setenv("TEST_SERVER", server.url().render_as_string(hide_password=False))
    junit = tmp_path / "junit.xml"
    arguments = ["test", "--alembic", str(settings.config_file), "--server-url-env", "TEST_SERVER"]
    assert program.run([*arguments, "--junit", str(junit), "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert (document["outcome"], document["tested"], document["exit_code"]) == ("findings", 1, 1)
    assert 'failures="1"' in junit.read_text()
    monkeypatch.setenv("TEST_SERVER", "postgresql://nobody@127.0.0.1:1/none")
    assert program.run([*arguments, "--json"]) == 2


def test_a_revision_of_the_stairway_costs_less_than_half_a_second_of_processor_time(write, server) -> None:
    """Ours and the project's processes together, Alembic's own work and the one go included, the server not.

    benchmarks/stairway_benchmark.py tells what it costs beyond Alembic's own work, the server included.
    """
    settings = write(*[(f"CREATE TABLE t{n} (id int PRIMARY KEY)", f"DROP TABLE t{n}") for n in range(12)])
    spent_s = processor_time_s()
    report = run_migration_test(settings, server.url())
    assert report.exit_code == 0
    assert (processor_time_s() - spent_s) / 12 < 0.5


def processor_time_s() -> float:
    """What this process and all that it has started and waited for have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class TestRehearsal:
    def rehearsed(self, settings: AlembicSettings, database: URL, make_target, make_database, server) -> Any:
        target: Target = make_target(database, alembic=settings)
        copy = make_database(server)
        with AlembicSession(settings, copy, role="migrate", run_id="r") as session:
            session.upgrade(session.plan("r1"))
            plan = session.plan("head")
        with connect(copy, "tests") as connection:
            execute(connection, ROWS)
        now = utc_now()
        backup = BackupManifest(
            id="b1", target="shop", database="shop", state=BackupState.VERIFIED,
            created_at=now, updated_at=now, server_version_num=160000,
        )  # fmt: skip
        return rehearse(target, plan, backup, copy, "run1"), copy

    def test_it_predicts_the_schema_and_what_each_revision_writes(
        self, write, database, make_target, make_database, server
    ) -> None:
        settings = write(
            CREATE,
            ("ALTER TABLE t ADD a int", "ALTER TABLE t DROP a"),
            ("UPDATE t SET a = 1", "UPDATE t SET a = NULL"),
        )
        rehearsal, _ = self.rehearsed(settings, database, make_target, make_database, server)
        assert rehearsal.problems == []
        assert rehearsal.passed
        assert [one.revision for one in rehearsal.predictions] == ["r2", "r3"]
        assert rehearsal.predictions[0].changes == ("adds column public.t.a",)
        assert rehearsal.predictions[1].own_writes["public.t"][1] == 20
        with AlembicSession(settings, database, role="migrate", run_id="p") as session:
            session.upgrade(session.plan("head"))
        with connect(database, "tests") as connection:
            assert compare_schemas(rehearsal.schema_after, schema_fingerprint(connection)) == []

    def test_a_loss_on_real_data_keeps_production_untouched(
        self, write, database, make_target, make_database, server
    ) -> None:
        settings = write(CREATE, ("ALTER TABLE t DROP name", "ALTER TABLE t ADD name text"))
        rehearsal, _ = self.rehearsed(settings, database, make_target, make_database, server)
        assert not rehearsal.passed
        assert any("public.t.name" in problem for problem in rehearsal.problems)
        assert rehearsal.proofs[0].state is ProofState.FAILED

    def test_it_refuses_the_target_itself(self, write, database, make_target, make_database, server) -> None:
        settings = write(CREATE)
        target = make_target(database, alembic=settings)
        rehearsal, _ = self.rehearsed(settings, database, make_target, make_database, server)
        assert rehearsal.passed
        with AlembicSession(settings, database) as session:
            plan = session.plan("head")
        with pytest.raises(ConfigurationError, match="copy"):
            rehearse(target, plan, BackupManifest.model_construct(id="b"), database, "run1")
