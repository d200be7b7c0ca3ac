"""What only one upgrade of everything in one go shows is found, named, and hides nothing above it."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import Policies
from lockkeeper.errors import MigrationError
from lockkeeper.proving import FindingKind, MigrationTestReport, ProofState, SampleData, run_migration_test
from tests.integration.conftest import MakeProject

PARENTS = ("CREATE TABLE p (id int PRIMARY KEY)", "DROP TABLE p")
CHILDREN = (
    "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    "DROP TABLE c",
)
ROW = ("INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)", "DELETE FROM c; DELETE FROM p")
ALTER = ("ALTER TABLE c ADD note text", "ALTER TABLE c DROP note")
ALTER_AGAIN = ("ALTER TABLE c ADD late text", "ALTER TABLE c DROP late")
"""They fail while the check of the row's key is pending, until the end of the transaction."""


def found(report: MigrationTestReport) -> list[tuple[str, str]]:
    return [(proof.revision, one.kind.value) for proof in report.proofs for one in proof.findings]


def test_what_one_transaction_around_all_revisions_forbids_is_found_twice_if_it_is_there_twice(
    write, server
) -> None:
    back = ("DELETE FROM c WHERE id = 2", "SELECT 1")
    again = ("INSERT INTO c VALUES (2, 1)", "DELETE FROM c WHERE id = 2")
    report = run_migration_test(write(PARENTS, CHILDREN, ROW, ALTER, again, ALTER_AGAIN, back), server.url())
    kind = FindingKind.NOT_IN_ONE_GO
    assert [one for one in found(report) if one[1] == kind.value] == [("r4", kind.value), ("r6", kind.value)]
    (failure,) = report.proofs[3].findings
    assert failure.subject == "revision r4"
    assert "pending trigger events" in failure.message
    assert "ALTER TABLE c ADD note text" in failure.message
    assert report.proofs[3].state is ProofState.FAILED


def test_a_project_of_which_everything_fails_in_one_go_costs_a_few_ways_up_only(
    write, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockkeeper.proving.one_go.MOST_FAILURES", 1)
    report = run_migration_test(write(PARENTS, CHILDREN, ROW, ALTER, ALTER_AGAIN), server.url())
    assert found(report) == [("r4", FindingKind.NOT_IN_ONE_GO.value)]
    assert "What is above was not tried" in report.proofs[3].findings[0].message


def test_a_project_that_never_goes_up_in_one_go_says_so_with_a_reason(write, server) -> None:
    attribute = 'lockkeeper_leaves = {"revision r4": "the first release was installed before it"}'
    report = run_migration_test(write(PARENTS, CHILDREN, ROW, (*ALTER, attribute)), server.url())
    assert report.proofs[3].findings[0].allowed_because == "the first release was installed before it"
    assert (report.proofs[3].state, report.exit_code) == (ProofState.PASSED, 0)


def test_a_schema_that_depends_on_rows_is_no_difference_of_the_one_go(write, tmp_path, server) -> None:
    (tmp_path / "rows.sql").write_text("INSERT INTO p VALUES (1)")
    index = "CREATE INDEX ip ON p (id)"
    up = f"DO $$ BEGIN IF EXISTS (SELECT FROM p) THEN EXECUTE '{index}'; END IF; END $$"
    settings = write(PARENTS, (up, "DROP INDEX IF EXISTS ip"))
    report = run_migration_test(settings, server.url(), sample_data=SampleData(tmp_path / "rows.sql"))
    assert (found(report), report.exit_code) == ([], 0)


def test_names_drawn_by_lot_are_no_difference_of_the_one_go(write, server) -> None:
    name = "'i_' || substr(md5(random()::text), 1, 8)"
    up = f"DO $$ BEGIN EXECUTE 'CREATE INDEX ' || {name} || ' ON p (id)'; END $$"
    ini = "[lockkeeper]\nirreversible =\n    r2: the name of the index is drawn\n"
    report = run_migration_test(write(PARENTS, (up, None), ini=ini), server.url())
    assert (found(report), report.exit_code) == ([], 0)


def test_what_a_downgrade_leaves_is_not_said_a_second_time(write, server) -> None:
    mood = (
        "DROP TABLE IF EXISTS extra; CREATE TYPE mood AS ENUM ('ok')",
        "DROP TYPE mood; CREATE TABLE extra ()",
    )
    late = ("CREATE TABLE late ()", "DROP TABLE late; CREATE TABLE IF NOT EXISTS left_over ()")
    report = run_migration_test(write(PARENTS, mood, late), server.url())
    assert {kind for _, kind in found(report)} == {
        FindingKind.RESIDUE.value,
        FindingKind.DIFFERENT_AGAIN.value,
    }


def test_the_sessions_of_a_wait_are_named_with_the_revisions_that_opened_them(
    project: MakeProject, database: URL
) -> None:
    settings = project("in_one_go")
    policies = Policies(lock_timeout_ms=400)
    with (
        AlembicSession(settings, database, role="migrate", run_id="r1", policies=policies) as session,
        pytest.raises(MigrationError, match="It waits for itself") as caught,
    ):
        session.upgrade_in_one_go("heads", (), limit_s=60)
    assert (caught.value.revision, caught.value.sqlstate) == ("a4", "55P03")
    for part in ("ALTER TABLE accounts ADD COLUMN email TEXT", "SELECT count(*) FROM accounts"):
        assert part in str(caught.value)
    assert "opened by the upgrade of a2" in str(caught.value)


def test_an_upgrade_that_takes_too_long_in_one_go_is_stopped_and_says_where(write, database: URL) -> None:
    settings = write(PARENTS, ("SELECT pg_sleep(60)", "SELECT 1"))
    with (
        AlembicSession(settings, database, role="migrate", run_id="r1") as session,
        pytest.raises(MigrationError, match="time limit") as caught,
    ):
        session.upgrade_in_one_go("heads", (), limit_s=5)
    assert caught.value.revision == "r2"
