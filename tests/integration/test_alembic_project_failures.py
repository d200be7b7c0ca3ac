"""When a revision fails, whatever the reason: what remains is said rightly, and nothing goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession, MigrationEvent, downgrade, upgrade
from lockkeeper.config import Policies
from lockkeeper.errors import MigrationError
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from tests.integration.conftest import MakeProject

QUICK = Policies(lock_timeout_ms=100, lock_retries=3, retry_base_delay_s=0.05, retry_max_delay_s=0.1)
SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' "
    "AND state = 'active' AND pid <> pg_backend_pid()"
)
RUNNING = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper:migrate:%'"


def run(url: URL, statement: str) -> None:
    with connect(url, "tests") as connection:
        execute(connection, statement)


def rows(url: URL, query: str) -> list[Any]:
    with connect(url, "tests") as connection:
        return [row[0] for row in fetch_all(connection, query)]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        threading.Event().wait(0.05)
    return found


@contextmanager
def opened(settings: Any, url: URL, upto: str = "a1", policies: Policies = QUICK) -> Iterator[AlembicSession]:
    """A session on a database that is at revision ``upto`` and has one account."""
    with AlembicSession(settings, url, role="migrate", run_id="r1", policies=policies) as session:
        session.upgrade(session.plan(upto))
        run(url, "INSERT INTO accounts (id, name) VALUES (1, 'before')")
        yield session


def names(url: URL) -> list[str]:
    return rows(url, "SELECT name FROM accounts")


def test_a_failing_revision_leaves_nothing_and_its_error_says_where(
    project: MakeProject, database: URL
) -> None:
    with opened(project("failing"), database) as session:
        events: list[MigrationEvent] = []
        with pytest.raises(MigrationError) as caught:
            session.upgrade(session.plan("head"), on_event=events.append)
        assert session.current() == ("a1",)
    error = caught.value
    assert (error.revision, error.sqlstate, error.left_partial) == ("a2", "42P01", False)
    assert "nothing of it remains" in str(error)
    assert 'op.execute("INSERT INTO nowhere VALUES (1)")' in str(error)
    assert [event.kind for event in events] == ["started", "failed"]
    assert names(database) == ["before"]


def test_a_first_revision_that_fails_leaves_no_version_table(project: MakeProject, database: URL) -> None:
    settings = project("transaction_per_migration")
    run(database, "CREATE TABLE accounts (id int)")
    with (
        AlembicSession(settings, database, role="migrate", run_id="r1") as session,
        pytest.raises(MigrationError) as caught,
    ):
        session.upgrade(session.plan("head"))
    assert caught.value.sqlstate == "42P07"
    assert rows(database, "SELECT relname FROM pg_class WHERE relname LIKE 'alembic%'") == []


def test_a_lock_timeout_is_tried_again_until_the_lock_is_free(project: MakeProject, database: URL) -> None:
    with opened(project("slow"), database) as session, connect(database, "tests", autocommit=False) as holder:
        execute(holder, "LOCK TABLE accounts IN ACCESS SHARE MODE")
        events: list[MigrationEvent] = []

        def let_go_after_two(event: MigrationEvent) -> None:
            events.append(event)
            if [each.kind for each in events].count("lock_timeout") == 2:
                holder.rollback()

        (timing,) = session.upgrade(session.plan("a2"), on_event=let_go_after_two)
    assert (timing.attempts, timing.lock_timeouts) == (3, 2)
    assert [event.kind for event in events] == ["started", "lock_timeout", "lock_timeout", "finished"]


def test_a_lock_that_never_comes_ends_the_migration_after_the_bound(
    project: MakeProject, database: URL
) -> None:
    with opened(project("slow"), database) as session, connect(database, "tests", autocommit=False) as holder:
        execute(holder, "LOCK TABLE accounts IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="in 4 attempts") as caught:
            session.upgrade(session.plan("a2"))
    assert caught.value.sqlstate == "55P03"
    assert not caught.value.left_partial


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "57014"])
def test_what_is_no_lock_timeout_is_not_tried_again(database: URL, write, sqlstate: str) -> None:
    run(database, "CREATE SEQUENCE attempts; CREATE TABLE accounts (id int)")
    # What a sequence has counted no rollback takes back.
    failing = f"DO $$BEGIN PERFORM nextval('attempts'); RAISE 'x' USING ERRCODE = '{sqlstate}'; END$$"
    settings = write(("ALTER TABLE accounts ADD COLUMN half int; " + failing, ""))
    with (
        AlembicSession(settings, database, role="migrate", run_id="r1", policies=QUICK) as session,
        pytest.raises(MigrationError) as caught,
    ):
        session.upgrade(session.plan("head"))
    assert (caught.value.sqlstate, caught.value.left_partial) == (sqlstate, False)
    assert rows(database, "SELECT last_value FROM attempts") == [1]
    assert rows(
        database, "SELECT attname FROM pg_attribute WHERE attrelid = 'accounts'::regclass AND attnum > 0"
    ) == ["id"]


def test_a_lock_timeout_inside_an_autocommit_block_is_tried_again_only_when_nothing_remains(
    project: MakeProject, database: URL
) -> None:
    with opened(project("autocommit_block"), database, "a2") as session:
        run(database, "INSERT INTO accounts (id, name) VALUES (2, 'b')")
        with connect(database, "tests", autocommit=False) as holder:
            execute(holder, "LOCK TABLE accounts IN ACCESS SHARE MODE")
            release = lambda event: event.kind == "lock_timeout" and holder.rollback()  # noqa: E731
            (timing,) = session.upgrade(session.plan("a3"), on_event=release)
        assert timing.lock_timeouts == 1, "one ALTER TABLE by itself leaves nothing when it fails"


def test_a_lock_timeout_of_a_concurrent_index_is_not_tried_again(project: MakeProject, database: URL) -> None:
    with opened(project("autocommit_block"), database) as session:  # noqa: SIM117
        with connect(database, "tests", autocommit=False) as holder:
            # An old snapshot, of a session that has nothing to do with the table: ADD COLUMN passes, the
            # index is built, and CREATE INDEX then waits for the snapshot to go.
            execute(holder, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            fetch_value(holder, "SELECT count(*) FROM pg_class")
            with pytest.raises(MigrationError) as caught:
                session.upgrade(session.plan("a2"))
    assert caught.value.sqlstate == "55P03"
    assert caught.value.left_partial
    assert "in 2 attempts" not in str(caught.value)
    assert rows(
        database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'accounts_email'::regclass"
    ) == [False]


@pytest.mark.parametrize(("kind", "revision"), [("autocommit_block", "a4"), ("commit_as_text", "a2")])
def test_what_was_committed_half_way_is_reported_as_partial(
    kind: str, revision: str, project: MakeProject, database: URL
) -> None:
    upto = f"a{int(revision[1]) - 1}"
    with opened(project(kind), database, upto) as session, pytest.raises(MigrationError) as caught:
        session.upgrade(session.plan(revision))
    assert caught.value.left_partial
    assert caught.value.revision == revision
    assert names(database) == ["changed"]


def in_background(session_calls: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def target() -> None:
        try:
            session_calls()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", ["kill -9 of the process", "connection ended by the server"])
def test_a_migration_that_is_cut_off_leaves_nothing_and_nothing_goes_on(
    how: str, project: MakeProject, database: URL
) -> None:
    settings = project("slow")
    children: list[int] = []

    def migrate() -> None:
        with opened(settings, database, "a2") as session:
            children.append(session._program.pid)
            session.upgrade(session.plan("a3"))

    thread, errors = in_background(migrate)
    (backend, *_) = wait_for(lambda: rows(database, SLEEPING), "the revision to sleep")
    if how.startswith("kill"):
        os.kill(children[0], signal.SIGKILL)
    else:
        run(database, f"SELECT pg_terminate_backend({backend})")
    thread.join(30)
    assert rows(database, RUNNING) == [], "no orphan statement goes on"
    (error,) = errors
    assert isinstance(error, MigrationError)
    assert (error.revision, error.left_partial) == ("a3", False)
    assert names(database) == ["before"]


def test_a_revision_that_takes_too_long_is_stopped_on_both_sides(project: MakeProject, database: URL) -> None:
    policies = QUICK.model_copy(update={"migration_timeout_s": 5.0})
    with (
        opened(project("slow"), database, "a2", policies) as session,
        pytest.raises(MigrationError, match="time limit") as caught,
    ):
        session.upgrade(session.plan("a3"))
    assert not caught.value.left_partial
    assert rows(database, RUNNING) == []
    assert names(database) == ["before"]


class StopAtOnceError(BaseException):
    """As KeyboardInterrupt, or the exception of a cancelled flow."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Return a function that raises StopAtOnceError in the main thread, wherever it is."""

    def on_signal(_number: int, _frame: object) -> None:
        raise StopAtOnceError

    main = threading.main_thread().ident
    assert main is not None
    former = signal.signal(signal.SIGUSR1, on_signal)
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, former)


def test_an_exception_in_the_parent_ends_the_statement_on_the_server(
    project: MakeProject, database: URL, interrupt: Callable[[], None]
) -> None:
    def when_it_sleeps() -> None:
        wait_for(lambda: rows(database, SLEEPING), "the revision to sleep")
        interrupt()

    with opened(project("slow"), database, "a2") as session:
        plan = session.plan("a3")
        thread = threading.Thread(target=when_it_sleeps)
        thread.start()
        with pytest.raises(StopAtOnceError):
            session.upgrade(plan)
    thread.join()
    assert rows(database, RUNNING) == []
    assert names(database) == ["before"]


def test_revisions_without_a_way_back_are_named_before_anything_is_reverted(
    project: MakeProject, database: URL
) -> None:
    settings = project("irreversible")
    with AlembicSession(settings, database, role="migrate", run_id="r1") as session:
        session.upgrade(session.plan("head"))
        assert [each.id for each in session.history() if each.irreversible] == ["a2", "a3"]
        for to, culprit in ((("a1",), "a3"), (("a2",), "a3")):
            with pytest.raises(MigrationError, match=f"Revision {culprit} .* has no downgrade") as caught:
                session.downgrade(to)
            assert caught.value.revision == culprit
            assert not caught.value.left_partial
        assert session.current() == ("a3",)


def test_the_way_back_restores_one_head_of_several(project: MakeProject, database: URL) -> None:
    settings = project("depends_on_and_merge")
    with AlembicSession(settings, database, role="migrate", run_id="r1") as session:
        session.upgrade(session.plan("n1"))
        session.upgrade(session.plan("m2"))
        before = session.current()
        assert before == ("m2", "n1")
        session.upgrade(session.plan("head"))
        timings = session.downgrade(before)
        assert [timing.revision for timing in timings] == ["z2", "z1", "n2"]
        assert session.current() == before


def test_own_writes_are_exactly_the_rows_of_committed_transactions(
    project: MakeProject, database: URL
) -> None:
    settings = project("data_migration")
    with AlembicSession(settings, database, role="migrate", run_id="r1") as session:
        first, second, third = session.upgrade(session.plan("head"))
    version = "public.alembic_version"
    assert first.own_writes == {"public.accounts": (1000, 0, 0), version: (1, 0, 0)}
    assert second.own_writes == {
        "public.accounts": (0, 300, 10), "public.audit": (300, 0, 0), version: (0, 1, 0),
    }  # fmt: skip
    assert third.own_writes == {"public.accounts": (0, 7, 0), "public.audit": (7, 0, 0), version: (0, 1, 0)}
    counted = (
        "SELECT n_tup_ins || '/' || n_tup_upd || '/' || n_tup_del FROM pg_stat_user_tables WHERE relname = "
    )
    assert rows(database, counted + "'accounts'") == ["1000/307/10"], "the server counts the same"


def test_own_writes_are_unknown_after_statements_outside_a_transaction(
    project: MakeProject, database: URL
) -> None:
    with opened(project("autocommit_block"), database) as session:
        (indexed,) = session.upgrade(session.plan("a2"))
        assert indexed.own_writes == {"public.alembic_version": (0, 1, 0)}, "an index writes no row"
        (altered,) = session.upgrade(session.plan("a3"))
        assert altered.own_writes is None


def test_the_functions_of_the_module_do_what_a_session_does(project: MakeProject, database: URL) -> None:
    from lockkeeper.alembic_project import current_revisions, plan_migration

    settings = project("lossy_downgrade")
    plan = plan_migration(settings, database, "head", run_id="r1")
    upgrade(settings, database, plan, policies=QUICK, run_id="r1")
    assert current_revisions(settings, database) == ("a2",)
    downgrade(settings, database, ("a1",), policies=QUICK, run_id="r1")
    assert current_revisions(settings, database) == ("a1",)
