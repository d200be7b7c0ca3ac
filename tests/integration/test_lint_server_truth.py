"""The corpus' labels are true: each statement is run, and its locks, rewrites and reads are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from lint_corpus import CASES, SCHEMA, Case

from lockkeeper.errors import DatabaseError
from lockkeeper.lint import IndexFacts, LintContext, Severity, SqlStatement, lint_sql, read_context
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all

OBSERVED = [case for case in CASES if case.observed]
WRITERS_WAIT = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
RELATIONS = """
    SELECT c.oid::int, c.relkind::text, pg_relation_filenode(c.oid)::int, coalesce(i.indrelid, 0)::int,
           coalesce(s.seq_scan, 0)::int
    FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_stat_xact_user_tables AS s ON s.relid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace
"""
LOCKS = "SELECT relation::int, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL"


@dataclass(frozen=True)
class Seen:
    """What a statement did to the tables that were there before it."""

    locked: frozenset[int]
    worked_on: frozenset[int]

    @property
    def blocks(self) -> bool:
        return bool(self.locked & self.worked_on)


def observe(connection: Connection, sql: str) -> Seen:
    """Run ``sql`` in the open transaction and look: strong locks; tables read, rewritten or indexed."""
    before = {row[0]: row for row in fetch_all(connection, RELATIONS)}
    execute(connection, sql)
    after = {row[0]: row for row in fetch_all(connection, RELATIONS)}
    locked = {oid for oid, mode in fetch_all(connection, LOCKS) if mode in WRITERS_WAIT and oid in before}
    worked_on = set()
    for oid, kind, file, table, scans in after.values():
        old = before.get(oid)
        if kind == "i" and (old is None or old[2] != file) and table in before:
            worked_on.add(table)
        if kind in "rm" and old is not None and (old[2] != file or scans > old[4]):
            worked_on.add(oid)
    return Seen(frozenset(locked), frozenset(worked_on))


@pytest.fixture(scope="module", params=(16, 18), ids=lambda major: f"pg{major}")
def sample(
    request: pytest.FixtureRequest, servers: Callable[[int], EmbeddedPostgres]
) -> Iterator[tuple[Connection, LintContext, int]]:
    """A connection to a database with the corpus' schema, in a transaction; its context; the version."""
    server = servers(request.param)
    name = f"lint_truth_{request.param}"
    with connect(server.url(), "tests") as admin:
        execute(admin, f"CREATE DATABASE {name}")
        try:
            with connect(server.url(name), "tests", autocommit=False) as connection:
                execute(connection, SCHEMA)
                connection.commit()
                context = read_context(connection).model_copy(update={"row_estimates": {}})
                connection.rollback()
                yield connection, context, connection.server_version
        finally:
            execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("case", OBSERVED, ids=lambda case: case.name.replace(" ", "-"))
def test_the_server_does_what_the_label_says(case: Case, sample: tuple[Connection, LintContext, int]) -> None:
    connection, _, version = sample
    if case.since * 10000 > version:
        pytest.skip(f"PostgreSQL {case.since} and later")
    try:
        if case.kind == "fails":
            with pytest.raises(DatabaseError):
                execute(connection, case.sql)
            return
        if case.victim:
            execute(connection, f"SAVEPOINT before_it; {case.victim}; ROLLBACK TO before_it")
            execute(connection, case.sql)
            with pytest.raises(DatabaseError):
                execute(connection, case.victim)
            return
        seen = observe(connection, case.sql)
        if case.kind in ("safe", "blocks"):
            assert seen.blocks is (case.kind == "blocks"), seen
        elif case.kind == "locks":
            assert seen.locked
    finally:
        connection.rollback()


def test_what_the_database_knows_changes_no_right_judgement(
    sample: tuple[Connection, LintContext, int],
) -> None:
    _, context, version = sample
    wrong = []
    for case in CASES:
        statement = SqlStatement(text=case.sql, in_transaction=case.in_transaction)
        found = lint_sql([statement], server_version=max(version, case.since * 10000), context=context)
        if any(one.severity is Severity.ERROR for one in found) is not case.dangerous:
            wrong.append((case.name, found))
    assert not wrong


def test_the_context_is_read_from_the_catalogue(sample: tuple[Connection, LintContext, int]) -> None:
    connection, context, _ = sample
    full = read_context(connection)
    connection.rollback()

    assert context.columns['public."Odd Table"']["User"].type == "bigint"
    assert context.columns["public.users"]["email"].not_null
    assert context.validated_checks["public.users"] == ("(checked IS NOT NULL)",)
    assert context.constrained_domains == ("public.positive",)
    assert 200 <= full.row_estimates["public.users"] <= 10_000
    assert 200 <= full.row_estimates["public.events"] == full.row_estimates["public.events_2024"]
    assert context.indexes["public.orders_note"] == IndexFacts(table="public.orders", columns=("note",))
    assert context.default_partitions == {"public.events": ""}
