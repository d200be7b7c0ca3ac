"""Databases that tests back up and restore, looks into them, and what has to go afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

from psycopg2 import sql

from lockkeeper.config import Target
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.postgres.databases import list_leftovers

SHOP = """
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE notes (id int PRIMARY KEY, note text);
INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 200) AS n;
"""
SMALL = """
CREATE TABLE t (id int PRIMARY KEY, note text);
INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('abc123');
"""
DEADLINE_S = 30.0


def fill(target: Target, content: str = SHOP) -> Target:
    with connect(target.url, "tests") as connection:
        execute(connection, content)
    return target


def drop_leftovers(target: Target) -> None:
    for left in list_leftovers(target.maintenance_url, target.database):
        with connect(target.maintenance_url, "tests") as connection:
            statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(left.name))
            execute(connection, statement)


def run(target: Target, statement: str) -> None:
    with connect(target.url, "tests") as connection:
        execute(connection, statement)


def names(target: Target) -> int:
    with connect(target.url, "tests") as connection:
        return int(fetch_value(connection, "SELECT count(*) FROM users"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
