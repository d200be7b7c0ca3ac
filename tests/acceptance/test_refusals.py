"""What stands in a migration's way is found and named before anything is touched.

``docs/faults.md`` lists these tests.
"""

from __future__ import annotations

import pytest
from psycopg2 import sql

from lockkeeper.config import LocalStorageSettings
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_value
from tests.acceptance.aftermath import assert_as_before

ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'


def test_a_long_transaction_in_the_way_is_refused(shop) -> None:
    shop.with_policies(max_transaction_age_s=0.01)
    shop.add_revision("r1", ADD_STATUS)
    with connect(shop.url, "forgotten", autocommit=False) as idle:
        execute(idle, "SELECT pg_sleep(0.05)")
        report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    assert "lockkeeper:forgotten" in report.error
    assert_as_before(shop)


def test_a_prepared_transaction_in_the_way_is_refused(server_folder, make_shop) -> None:
    with temporary_postgres(server_folder / "prepared", settings={"max_prepared_transactions": "5"}) as own:
        shop = make_shop(own)
        shop.add_revision("r1", ADD_STATUS)
        with connect(shop.url, "setup") as connection:
            execute(connection, "BEGIN; CREATE TABLE p (id int); PREPARE TRANSACTION 'forgotten'")
            report = shop.migrate()
            execute(connection, "ROLLBACK PREPARED 'forgotten'")
        assert report.outcome is Outcome.REFUSED
        assert "prepared" in report.error
        assert_as_before(shop)


@pytest.mark.parametrize(
    ("revision", "complaint"),
    [("nonsense", "nonsense"), ("base0", "already"), ("+5", "")],
)
def test_a_revision_that_cannot_be_reached_is_refused(shop, revision, complaint) -> None:
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate(revision)
    if revision == "base0":
        assert report.outcome is Outcome.NOTHING_TO_DO
    else:
        assert report.outcome is Outcome.REFUSED
        assert complaint in report.error
    assert_as_before(shop)


def test_a_project_that_connects_elsewhere_is_stopped_before_its_first_statement(
    shop, make_database, server
) -> None:
    elsewhere = make_database(server)
    text = elsewhere.render_as_string(hide_password=False)
    environment = shop.folder / "scripts" / "env.py"
    environment.write_text(environment.read_text().replace('os.environ["DATABASE_URL"]', repr(text)))
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    with connect(elsewhere, "tests") as connection:
        query = sql.SQL("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert fetch_value(connection, query) == 0
    assert_as_before(shop)


def test_a_storage_that_cannot_be_written_is_refused(shop, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    shop.target = shop.target.model_copy(update={"storage": LocalStorageSettings(path=tmp_path / "file")})
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.REFUSED
    assert "storage" in report.error
    assert_as_before(shop)


def test_an_invalid_index_from_before_is_mentioned_and_blamed_on_nobody(shop) -> None:
    with connect(shop.url, "setup") as connection:
        execute(connection, "CREATE INDEX left_behind ON orders (user_id)")
        execute(
            connection, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_behind'::regclass"
        )
    shop.add_revision("r1", ADD_STATUS)
    report = shop.migrate()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert "public.left_behind is invalid" in str([check.message for check in report.checks])


def test_a_database_that_is_only_named_like_ours_is_never_dropped(server, make_shop, make_database) -> None:
    shop = make_shop(server)
    strangers = make_database(server, f"{shop.target.database}_lk_verify_0a1b2c3d")
    shop.add_revision("r1", ADD_STATUS)
    assert shop.migrate().outcome is Outcome.SUCCEEDED
    with connect(strangers, "tests") as connection:
        assert fetch_value(connection, "SELECT current_database()") == strangers.database
