"""A restore that would take writes with it: never by itself; a human, or the policy, decides.

``docs/faults.md`` lists these tests.
"""

from __future__ import annotations

from psycopg2 import sql

from lockkeeper.engine import Engine
from lockkeeper.models import Outcome, RunReport
from lockkeeper.operations import run_restore
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.record import new_run_id
from lockkeeper.runbook import MigrationRequest
from tests.acceptance.aftermath import assert_as_before, changed_tables, leftovers
from tests.acceptance.meddling import (
    NOT_ZERO,
    ZERO_BALANCES,
    engine_with,
    rungs,
)


def test_an_emptied_table_is_noticed_and_a_human_decides(shop) -> None:
    """PostgreSQL does not count what TRUNCATE removes, so nobody can prove that no write went with it."""
    shop.add_revision("r1", 'op.execute("TRUNCATE orders")')
    report = shop.migrate()
    assert "public.orders had 1000 rows and is empty" in report.error
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert report.next_command == f"lockkeeper restore shop {report.backup_id} --accept-loss"
    assert changed_tables(shop) == {"public.alembic_version", "public.orders"}, "left as it stood"
    assert restore(shop, report.backup_id, accept_loss=True).outcome is Outcome.SUCCEEDED
    assert_as_before(shop)


def test_an_emptied_table_is_restored_under_the_policy_accept_loss(shop) -> None:
    shop.with_policies(recovery="accept-loss")
    shop.add_revision("r1", 'op.execute("TRUNCATE orders")')
    report = shop.migrate()
    assert rungs(report)[-1] == ("restore", True)
    assert_as_before(shop)


def test_writes_of_the_application_are_never_restored_away(shop) -> None:
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)

    def write(shop) -> None:
        with connect(shop.url, "application") as connection:
            execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")

    report = shop.migrate(engine_type=engine_with(shop, write))
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert "public.orders" in report.recovery[-1].reason
    assert report.next_command == f"lockkeeper restore shop {report.backup_id} --accept-loss"
    assert changed_tables(shop) == {"public.alembic_version", "public.orders", "public.users"}, (
        "left as it stood"
    )
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 5000") == "acknowledged"
    assert leftovers(shop) == []


def test_under_the_policy_accept_loss_the_restore_runs_and_keeps_the_failed_database(shop) -> None:
    shop.with_policies(recovery="accept-loss")
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)

    def write(shop) -> None:
        with connect(shop.url, "application") as connection:
            execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")

    report = shop.migrate(engine_type=engine_with(shop, write))
    assert report.outcome is Outcome.RECOVERED
    assert_as_before(shop)
    quarantine = report.restore.quarantine_database
    with connect(shop.target.maintenance_url, "tests") as connection:
        opening = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(quarantine))
        execute(connection, opening)
    with connect(shop.url.set(database=quarantine), "tests") as connection:
        assert fetch_value(connection, "SELECT note FROM orders WHERE id = 5000") == "acknowledged"


def test_under_the_policy_manual_a_human_decides_about_the_restore(shop) -> None:
    shop.with_policies(recovery="manual")
    shop.add_revision("r1", ZERO_BALANCES, "pass")
    shop.add_rule("no_zero", NOT_ZERO)
    report = shop.migrate()
    assert report.outcome is Outcome.NEEDS_HUMAN
    assert rungs(report) == [("downgrade", False)]
    assert report.next_command == f"lockkeeper restore shop {report.backup_id}"
    assert changed_tables(shop) == {"public.alembic_version", "public.users"}, "left as it stood"
    with connect(shop.url, "application") as connection:
        execute(connection, "INSERT INTO orders VALUES (5000, 1, 'acknowledged')")
    refused = restore(shop, report.backup_id)
    assert refused.outcome is Outcome.REFUSED
    assert "public.orders" in refused.error
    assert "public.users" not in refused.error, "what the migration itself has written is not lost with it"
    assert f"lockkeeper restore shop {report.backup_id} --accept-loss" in refused.error
    with connect(shop.url, "tests") as connection:
        execute(connection, "DELETE FROM orders WHERE id = 5000")
    assert restore(shop, report.backup_id).outcome is Outcome.SUCCEEDED
    assert_as_before(shop)


def restore(shop, backup_id: str, accept_loss: bool = False) -> RunReport:
    run_id = new_run_id()
    request = MigrationRequest(run_id=run_id, target=shop.target.name, database=shop.target.database)
    return run_restore(Engine(shop.target, run_id), request, backup_id, accept_loss=accept_loss)
