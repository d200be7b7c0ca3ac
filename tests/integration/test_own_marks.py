"""What a migration writes can be told from what the application writes, whatever driver it uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession, OwnMarks
from lockkeeper.errors import MigrationError
from lockkeeper.postgres.connection import connect, execute, fetch_all
from tests.integration.conftest import MakeProject

PEEK = (
    "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, 'proto_version', '1', "
    "'publication_names', 'everything', 'messages', 'true')"
)
INSERT, ORIGIN, BEGIN, MESSAGE = b"I", b"O", b"B", b"M"
KINDS = {
    "psycopg2": "head",
    "psycopg3": "head",
    "async_asyncpg": "head",
    "autocommit_block": "a3",
    "sync_template": "head",
    "env_runs_once": "head",
}


def origin_marks(name: str, alternatives: int = 3) -> OwnMarks:
    """Marks of sessions: a replication origin each, made when it is missing."""
    return OwnMarks(
        tuple(
            (
                f"SELECT pg_catalog.pg_replication_origin_create('{name}_{number}') WHERE NOT EXISTS "
                f"(SELECT 1 FROM pg_catalog.pg_replication_origin WHERE roname = '{name}_{number}')",
                f"SELECT pg_catalog.pg_replication_origin_session_setup('{name}_{number}')",
            )
            for number in range(alternatives)
        )
    )


MESSAGE_MARKS = OwnMarks(transaction="SELECT pg_catalog.pg_logical_emit_message(true, 'lockkeeper', 'own')")


@pytest.fixture
def slot(database: URL) -> Iterator[str]:
    name = str(database.database)
    with connect(database, "tests") as connection:
        execute(connection, "CREATE PUBLICATION everything FOR ALL TABLES")
        execute(connection, "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    yield name
    with connect(database, "tests") as connection:
        execute(connection, "SELECT pg_drop_replication_slot(%s)", (name,))
        execute(
            connection,
            "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname LIKE %s",
            (name + "%",),
        )


def written_transactions(database: URL, slot: str) -> list[list[bytes]]:
    """The messages of every transaction that changed a row, without those that only describe tables."""
    with connect(database, "tests") as connection:
        # Only what is flushed is decoded, and the test servers do not flush by themselves.
        execute(connection, "SET synchronous_commit = on")
        execute(connection, "SELECT pg_logical_emit_message(true, 'tests', 'flush')")
        messages = [bytes(data) for (data,) in fetch_all(connection, PEEK, (slot,))]
    transactions: list[list[bytes]] = []
    for message in messages:
        if message[:1] == BEGIN:
            transactions.append([])
        transactions[-1].append(message)
    return [one for one in transactions if any(message[:1] in (INSERT, b"U", b"D") for message in one)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_transaction_of_a_migration_carries_its_origin(
    kind: str, project: MakeProject, database: URL, slot: str
) -> None:
    marks = origin_marks(slot)
    with AlembicSession(project(kind), database, role="migrate", run_id="r1", marks=marks) as session:
        session.upgrade(session.plan(KINDS[kind]))
        session.downgrade(())
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE of_the_application (id int)")
        execute(connection, "INSERT INTO of_the_application VALUES (1)")
    *own, last = written_transactions(database, slot)
    assert own
    for messages in own:
        assert messages[1][:1] == ORIGIN
        assert slot.encode() in messages[1]
    assert ORIGIN not in {message[:1] for message in last}, "the application's write is not ours"


@pytest.mark.parametrize("kind", ["psycopg2", "psycopg3", "async_asyncpg"])
def test_without_origins_every_transaction_begins_with_a_message(
    kind: str, project: MakeProject, database: URL, slot: str
) -> None:
    with AlembicSession(project(kind), database, role="migrate", run_id="r1", marks=MESSAGE_MARKS) as session:
        session.upgrade(session.plan("heads"))
    own = written_transactions(database, slot)
    assert own
    for messages in own:
        changes = [message for message in messages if message[:1] in (MESSAGE, INSERT, b"U", b"D")]
        assert changes[0][:1] == MESSAGE
        assert b"lockkeeper" in changes[0]


def test_a_second_session_takes_the_next_origin(project: MakeProject, database: URL, slot: str) -> None:
    marks = origin_marks(slot)
    with connect(database, "tests") as other:
        for statement in marks.sessions[0]:
            execute(other, statement)
        with AlembicSession(
            project("psycopg2"), database, role="migrate", run_id="r1", marks=marks
        ) as session:
            session.upgrade(session.plan("heads"))
    assert all(f"{slot}_1".encode() in messages[1] for messages in written_transactions(database, slot))


def test_a_session_that_cannot_be_marked_changes_nothing(
    project: MakeProject, database: URL, slot: str
) -> None:
    marks = OwnMarks((("SELECT pg_catalog.pg_replication_origin_session_setup('there is none')",),))
    with (
        AlembicSession(project("psycopg2"), database, role="migrate", run_id="r1", marks=marks) as session,
        pytest.raises(MigrationError, match="there is none"),
    ):
        session.upgrade(session.plan("heads"))
    with connect(database, "tests") as connection:
        assert fetch_all(connection, "SELECT 1 FROM pg_tables WHERE tablename = 'accounts'") == []
