"""The demo's own migrations keep every promise that Lockkeeper makes for a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_one, fetch_value
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.postgres.own_objects import without_own, without_own_tables

DEMO = Path(__file__).parents[2] / "migrations"
SETTINGS = AlembicSettings(config_file=DEMO / "alembic.ini")
FAULTY = AlembicSettings(config_file=DEMO / "faulty" / "alembic.ini")
VERSION_TABLE = "public.alembic_version"


def session(settings: AlembicSettings, url: URL) -> AlembicSession:
    return AlembicSession(settings, url, role="migrate", run_id="demo")


def load_sample(url: URL, users: int = 2000, products: int = 1000) -> None:
    with connect(url, "tests") as connection:
        execute(connection, f"SET demo.users = '{users}'; SET demo.products = '{products}'")
        execute(connection, (DEMO / "sample_data.sql").read_text())


def broken_rules(url: URL) -> dict[str, int]:
    with connect(url, "tests") as connection:
        found = {rule.stem: len(fetch_all(connection, rule.read_text())) for rule in DEMO.glob("rules/*.sql")}
    return {rule: count for rule, count in found.items() if count}


def fingerprints(url: URL) -> tuple[Any, Any]:
    with connect(url, "tests") as connection:
        return without_own(schema_fingerprint(connection)), without_own_tables(data_fingerprint(url))


def test_every_revision_goes_up_and_down_and_up_again_and_loses_nothing(database: URL) -> None:
    with session(SETTINGS, database) as demo:
        demo.upgrade(demo.plan("000"))
        load_sample(database)
        for step in demo.plan("head").steps:
            schema, data = fingerprints(database)
            before = demo.current()
            demo.upgrade(demo.plan(step.id))
            demo.downgrade(before)
            schema_again, data_again = fingerprints(database)
            assert compare_schemas(schema, schema_again) == [], step.id
            lost = [line for line in compare_data(data, data_again) if VERSION_TABLE not in line]
            assert lost == [], step.id
            demo.upgrade(demo.plan(step.id))
        assert demo.model_differences() == []
        assert broken_rules(database) == {}
        plan = demo.plan("head", current=["000"])
        needs_a_database = {"002", "002b"}  # a rename looks at what there is to carry over
        assert set(demo.offline_sql(plan)) == {step.id for step in plan.steps} - needs_a_database


def test_writers_of_the_old_and_the_new_column_agree(database: URL) -> None:
    insert = "INSERT INTO products (sku, name, price_cents, {0}) VALUES ('{0}', 'n', 1, 'first') RETURNING id"
    with session(SETTINGS, database) as demo:
        demo.upgrade(demo.plan("002"))
    with connect(database, "tests") as connection:
        for column in ("description", "description_new"):
            key = fetch_value(connection, insert.format(column))
            both = f"SELECT description, description_new FROM products WHERE id = {key}"
            assert fetch_one(connection, both) == ("first", "first")
            for written in ("description", "description_new"):
                execute(connection, f"UPDATE products SET {written} = 'by {written}' WHERE id = {key}")
                assert fetch_one(connection, both) == (f"by {written}", f"by {written}")


def test_the_faulty_revision_commits_its_damage_and_its_downgrade_takes_it_back(database: URL) -> None:
    with session(FAULTY, database) as demo:
        demo.upgrade(demo.plan("001c"))
        load_sample(database)
        demo.upgrade(demo.plan("002b"))
        schema, data = fingerprints(database)
        (timing,) = demo.upgrade(demo.plan("head"))
        assert broken_rules(database).keys() == {"users_status_allowed"}
        assert timing.own_writes is not None
        assert timing.own_writes["public.users"][1] == broken_rules(database)["users_status_allowed"]
        demo.downgrade(("002b",))
        schema_again, data_again = fingerprints(database)
    assert broken_rules(database) == {}
    assert compare_schemas(schema, schema_again) == []
    assert compare_data(data, data_again) == []


def test_the_index_is_built_again_over_an_invalid_leftover(database: URL) -> None:
    with session(SETTINGS, database) as demo:
        demo.upgrade(demo.plan("001b"))
        with connect(database, "tests") as connection:
            execute(connection, "CREATE INDEX idx_users_status ON users (status)")
            execute(
                connection,
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_users_status'::regclass",
            )
        demo.upgrade(demo.plan("001c"))
    with connect(database, "tests") as connection:
        query = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_users_status'::regclass"
        assert fetch_value(connection, query) is True


@pytest.mark.parametrize("users", [10])
def test_sample_data_comes_in_the_size_that_is_asked_for(users: int, database: URL) -> None:
    with session(SETTINGS, database) as demo:
        demo.upgrade(demo.plan("000"))
    load_sample(database, users, 2 * users)
    with connect(database, "tests") as connection:
        assert fetch_value(connection, "SELECT count(*) FROM users") == users
        assert fetch_value(connection, "SELECT count(*) FROM products") == 2 * users
