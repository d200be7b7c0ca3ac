"""What a revision costs others is measured: every lock, however short, with each driver."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings
from lockkeeper.costs import CostMeter
from lockkeeper.measured import RevisionCost
from lockkeeper.postgres.connection import connect, execute, fetch_all
from tests.integration.conftest import PROJECTS

ROWS = 20_000
SCHEMA = f"""
CREATE TABLE big (id int PRIMARY KEY, amount int, note text);
INSERT INTO big SELECT n, n, 'note ' || n FROM generate_series(1, {ROWS}) AS n;
CREATE TABLE small (id int PRIMARY KEY, big_id int);
CREATE TABLE "Odd ""Table" (id int);
CREATE VIEW amounts AS SELECT amount FROM big;
CREATE MATERIALIZED VIEW amounts_kept AS SELECT id FROM big;
CREATE UNIQUE INDEX amounts_kept_id ON amounts_kept (id);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
ALTER TABLE big ADD CONSTRAINT positive CHECK (amount > 0) NOT VALID;
CREATE INDEX big_note ON big (note);
ANALYZE;
"""
AUTOCOMMIT = "with op.get_context().autocommit_block():\n    op.execute({!r})"


def sql(*statements: str) -> str:
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


LOCKS = {
    "a column": ("ALTER TABLE big ADD COLUMN c int", {("public.big", "ACCESS EXCLUSIVE")}),
    "an index": ("CREATE INDEX big_amount ON big (amount)", {("public.big", "SHARE")}),
    "a trigger": (
        "CREATE TRIGGER t BEFORE UPDATE ON small FOR EACH ROW EXECUTE FUNCTION touch()",
        {("public.small", "SHARE ROW EXCLUSIVE")},
    ),
    "a foreign key": (
        "ALTER TABLE small ADD FOREIGN KEY (big_id) REFERENCES big",
        {("public.big", "SHARE ROW EXCLUSIVE"), ("public.small", "SHARE ROW EXCLUSIVE")},
    ),
    "LOCK TABLE": ("LOCK TABLE big IN EXCLUSIVE MODE", {("public.big", "EXCLUSIVE")}),
    "a validation": (
        "ALTER TABLE big VALIDATE CONSTRAINT positive",
        {("public.big", "SHARE UPDATE EXCLUSIVE")},
    ),
    "a view": (
        "CREATE OR REPLACE VIEW amounts AS SELECT amount FROM big",
        {("public.amounts", "ACCESS EXCLUSIVE")},
    ),
    "a quoted name": (
        'ALTER TABLE "Odd ""Table" ADD c int',
        {('public."Odd ""Table"', "ACCESS EXCLUSIVE")},
    ),
    "rows": ("UPDATE small SET big_id = 1", set()),
    "a drop": ('DROP TABLE "Odd ""Table"', {('public."Odd ""Table"', "ACCESS EXCLUSIVE")}),
}
REVISIONS = {
    **{name: sql(statement) for name, (statement, _) in LOCKS.items()},
    "concurrently": AUTOCOMMIT.format("CREATE INDEX CONCURRENTLY big_c ON big (c)"),
    "a refresh": AUTOCOMMIT.format("REFRESH MATERIALIZED VIEW CONCURRENTLY amounts_kept"),
    "a rewrite": sql("ALTER TABLE big ALTER COLUMN note TYPE varchar(50)"),
    "fresh": sql(
        "CREATE TABLE fresh (id int)", "CREATE INDEX fresh_id ON fresh (id)", "ALTER TABLE small ADD c int"
    ),
    "a savepoint": """
        savepoint = op.get_bind().begin_nested()
        op.execute("LOCK TABLE big IN EXCLUSIVE MODE")
        savepoint.rollback()
        op.execute("ALTER TABLE small ADD d int")
        """,
    "many rows": """
        for number in range(500):
            op.execute(f"UPDATE big SET amount = amount + 1 WHERE id = {number}")
        op.execute("LOCK TABLE small IN SHARE MODE")
        """,
    "all rows": sql("UPDATE big SET amount = amount + 1 WHERE note LIKE 'note%'", "SELECT pg_sleep(0.2)"),
    "batches": """
        for low in range(0, 20000, 4000):
            with op.get_context().autocommit_block():
                op.execute("SELECT 1")
            op.execute(f"UPDATE big SET amount = amount + 1 WHERE id > {low} AND id <= {low} + 4000")
        """,
    "isolation": """
        with op.get_context().autocommit_block():
            op.execute("SELECT 1")
        op.execute("SET LOCAL work_mem = '8MB'")
        op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        op.execute("CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS level")
        """,
}


def write_revisions(folder: Path, bodies: list[str]) -> None:
    for path in folder.glob("*.py"):
        path.unlink()
    for number, body in enumerate(bodies, 1):
        down = f"m{number - 1}" if number > 1 else None
        (folder / f"m{number}.py").write_text(
            f'revision = "m{number}"\ndown_revision = {down!r}\nfrom alembic import op\n\n'
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n\n"
            "def downgrade():\n    pass\n"
        )


def measure(alembic: AlembicSettings, url: URL, bodies: list[str]) -> list[RevisionCost]:
    """Fill the database, run an upgrade for each of the bodies, and return what they cost."""
    write_revisions(alembic.config_file.parent / "alembic" / "versions", bodies)
    with connect(url, "tests") as connection:
        execute(connection, SCHEMA)
    costs, heads = [], ()
    with AlembicSession(alembic, url, role="migrate", run_id="r1") as session:
        session.prepare()
        session.meter = CostMeter(url, "r1")
        for step in session.plan("head").steps:
            timing, heads = session.take(step, heads)
            assert timing.cost is not None
            costs.append(timing.cost)
    return costs


@pytest.fixture(scope="module")
def measured(servers, tmp_path_factory) -> tuple[dict[str, RevisionCost], URL]:
    """What each of REVISIONS cost, and the database that they have left."""
    folder = tmp_path_factory.mktemp("costs") / "project"
    shutil.copytree(PROJECTS / "transaction_per_migration", folder)
    server = servers(16)
    with connect(server.url(), "tests") as connection:
        execute(connection, "CREATE DATABASE costs")
    alembic = AlembicSettings(config_file=folder / "alembic.ini")
    costs = measure(alembic, server.url("costs"), list(REVISIONS.values()))
    return dict(zip(REVISIONS, costs, strict=True)), server.url("costs")


def held(cost: RevisionCost) -> set[tuple[str, str]]:
    """Tables and modes, without the version table, which the first revision makes."""
    return {(one.table, one.mode) for one in cost.locks if one.table != "public.alembic_version"}


@pytest.mark.parametrize("name", LOCKS)
def test_each_lock_is_seen_however_short(measured, name) -> None:
    cost = measured[0][name]
    assert held(cost) == LOCKS[name][1]
    assert {lock.seen for lock in cost.locks} <= {"exactly"}


@pytest.mark.parametrize("kind", ["psycopg2", "psycopg3", "async_asyncpg"])
def test_every_driver_is_measured_in_and_out_of_transactions(database, project, kind) -> None:
    in_transaction, short, long = measure(
        project(kind),
        database,
        [
            sql(
                "ALTER TABLE big ADD COLUMN c int",
                "UPDATE big SET c = 1 WHERE id < 10",
                "SELECT pg_sleep(0.3)",
            ),
            AUTOCOMMIT.format("ALTER TABLE big ADD COLUMN d int"),
            AUTOCOMMIT.format("DO $$ BEGIN LOCK TABLE big IN SHARE MODE; PERFORM pg_sleep(0.5); END $$"),
        ],
    )
    (lock,) = in_transaction.locks
    assert (lock.table, lock.mode, lock.seen) == ("public.big", "ACCESS EXCLUSIVE", "exactly")
    assert lock.held_s >= 0.3, "it is held until the commit, not for the length of its statement"
    assert (lock.rows, lock.made_by_plan) == (ROWS, False)
    assert in_transaction.wal_bytes is not None
    assert in_transaction.wal_bytes > 0
    assert held(short) == {("public.big", "ACCESS EXCLUSIVE")}
    (lock,) = long.locks
    assert (lock.table, lock.mode, lock.seen) == ("public.big", "SHARE", "by sampling")
    assert lock.held_s >= 0.5


def test_what_is_built_concurrently_blocks_nobody(measured) -> None:
    cost = measured[0]["concurrently"]
    assert [lock for lock in cost.locks if lock.blocks] == []
    assert cost.indexes_built == ("public.big_c",)


def test_a_refresh_beside_its_readers_blocks_nobody(measured) -> None:
    locks = measured[0]["a refresh"].locks
    assert ("public.amounts_kept", "EXCLUSIVE") in {(one.table, one.mode) for one in locks}
    assert not [one for one in locks if one.blocks and not one.made_by_plan]


def test_a_rewrite_is_seen_with_its_size_and_the_indexes_that_it_has_built_again(measured) -> None:
    cost = measured[0]["a rewrite"]
    assert list(cost.rewritten) == ["public.big"]
    assert cost.rewritten["public.big"] > 500_000
    assert "public.big_note" in cost.indexes_built
    assert cost.scanned["public.big"] >= ROWS
    assert cost.wal_bytes is not None
    assert cost.wal_bytes > 500_000


def test_a_validation_reads_the_table_and_rewrites_nothing(measured) -> None:
    cost = measured[0]["a validation"]
    assert cost.scanned["public.big"] == ROWS
    assert cost.rewritten == {}


def test_a_table_that_the_plan_makes_is_told_from_one_that_an_application_knows(measured) -> None:
    cost = measured[0]["fresh"]
    known = {lock.table: lock.made_by_plan for lock in cost.locks}
    assert known == {"public.fresh": True, "public.small": False}
    assert cost.indexes_built == ()


def test_a_lock_that_a_savepoint_gave_back_is_told_too(measured) -> None:
    tables = {lock.table for lock in measured[0]["a savepoint"].locks}
    assert tables == {"public.big", "public.small"}


def test_a_transaction_may_still_choose_its_isolation(measured) -> None:
    with connect(measured[1], "tests") as connection:
        assert fetch_all(connection, "SELECT level FROM seen") == [("serializable",)]


def test_after_many_rows_a_lock_is_not_missed(measured) -> None:
    assert held(measured[0]["many rows"]) == {("public.small", "SHARE")}


def test_rows_that_stay_locked_are_counted_by_transaction(measured) -> None:
    (whole,) = measured[0]["all rows"].written
    assert (whole.table, whole.rows) == ("public.big", ROWS)
    assert whole.held_s >= 0.2, "until the commit"
    (batch,) = measured[0]["batches"].written
    assert (batch.table, batch.rows) == ("public.big", 4000)
    assert measured[0]["an index"].written == ()


def test_temporary_files_and_growth_are_measured_on_every_server(
    every_server, make_database, project
) -> None:
    spilling = ["SET LOCAL work_mem = '64kB'", "CREATE TABLE sorted AS SELECT * FROM big ORDER BY md5(note)"]
    if every_server.major < 15:  # its statistics are up to half a second old
        spilling.append("SELECT pg_sleep(1)")
    (cost,) = measure(project("transaction_per_migration"), make_database(every_server), [sql(*spilling)])
    rows_bytes = ROWS * len("note 12345")
    assert cost.temp_bytes is not None
    assert cost.temp_bytes > rows_bytes
    assert cost.growth_bytes is not None
    assert cost.growth_bytes > rows_bytes
