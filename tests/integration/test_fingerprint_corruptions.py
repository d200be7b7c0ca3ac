"""Every planted corruption of a rich database is found and named; harmless differences raise no alarm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fingerprint_cases import DATA_CORRUPTIONS, HARMLESS
from psycopg2 import sql
from schema_corruptions import SCHEMA_CORRUPTIONS
from sqlalchemy.engine import URL

from lockkeeper.models import DataFingerprint, SchemaFingerprint
from lockkeeper.postgres.connection import connect, execute, fetch_value, scratch_name
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)

RICH_SCHEMA = Path(__file__).parent / "fingerprint_data" / "rich_schema.sql"
ROLES = (
    "DO $$ BEGIN CREATE ROLE lk_reader; EXCEPTION WHEN duplicate_object THEN END $$;"
    "DO $$ BEGIN CREATE ROLE lk_owner; EXCEPTION WHEN duplicate_object THEN END $$;"
)


class Taken(NamedTuple):
    """A database with both of its fingerprints."""

    url: URL
    schema: SchemaFingerprint
    data: DataFingerprint


def run(url: URL, script: str) -> None:
    """Run a script as psql would: the whole of it, without a transaction around single statements."""
    statements = [script] if "$$" in script or "BEGIN ATOMIC" in script else script.split(";\n")
    with connect(url, "tests") as connection:
        for statement in statements:
            if statement.strip():
                execute(connection, statement)


def take(url: URL) -> Taken:
    with connect(url, "tests") as connection:
        schema = schema_fingerprint(connection)
    return Taken(url, schema, data_fingerprint(url))


def differences(before: Taken, after: Taken) -> list[str]:
    return compare_schemas(before.schema, after.schema) + compare_data(before.data, after.data)


@pytest.fixture(scope="module")
def original(servers) -> Iterator[Taken]:
    server = servers(16)
    name = scratch_name("rich", "t")
    run(server.url(), ROLES)
    with connect(server.url(), "tests") as connection:
        execute(connection, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    run(server.url(name), "CREATE EXTENSION vector")
    run(server.url(name), RICH_SCHEMA.read_text())
    yield take(server.url(name))
    with connect(server.url(), "tests") as connection:
        execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def cloned(original: Taken) -> Iterator[URL]:
    name = scratch_name("rich", "c")
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with connect(original.url.set(database="postgres"), "tests") as connection:
        execute(
            connection, statement.format(sql.Identifier(name), sql.Identifier(original.url.database or ""))
        )
        yield original.url.set(database=name)
        execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def corrupted(original) -> Iterator[list[Taken]]:
    """A copy that gets worse with every test: compare with the last entry, then append."""
    with cloned(original) as url:
        yield [original._replace(url=url)]


@pytest.fixture(scope="module")
def harmless(original) -> Iterator[URL]:
    """A copy that is changed by every test and yet stays equal to the original."""
    with cloned(original) as url:
        yield url


@pytest.mark.parametrize("name", SCHEMA_CORRUPTIONS)
def test_a_planted_corruption_of_the_schema_is_found_and_named(original, name) -> None:
    statement, expected = SCHEMA_CORRUPTIONS[name]
    with connect(original.url, "tests", autocommit=False) as connection:
        execute(connection, statement)
        found = compare_schemas(original.schema, schema_fingerprint(connection))
    assert any(expected in difference for difference in found), found
    assert len(found) <= 5, found


@pytest.mark.parametrize("name", DATA_CORRUPTIONS)
def test_a_planted_corruption_of_the_content_is_found_and_named(corrupted, name) -> None:
    statement, expected = DATA_CORRUPTIONS[name]
    before = corrupted[-1]
    run(before.url, statement)
    corrupted.append(before._replace(data=data_fingerprint(before.url)))
    found = compare_data(before.data, corrupted[-1].data)
    assert any(expected in difference for difference in found), found
    assert len(found) <= 5, found


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_difference_raises_no_alarm(original, harmless, name) -> None:
    run(harmless, HARMLESS[name])
    assert differences(original, take(harmless)) == []


def test_a_missing_table_is_one_difference_and_not_one_for_each_of_its_parts(original) -> None:
    with connect(original.url, "tests", autocommit=False) as connection:
        execute(connection, "DROP TABLE shop.pinned")
        found = compare_schemas(original.schema, schema_fingerprint(connection))
    assert found == ["table shop.pinned is missing"]


def test_a_missing_schema_is_one_difference_and_ignored_schemas_are_none(original) -> None:
    with connect(original.url, "tests", autocommit=False) as connection:
        execute(connection, 'DROP SCHEMA "Mixed Case" CASCADE')
        execute(connection, "DROP TABLE shop.child")
        after = schema_fingerprint(connection)
    assert compare_schemas(original.schema, after) == [
        'schema "Mixed Case" is missing',
        "table shop.child is missing",
    ]
    assert compare_schemas(original.schema, after, ignore_schemas=["shop", "Mixed Case"]) == []


def test_a_moved_column_is_told_only_when_asked_for(original) -> None:
    with connect(original.url, "tests", autocommit=False) as connection:
        execute(connection, "ALTER TABLE shop.scratch DROP COLUMN a")
        execute(connection, "ALTER TABLE shop.scratch ADD COLUMN a int DEFAULT nextval('shop.ticket')")
        after = schema_fingerprint(connection)
    assert compare_schemas(original.schema, after) == []
    assert compare_schemas(original.schema, after, physical_order=True) == [
        "column shop.scratch.a: position changed from 1 to 2 (physical order only)",
        "column shop.scratch.b: position changed from 2 to 1 (physical order only)",
    ]


def test_an_open_transaction_keeps_its_settings(original) -> None:
    with connect(original.url, "tests", autocommit=False) as connection:
        execute(connection, "SET LOCAL search_path = shop, public")
        execute(connection, "DROP INDEX users_status")
        schema_fingerprint(connection)
        assert fetch_value(connection, "SHOW search_path") == "shop, public"


def test_an_autocommit_session_keeps_its_settings(original) -> None:
    with connect(original.url, "tests") as connection:
        schema_fingerprint(connection)
        assert fetch_value(connection, "SHOW search_path") == '"$user", public'
