"""Conditions, each of which one rule must tell of: how it is planted, and how it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import psycopg2
import pytest
from sqlalchemy.engine import URL

from lockkeeper.monitoring.sampler import Sampler
from lockkeeper.postgres.connection import connect, execute, fetch_value
from tests.integration.planting import (
    BURN,
    DEADLINE_S,
    FILL,
    application,
    busy,
    holding,
    nothing,
    prepared_transaction,
    run,
    set_system,
    wait_for,
)


@contextlib.contextmanager
def chain_of_three(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    first, second = "UPDATE t SET v = 'b' WHERE id = 2", "UPDATE t SET v = 'b' WHERE id = 1"
    with holding(url, "UPDATE t SET v = 'a' WHERE id = 1"), busy(url, f"{first}; {second}"):
        wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 1")
        with busy(url, "UPDATE t SET v = 'c' WHERE id = 2"):
            wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 2")
            yield nothing


@contextlib.contextmanager
def idle_in_transaction(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with holding(url, "UPDATE t SET v = 'a' WHERE id = 1"):
        yield nothing


@contextlib.contextmanager
def long_query(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with busy(url, "SELECT pg_sleep(60)"):
        yield nothing


@contextlib.contextmanager
def old_snapshot(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t"
    with holding(url, snapshot):
        run(url, BURN)
        yield nothing


@contextlib.contextmanager
def many_connections(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.ExitStack() as stack:
        for _ in range(25):
            stack.enter_context(contextlib.closing(application(url)))
        yield nothing
    wait_for(url, "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop-worker') = 0")


@contextlib.contextmanager
def deadlock(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as one, contextlib.closing(application(url)) as other:
        one.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1")
        other.cursor().execute("SET LOCAL deadlock_timeout = '10s'; UPDATE t SET v = 'a' WHERE id = 2")
        crossing = threading.Thread(
            target=lambda: other.cursor().execute("UPDATE t SET v = 'a' WHERE id = 1")
        )
        crossing.start()
        wait_for(url, "(SELECT count(*) FROM pg_locks WHERE NOT granted) = 1")
        with pytest.raises(psycopg2.errors.DeadlockDetected):
            one.cursor().execute("SET LOCAL deadlock_timeout = '10ms'; UPDATE t SET v = 'a' WHERE id = 2")
        one.rollback()
        crossing.join(DEADLINE_S)
    wait_for(url, "(SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) > 0")
    yield nothing


@contextlib.contextmanager
def hidden_sessions(url: URL, sampler: Sampler) -> Iterator[Callable[[], None]]:
    role = f"nobody_{url.database}"
    run(url, f"CREATE ROLE {role}")
    with busy(url, "SELECT pg_sleep(60)"):
        execute(sampler.connection, f"SET ROLE {role}")
        yield nothing
        execute(sampler.connection, "RESET ROLE")
    run(url, f"DROP ROLE {role}")


def once(plant: tuple[str, ...], *undo: str):
    """Return a condition that statements make, and others end."""

    @contextlib.contextmanager
    def planted(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
        run(url, *plant)
        yield nothing
        run(url, *undo)

    return planted


def each_look(statement: str):
    """Return a condition that lasts as long as a statement is run between looks."""

    @contextlib.contextmanager
    def planted(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
        yield lambda: run(url, statement)

    return planted


@contextlib.contextmanager
def failing_index(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    with contextlib.closing(application(url)) as session:
        session.autocommit = True
        with pytest.raises(psycopg2.errors.UniqueViolation):
            session.cursor().execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (v)")
    yield nothing
    run(url, "DROP INDEX broken")


@contextlib.contextmanager
def failing_archive(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    set_system(url, "archive_command", "false")

    def fill_a_segment() -> None:
        counted = "(SELECT failed_count FROM pg_stat_archiver)"
        with connect(url, "tests") as connection:
            before = fetch_value(connection, f"SELECT {counted}")
        run(url, "CREATE TABLE IF NOT EXISTS a AS SELECT 1 AS id", "SELECT pg_switch_wal()")
        wait_for(url, f"{counted} > {before}")

    yield fill_a_segment
    set_system(url, "archive_command", "true")
    run(url, "INSERT INTO a VALUES (1)", "SELECT pg_switch_wal()")
    archived = "(SELECT last_archived_time > COALESCE(last_failed_time, '-infinity') FROM pg_stat_archiver)"
    wait_for(url, archived)


@contextlib.contextmanager
def many_locks(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    run(url, "DO $$ BEGIN FOR n IN 1..700 LOOP EXECUTE format('CREATE TABLE l%s ()', n); END LOOP; END $$")
    lock = "DO $$ BEGIN FOR n IN 1..700 LOOP EXECUTE format('LOCK TABLE l%s', n); END LOOP; END $$"
    with holding(url, lock):
        yield nothing


@contextlib.contextmanager
def lost_slot(url: URL, _sampler: Sampler) -> Iterator[Callable[[], None]]:
    run(url, *SLOT)
    set_system(url, "max_slot_wal_keep_size", "1MB")
    for _ in range(3):
        run(url, "INSERT INTO w VALUES (1)", "SELECT pg_switch_wal()")
    run(url, "CHECKPOINT")
    yield nothing
    run(url, NO_SLOT)
    set_system(url, "max_slot_wal_keep_size", None)


@contextlib.contextmanager
def hidden_sequences(url: URL, sampler: Sampler) -> Iterator[Callable[[], None]]:
    role = f"nobody_{url.database}"
    run(url, "CREATE SEQUENCE s", f"CREATE ROLE {role}", f"GRANT pg_monitor TO {role}")
    execute(sampler.connection, f"SET ROLE {role}")
    yield nothing
    execute(sampler.connection, "RESET ROLE")
    run(url, f"DROP ROLE {role}")


class Planted(NamedTuple):
    rule: str
    limit: float
    plant: Callable[..., contextlib.AbstractContextManager[Callable[[], None]]]


SLOT = ("SELECT pg_create_physical_replication_slot('planted', true)", "CREATE TABLE w AS SELECT 1 AS id")
NO_SLOT = "SELECT pg_drop_replication_slot('planted')"
UNTENDED = "ALTER TABLE t SET (autovacuum_enabled = false)"
ROLLED_BACK = "BEGIN; SELECT 1; ROLLBACK;" * 1500
SORT = (
    "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY -n) x"
)
BIGGER = f"TRUNCATE big; {FILL}; {FILL}; {FILL}"
READ = "SET enable_indexscan = off; " + "SELECT count(*) FROM big;" * 12
PLANTED = [
    Planted("blocked-sessions", 2, chain_of_three),
    Planted("ungranted-lock", 0.01, chain_of_three),
    Planted("idle-in-transaction", 0.2, idle_in_transaction),
    Planted("long-transaction", 0.2, idle_in_transaction),
    Planted("long-query", 0.2, long_query),
    Planted("old-snapshot", 500, old_snapshot),
    Planted("connections", 15, many_connections),
    Planted("hidden-sessions", 1, hidden_sessions),
    Planted("deadlocks", 1, deadlock),
    Planted("invalid-index", 1, failing_index),
    Planted("dead-rows", 3, once((UNTENDED, "DELETE FROM t"), "VACUUM t")),
    Planted("analyze-debt", 3, once((UNTENDED, "UPDATE t SET v = 'z'"), "ANALYZE t")),
    Planted("autovacuum-off", 1, once((UNTENDED,), "ALTER TABLE t RESET (autovacuum_enabled)")),
    Planted(
        "sequence-use", 80,
        once(("CREATE SEQUENCE s AS int", "SELECT setval('s', 2000000000)"), "SELECT setval('s', 1)"),
    ),
    Planted("slot-inactive", 1, once(SLOT, NO_SLOT)),
    Planted("slot-retention", 1, once(SLOT, NO_SLOT)),
    Planted("database-growth", 50e6, each_look(FILL)),
    Planted("table-growth", 50e6, each_look(FILL)),
    Planted("wal-rate", 20_000, each_look(FILL)),
    Planted("temporary-files", 1e5, each_look(SORT)),
    Planted("rollbacks", 20, each_look(ROLLED_BACK)),
    Planted("requested-checkpoints", 2, each_look("CHECKPOINT; CHECKPOINT; CHECKPOINT")),
    Planted("archive-failures", 1, failing_archive),
    Planted("prepared-transaction", 0.2, prepared_transaction),
    Planted("lock-table", 5, many_locks),
    Planted("slot-lost", 1, lost_slot),
    Planted("cache-misses", 50, each_look(f"{BIGGER}; {READ}")),
    Planted("database-size", 14e6, once((BIGGER,), "TRUNCATE big")),
    Planted("unseen", 1, hidden_sequences),
]  # fmt: skip
