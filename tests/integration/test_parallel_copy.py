"""A script of rows is loaded by several sessions, all of it or an error; no session stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from lockkeeper.backup.parallel_copy import run_parts
from lockkeeper.backup.script import Rows, Setting, Statement
from lockkeeper.errors import BackupError, DatabaseError
from lockkeeper.postgres.connection import connect, execute, fetch_one, fetch_value

COPY = b"COPY public.numbers (n, note) FROM stdin;\n"
LATIN1 = Setting(b"SET client_encoding = 'LATIN1';\n")


def rows(first: int, count: int, number: int = 1) -> Rows:
    text = "".join(f"{n}\tn\u00f6te {n}\n" for n in range(first, first + count))
    return Rows(number, COPY, text.encode("latin-1"))


@pytest.fixture
def empty(database: URL) -> URL:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE numbers (n int, note text); CREATE SEQUENCE counted")
    return database


def sessions_left(url: URL) -> int:
    """Count them once the server has had the time to notice that their clients have gone."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:restore%'"
    pause = threading.Event()
    with connect(url, "tests") as connection:
        for _ in range(200):
            if not (left := int(fetch_value(connection, query))):
                break
            pause.wait(0.05)
    return left


def test_one_table_is_loaded_by_several_sessions_in_the_dumps_encoding(empty: URL):
    pieces = [rows(first, 20_000) for first in range(0, 400_000, 20_000)]
    run_parts([LATIN1, *pieces, Statement(b"SELECT setval('counted', 7);\n")], empty, 4, run_id="r1")
    with connect(empty, "tests") as connection:
        query = "SELECT count(*), count(DISTINCT n), count(DISTINCT xmin::text) > 1, max(note) FROM numbers"
        assert fetch_one(connection, query) == (400_000, 400_000, True, "n\u00f6te 99999")
        assert fetch_value(connection, "SELECT last_value FROM counted") == 7
    assert sessions_left(empty) == 0


def test_a_refused_row_ends_all_sessions_with_the_servers_error(empty: URL):
    pieces = [rows(first, 1000) for first in range(0, 100_000, 1000)]
    bad = Rows(1, COPY, b"seven\tx\n")
    with pytest.raises(DatabaseError, match="invalid input syntax for type integer") as refused:
        run_parts([LATIN1, *pieces[:50], bad, *pieces[50:]], empty, 3, run_id="r1")
    assert refused.value.sqlstate == "22P02"
    assert sessions_left(empty) == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "restore-rows"]


def test_a_statement_that_fails_ends_all_sessions(empty: URL):
    with pytest.raises(DatabaseError, match="does not exist"):
        run_parts([LATIN1, rows(0, 1000), Statement(b"SELECT setval('none', 1);")], empty, 2, run_id="r1")
    assert sessions_left(empty) == 0


def test_a_script_that_breaks_off_ends_all_sessions_and_keeps_its_own_error(empty: URL):
    def broken() -> Iterator[Rows | Setting]:
        yield LATIN1
        yield rows(0, 1000)
        raise BackupError("broke off")

    with pytest.raises(BackupError, match="broke off"):
        run_parts(broken(), empty, 2, run_id="r1")
    assert sessions_left(empty) == 0
