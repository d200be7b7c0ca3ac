"""What a rehearsal finds never reaches production."""

from __future__ import annotations

import pytest

from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_all

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'
DROP_NOTE, ADD_NOTE = (
    'op.drop_column("orders", "note")',
    'op.add_column("orders", sa.Column("note", sa.Text))',
)

BAD = {
    "an error in upgrade": ("op.execute('SELECT 1/0')", "pass", "division by zero"),
    "a downgrade that loses data": (DROP_NOTE, ADD_NOTE, "note"),
    "a downgrade that leaves residue": (ADD_STATUS, "op.execute('SELECT 1')", "status"),
    "a downgrade that fails": (ADD_STATUS, "op.execute('SELECT 1/0')", "division by zero"),
    "values that break a rule": ("op.execute('UPDATE users SET balance = 0')", "pass", "no_zero"),
}


@pytest.fixture
def rehearsed(shop):
    shop.with_policies(rehearsal="full")
    shop.add_rule("no_zero", "SELECT id FROM users WHERE balance = 0")
    return shop


@pytest.mark.parametrize(("upgrade", "downgrade", "complaint"), BAD.values(), ids=BAD)
def test_a_bad_migration_is_found_before_production_is_touched(
    rehearsed, upgrade, downgrade, complaint
) -> None:
    rehearsed.add_revision("r1", upgrade, downgrade)
    report = rehearsed.migrate()
    assert report.outcome is Outcome.UNCHANGED
    assert [step.name for step in report.steps if step.state.value == "failed"] == ["rehearse"]
    assert complaint in report.error
    assert rehearsed.differences() == []
    with connect(rehearsed.target.maintenance_url, "tests") as connection:
        pattern = f"{rehearsed.target.database}_lk_%"
        assert fetch_all(connection, "SELECT 1 FROM pg_database WHERE datname LIKE %s", (pattern,)) == []


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


def test_the_report_shows_the_prediction_beside_what_happened(rehearsed) -> None:
    with connect(rehearsed.url, "setup") as connection:
        execute(connection, "ALTER DATABASE " + rehearsed.target.database + " SET work_mem = '8MB'")
    rehearsed.add_revision("r1", ADD_STATUS, DROP_STATUS)
    report = rehearsed.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert report.revisions[0].rehearsed_s is not None
    assert "not as in the rehearsal" not in str(report.checks)
    assert "it is the one that the rehearsal has led to" in str(report.checks)
