"""What a rehearsal finds never reaches production."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.approval_question import approval_markdown
from lockkeeper.config import AlembicSettings
from lockkeeper.engine import Engine
from lockkeeper.models import Outcome, RunReport
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.reports import markdown_report

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
DROP_NOTE, ADD_NOTE = (
    'op.drop_column("orders", "note")',
    'op.add_column("orders", sa.Column("note", sa.Text))',
)


@pytest.fixture
def rehearsed(shop):
    shop.with_policies(rehearsal="full")
    shop.add_rule("no_zero", "SELECT id FROM users WHERE balance = 0")
    return shop


PROJECTS = Path(__file__).parents[1] / "projects"
PLANTED = {
    "failing": ("a1", 'relation "nowhere" does not exist'),
    "lossy_downgrade": (
        "a1",
        "column public.accounts.name has other values after the downgrade: "
        "3 of 3 rows differ (id=1; id=2; id=3)",
    ),
    "residue": ("a1", "the downgrade leaves index public.items_name (on public.items) behind"),
    "irreversible": (
        "a1",
        "Reverting revision a2 (drop accounts.name) failed: it says that it cannot be reverted",
    ),
    "large_objects": ("a3", "of 6 large objects 6 have another content (7001; 7002; 7003; 7004; 7005; ...)"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_bad_migration_of_a_project_is_found_before_production_is_touched(shop, tmp_path, name) -> None:
    at, complaint = PLANTED[name]
    folder = tmp_path / name
    shutil.copytree(PROJECTS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = AlembicSettings(config_file=folder / "alembic.ini")
    with connect(shop.url, "setup") as connection:
        execute(connection, "DROP TABLE alembic_version")
    with AlembicSession(settings, shop.url, role="migrate", run_id="setup") as session:
        session.upgrade(session.plan(at))
    if (rows := folder / "sample_data.sql").is_file():
        with connect(shop.url, "setup") as connection:
            execute(connection, rows.read_text())
    shop.target = shop.target.model_copy(update={"alembic": settings})
    shop.with_policies(rehearsal="full")
    shop.remember()

    report = shop.migrate()

    refused_by_the_rehearsal(shop, report, complaint)


def refused_by_the_rehearsal(shop, report: RunReport, complaint: str) -> None:
    """Production is what it was, and nothing is left on its server."""
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["rehearse"]
    assert complaint in report.error
    assert shop.differences() == []
    with connect(shop.target.maintenance_url, "tests") as connection:
        pattern = f"{shop.target.database}_lk_%"
        assert fetch_all(connection, "SELECT 1 FROM pg_database WHERE datname LIKE %s", (pattern,)) == []


def test_values_that_break_a_rule_are_found_before_production_is_touched(rehearsed) -> None:
    rehearsed.add_revision("r1", "op.execute('UPDATE users SET balance = 0')", "pass")
    refused_by_the_rehearsal(rehearsed, rehearsed.migrate(), "no_zero")


FILL_AND_REQUIRE = """
    op.execute("ALTER TABLE orders ADD COLUMN state text")
    op.execute("UPDATE orders SET state = 'new'")
    op.execute("SELECT pg_sleep(0.6)")
    op.execute("ALTER TABLE orders ALTER COLUMN state SET NOT NULL")
"""
DROP_STATE = 'op.execute("ALTER TABLE orders DROP COLUMN state")'


def test_a_migration_that_blocks_for_too_long_is_found_before_production_is_touched(rehearsed) -> None:
    rehearsed.with_policies(approval="over-budget", max_block_ms=500)
    rehearsed.add_revision("r1", FILL_AND_REQUIRE, DROP_STATE)

    report = rehearsed.migrate()

    assert (report.outcome, report.outcome.exit_code) == (Outcome.NEEDS_APPROVAL, 2)
    assert "ACCESS EXCLUSIVE on public.orders for " in report.error
    assert "(1,000 rows): reads and writes wait, over the budget of 500 ms" in report.error
    assert report.next_command == f'lockkeeper migrate shop --approve {report.run_id} --reason "..."'
    assert [step.name for step in report.steps if step.state.value == "failed"] == []
    assert "migrate" not in {step.name for step in report.steps}
    assert rehearsed.differences() == []


def test_what_was_approved_is_rehearsed_again_and_done(rehearsed) -> None:
    rehearsed.with_policies(approval="over-budget", max_block_ms=500)
    rehearsed.add_revision("r1", FILL_AND_REQUIRE, DROP_STATE)
    asked = rehearsed.migrate()

    report = rehearsed.migrate(approving=asked.run_id)

    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert str(report.approval) == "approved by ada: quiet"
    assert report.backup_id != asked.backup_id, "others may have written since the first backup"
    (timing,) = report.revisions
    (hold,) = [lock for lock in timing.cost.locks if lock.blocks]
    assert (hold.table, hold.mode) == ("public.orders", "ACCESS EXCLUSIVE")
    assert hold.held_s >= 0.6
    assert any("over the budget of 500 ms" in warning for warning in report.warnings)


def test_an_approval_does_not_cover_what_was_changed_since(rehearsed) -> None:
    rehearsed.with_policies(approval="over-budget", max_block_ms=500)
    rehearsed.add_revision("r1", FILL_AND_REQUIRE, DROP_STATE)
    asked = rehearsed.migrate()
    path = rehearsed.folder / "scripts" / "versions" / "r1.py"
    path.write_text(path.read_text().replace("'new'", "'old'"))

    report = rehearsed.migrate(approving=asked.run_id)

    assert report.outcome is Outcome.NEEDS_APPROVAL
    assert "the revisions' files were changed" in report.error
    assert rehearsed.differences() == []


def test_without_an_approval_policy_a_blocking_migration_runs_and_is_reported(rehearsed) -> None:
    rehearsed.with_policies(max_block_ms=0)
    rehearsed.add_revision("r1", ADD_STATUS, DROP_STATUS)
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert [one.subject for one in report.risk.counting] == ["public.users"]


def test_a_danger_that_only_the_text_shows_is_refuted_by_the_measurement(rehearsed) -> None:
    with connect(rehearsed.url, "setup") as connection:
        execute(connection, "INSERT INTO orders SELECT n, 1, 'x' FROM generate_series(2000, 14000) AS n")
    rehearsed.remember()
    rehearsed.with_policies(approval="over-budget", max_block_ms=30_000)
    rehearsed.add_revision(
        "r1",
        "count = op.get_bind().execute(sa.text('SELECT count(*) FROM orders')).scalar()\n"
        "op.execute(f'CREATE INDEX orders_of_{count} ON orders (user_id)')",
        "op.execute('DROP INDEX orders_of_13001')",
    )
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    (finding,) = [one for one in report.risk.findings if one.kind.value == "lint"]
    assert finding.subject == "index-without-concurrently"
    assert "orders_of_13001" in finding.advice, "its offline mode does not work: what it sent was linted"
    assert "on a copy of the data" in finding.refuted_because


def test_a_rehearsal_without_data_says_so(rehearsed) -> None:
    rehearsed.with_policies(rehearsal="schema-only")
    rehearsed.add_revision(
        "r1", f"# lockkeeper: allow drop-column because nobody reads it\n{DROP_NOTE}", ADD_NOTE
    )
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, "what it loses is not looked for"
    assert [check for check in report.checks if check.name == "lint"] == [], "its risk has them, judged"
    assert "data was not compared" in markdown_report(report)
    assert "allowed by its own comment, nobody reads it: drop-column: " in markdown_report(report)
    assert report.risk.counting == ()


def test_a_sampled_rehearsal_finds_a_loss_scales_what_it_measured_and_says_so(rehearsed) -> None:
    rehearsed.with_policies(rehearsal="sampled", sample_rows=50, approval="over-budget", max_block_ms=30_000)
    rehearsed.add_revision(
        "r1", "op.execute('CREATE INDEX orders_of ON orders (user_id)')", "op.execute('DROP INDEX orders_of')"
    )
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert "on a sample of a restored copy's rows" in markdown_report(report)
    (hold,) = [
        one for one in report.risk.estimates[0].cost.locks if one.table == "public.orders" and one.blocks
    ]
    assert hold.rows == 1000, "production's number of rows, not the sample's"
    rehearsed.remember()
    rehearsed.add_revision("r2", DROP_NOTE, ADD_NOTE)
    report = rehearsed.migrate()
    assert report.outcome is not Outcome.SUCCEEDED
    assert "public.orders.note" in report.error
    assert rehearsed.differences() == []


def test_production_is_held_against_what_the_rehearsal_led_to(rehearsed) -> None:
    """A revision that does something else in production than it did on the copy."""
    name = rehearsed.target.database
    only_there = f"op.get_bind().execute(sa.text('SELECT current_database()')).scalar() == '{name}'"
    rehearsed.add_revision(
        "r1",
        f"{ADD_STATUS}\nif {only_there}:\n    op.execute('CREATE INDEX surprise ON users (status)')",
        "op.execute('DROP INDEX IF EXISTS surprise')\n" + DROP_STATUS,
    )
    report = rehearsed.migrate()
    assert report.outcome is Outcome.RECOVERED
    assert "index public.surprise" in report.error
    assert rehearsed.differences() == []
    assert report.revisions[0].rehearsed_s is not None, "beside what happened, above all where it failed"
    (downgraded,) = report.recovery
    ways = {one.way: one for one in report.risk.ways_back}
    assert ways["swap"].worked, "production's own database was not among those renamed: see differences()"
    assert downgraded.predicted_s > ways["downgrade"].duration_s, "its proof comes on top"
    (step,) = [one for one in report.steps if one.name == "rehearse"]
    assert "Recovery rehearsed: downgrade " in step.detail


def only_in_production(shop, statement: str) -> str:
    name = shop.target.database
    condition = f"op.get_bind().execute(sa.text('SELECT current_database()')).scalar() == '{name}'"
    return f'{ADD_STATUS}\nif {condition}:\n    op.execute("{statement}")'


def test_rows_that_a_revision_wrote_in_production_alone_end_in_the_state_before(rehearsed) -> None:
    """No rule, no row count of a table that is emptied, no schema: only what was not foreseen tells it."""
    damage = only_in_production(rehearsed, "UPDATE orders SET note = 'gone' WHERE id = 7")
    rehearsed.add_revision("r1", damage, DROP_STATUS)
    report = rehearsed.migrate()
    assert report.outcome is Outcome.RECOVERED, report.error
    told = "revision r1 wrote to public.orders in production (0 rows inserted, 1 updated, 0 deleted)"
    assert told in report.error
    assert rehearsed.differences() == []


def test_where_an_application_has_written_too_unforeseen_rows_are_a_warning(rehearsed) -> None:
    class WithAnApplication(Engine):
        """An engine beside which somebody changes a row of the table, right before the migration."""

        def migrate(self, plan, backup):
            with connect(self.target.url, "application") as connection:
                execute(connection, "UPDATE orders SET note = 'mine' WHERE id = 8")
            return super().migrate(plan, backup)

    damage = only_in_production(rehearsed, "UPDATE orders SET note = 'done' WHERE note = 'mine'")
    rehearsed.add_revision("r1", damage, DROP_STATUS)
    report = rehearsed.migrate(engine_type=WithAnApplication)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    (told,) = [check.message for check in report.checks if check.name == "writes"]
    assert told.endswith("others have written there since the backup")


def test_where_a_later_revision_fails_the_earlier_ones_are_held_against_the_prediction(rehearsed) -> None:
    name = rehearsed.target.database
    only_there = f"op.get_bind().execute(sa.text('SELECT current_database()')).scalar() == '{name}'"
    rehearsed.with_policies(max_block_ms=0)
    rehearsed.add_revision("r1", ADD_STATUS, DROP_STATUS)
    rehearsed.add_revision("r2", f"if {only_there}:\n    op.execute('SELECT 1/0')")
    report = rehearsed.migrate()
    assert report.outcome is Outcome.RECOVERED, report.error
    (applied,) = report.revisions
    assert (applied.revision, applied.rehearsed_s is None) == ("r1", False)
    assert any("r1: ACCESS EXCLUSIVE on public.users" in warning for warning in report.warnings)
    told = markdown_report(report)
    assert re.search(r"`r2` \|  \| not applied \([\d.]+ s rehearsed\)", told), "of the one that failed, too"
    assert rehearsed.differences() == []


def test_the_report_shows_the_prediction_beside_what_happened(rehearsed) -> None:
    with connect(rehearsed.url, "setup") as connection:
        execute(connection, "ALTER DATABASE " + rehearsed.target.database + " SET work_mem = '8MB'")
    with (rehearsed.folder / "alembic.ini").open("a") as ini:
        ini.write("\n[lockkeeper]\nirreversible = r1: the balances are gone\n")
    rehearsed.add_revision("r1", f"{ADD_STATUS}\nop.execute('UPDATE users SET balance = 1')", DROP_STATUS)
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert report.revisions[0].rehearsed_s is not None
    shown = markdown_report(report).replace("\\", "")
    assert "r1: changes: adds column public.users.status" in shown
    assert "r1: writes rows of public.users: 500 updated." in shown
    assert "r1: no way back, so none was rehearsed; declared: the balances are gone" in shown
    assert "1 applied and not reverted (declared irreversible)" in shown
    assert "not as in the rehearsal" not in str(report.checks)
    assert "it is the one that the rehearsal has led to" in str(report.checks)


def test_without_a_rehearsal_the_lints_finding_is_put_before_whoever_approves(rehearsed) -> None:
    rehearsed.with_policies(rehearsal="off", approval="over-budget")
    rehearsed.add_revision("r1", DROP_NOTE, ADD_NOTE)
    asked = rehearsed.migrate()
    assert asked.outcome is Outcome.NEEDS_APPROVAL
    assert [one.subject for one in asked.risk.counting] == ["the plan", "drop-column"]
    assert "drop-column" in approval_markdown(asked, 60)
    assert rehearsed.differences() == []
    done = rehearsed.migrate(approving=asked.run_id)
    assert done.outcome is Outcome.SUCCEEDED, done.error
