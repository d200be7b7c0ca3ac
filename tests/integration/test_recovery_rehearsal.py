"""The ways back are gone on the copy before production is touched, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings, Target
from lockkeeper.measured import DOWNGRADE, SWAP, WayBack
from lockkeeper.models import BackupManifest, BackupState, DatabaseProperties, utc_now
from lockkeeper.postgres import databases
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.databases import create_scratch, list_leftovers
from lockkeeper.postgres.fence import exchange_names
from lockkeeper.postgres.properties import read_properties
from lockkeeper.proving import (
    FindingKind,
    Rehearsal,
    RevisionProof,
    read_declarations,
    rehearse,
    ways_back,
)
from lockkeeper.proving.models import Finding
from lockkeeper.proving.observation import Observer
from lockkeeper.proving.ways_back import check_ways_back, rehearse_downgrade, rehearse_swap
from lockkeeper.recovery import drop_scratch_databases
from lockkeeper.risk_report import recovery_lines

CREATE = ("CREATE TABLE t (id int PRIMARY KEY, name text)", "DROP TABLE t")
ROWS = "INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 20) AS n"
ADD = ("ALTER TABLE t ADD a int", "ALTER TABLE t DROP a")
FILL = ("UPDATE t SET a = 1", "UPDATE t SET a = NULL")
LOSE = ("ALTER TABLE t DROP name", "ALTER TABLE t ADD name text")
NO_WAY = "lockkeeper_irreversible = 'the values are gone'"
RUN = "run1"


@dataclass
class Stage:
    """A target and the copy that its rehearsals run on."""

    target: Target
    copy: URL

    def manifest(self, **properties: object) -> BackupManifest:
        with connect(self.target.maintenance_url, "tests") as server:
            found = read_properties(server, self.target.database)
        now = utc_now()
        return BackupManifest(
            id="b1", target="shop", database=self.target.database, state=BackupState.VERIFIED,
            created_at=now, updated_at=now, server_version_num=160000,
            properties=found.model_copy(update=properties),
        )  # fmt: skip

    def rehearsed(self, settings: AlembicSettings, **properties: object) -> Rehearsal:
        """Bring the copy to r1 with its rows, and rehearse the rest."""
        target = self.target.model_copy(update={"alembic": settings})
        with AlembicSession(settings, self.copy, role="migrate", run_id="r") as session:
            session.upgrade(session.plan("r1"))
            plan = session.plan("head")
        with connect(self.copy, "tests") as connection:
            execute(connection, ROWS)
        return rehearse(target, plan, self.manifest(**properties), self.copy, RUN)

    def databases(self) -> set[tuple[str, int]]:
        """The target's and the copy's, and all that was made beside them."""
        query = "SELECT datname, oid FROM pg_database WHERE datname LIKE %s"
        with connect(self.target.maintenance_url, "tests") as server:
            return set(fetch_all(server, query, (f"{self.target.database}%",)))


@pytest.fixture
def stage_on(make_database: Callable[..., URL], make_target: Callable[..., Target]) -> Callable[..., Stage]:
    """Return a function: server -> a target there, and a scratch database as a verification leaves it."""

    def make(server) -> Stage:
        target = make_target(make_database(server))
        with connect(target.maintenance_url, "tests") as connection:
            name = create_scratch(connection, target.database, "verify", run_id=RUN, reason="for a test")
        made.append(target)
        return Stage(target, target.maintenance_url.set(database=name))

    made: list[Target] = []
    yield make
    for target in made:
        drop_scratch_databases(target)


@pytest.fixture
def stage(stage_on, server) -> Stage:
    return stage_on(server)


def way(rehearsal: Rehearsal, name: str) -> WayBack:
    assert rehearsal.risk is not None, rehearsal.problems
    (found,) = [one for one in rehearsal.risk.ways_back if one.way == name]
    return found


def test_the_whole_plan_is_reverted_and_another_database_takes_the_copys_place(stage, write) -> None:
    before = stage.databases()
    rehearsal = stage.rehearsed(write(CREATE, ADD, FILL))
    assert rehearsal.passed, rehearsal.problems
    assert all(way(rehearsal, name).worked for name in (DOWNGRADE, SWAP))
    assert way(rehearsal, DOWNGRADE).duration_s > 0
    assert 0 < way(rehearsal, SWAP).duration_s < 30
    (line,) = recovery_lines(rehearsal.risk)
    assert line.startswith("Recovery rehearsed: downgrade ")
    assert ", swap " in line
    assert stage.databases() == before, "the copy has its name again, nothing else is left"
    with connect(stage.copy, "tests") as connection:
        assert fetch_value(connection, "SELECT version_num FROM alembic_version") == "r1"
        assert fetch_value(connection, "SELECT count(*) FROM t WHERE name = 'name ' || id") == 20


@pytest.fixture
def reverted(stage, write) -> Callable[..., WayBack]:
    """Return a function: revisions -> how the downgrade of all but the first goes, once they are applied."""

    def go(*revisions: tuple[str, ...], found: tuple[Finding, ...] = ()) -> WayBack:
        settings = write(CREATE, *revisions)
        with (
            AlembicSession(settings, stage.copy, role="migrate", run_id=RUN) as session,
            connect(stage.copy, "tests") as connection,
        ):
            session.upgrade(session.plan("r1"))
            execute(connection, ROWS)
            observer = Observer.make(stage.copy, connection, session.prepare(), RUN)
            before, plan = (observer.schema(), observer.data()), session.plan("head")
            session.upgrade(plan)
            declared = read_declarations(settings, plan.steps)
            proofs = [RevisionProof(revision=one.id, state="passed", findings=found) for one in plan.steps]
            return rehearse_downgrade(session, observer, plan, proofs, declared, before)

    return go


LOST = Finding(kind=FindingKind.DATA_LOST, subject="public.t.name", message="lost", allowed_because="fine")


@pytest.mark.parametrize(
    ("revisions", "found"), [([LOSE], (LOST,)), ([LOSE, ADD], ())], ids=["alone", "among others"]
)
def test_what_a_downgrade_may_leave_or_lose_is_no_way_back(reverted, revisions, found) -> None:
    """A recovery has to prove that everything is as it was, whatever is declared."""
    lost = reverted(*revisions, found=found)
    assert (lost.worked, lost.blocked_by) == (False, ())
    assert "column public.t.name has other values after the downgrade" in lost.why


def test_a_downgrade_that_production_would_refuse_is_found_although_each_stair_holds(reverted) -> None:
    """The stairway runs a downgrade that does nothing; a recovery refuses to call that a way back."""
    refused = reverted(("UPDATE t SET name = name", None), ADD)
    assert (refused.worked, refused.blocked_by) == (False, ("r2",))
    assert "has no downgrade" in refused.why


def test_a_swap_for_which_a_right_is_missing_names_it_and_leaves_the_copy_its_name(stage) -> None:
    manifest = stage.manifest(owner="nobody_of_that_name")
    result = rehearse_swap(stage.target, stage.copy, manifest, RUN)
    assert result.worked is False
    assert "nobody_of_that_name" in result.why
    with connect(stage.copy, "tests") as connection:
        assert fetch_value(connection, "SELECT 1") == 1


def test_one_way_back_is_enough_and_what_was_not_rehearsed_refuses_nothing() -> None:
    went, failed, unknown = True, False, None
    for downgrade, swap, refused in (
        (went, failed, False), (failed, went, False), (unknown, went, False), (failed, unknown, False),
        (unknown, unknown, False), (failed, failed, True), (unknown, failed, True),
    ):  # fmt: skip
        ways = [WayBack(way=DOWNGRADE, worked=downgrade), WayBack(way=SWAP, worked=swap)]
        assert bool(check_ways_back(ways)) is refused, ways


def test_what_is_irreversible_is_not_reverted_and_the_reason_is_told(reverted) -> None:
    declared = reverted(ADD, (LOSE[0], None, NO_WAY))
    assert (declared.worked, declared.blocked_by) == (None, ("r3",))
    assert declared.why == (
        "revision r3 is declared irreversible (the values are gone); only another database leads back"
    )


def test_where_nothing_leads_back_production_is_not_touched(stage, write) -> None:
    settings = write(CREATE, (LOSE[0], None, NO_WAY))
    rehearsal = stage.rehearsed(settings, owner="nobody_of_that_name")
    assert not rehearsal.passed
    (problem,) = rehearsal.problems
    assert problem.startswith("no way back worked in the rehearsal, so production is not touched: ")
    assert "the values are gone" in problem
    assert "nobody_of_that_name" in problem


def test_the_swap_works_on_every_server_and_sessions_in_the_copy_are_ended(stage_on, every_server) -> None:
    stage = stage_on(every_server)
    before = stage.databases()
    with connect(stage.copy, "tests") as reader:
        assert fetch_value(reader, "SELECT 1") == 1
        result = rehearse_swap(stage.target, stage.copy, stage.manifest(), RUN)
        assert result.worked, result.why
        with connect(stage.target.maintenance_url, "tests") as server:
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            assert fetch_value(server, gone, (reader.info.backend_pid,)) == 0
    assert stage.databases() == before
    with connect(stage.copy, "tests") as again:
        assert fetch_value(again, "SELECT 1") == 1


def test_on_another_server_the_swap_is_not_rehearsed_and_that_is_said(stage) -> None:
    elsewhere = stage.target.model_copy(update={"scratch_url": stage.target.database_url})
    result = rehearse_swap(elsewhere, stage.copy, stage.manifest(), RUN)
    assert result.worked is None
    assert "another server" in result.why


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_what_a_kill_in_the_swap_leaves_is_found_and_dropped(stage, monkeypatch, exchanges) -> None:
    done = []

    def exchange_then_die(*args, **kwargs) -> None:
        if len(done) == exchanges:
            raise Killed
        exchange_names(*args, **kwargs)
        done.append(kwargs)

    def die(*_args) -> None:
        raise Killed

    monkeypatch.setattr(ways_back, "exchange_names", exchange_then_die)
    monkeypatch.setattr(ways_back, "drop_database", die)
    with pytest.raises(Killed):
        rehearse_swap(stage.target, stage.copy, stage.manifest(), RUN)

    left = list_leftovers(stage.target.maintenance_url, stage.target.database)
    assert {one.name for one in left} == {name for name, _ in stage.databases()} - {stage.target.database}
    assert [one.note.run_id for one in left] == [RUN, RUN]
    assert {one.kind for one in left} == {databases.SCRATCH}
    drop_scratch_databases(stage.target)
    assert {name for name, _ in stage.databases()} == {stage.target.database}


def test_the_stand_in_is_prepared_as_a_warm_copy_is(stage, monkeypatch) -> None:
    """A right that is missing for it would be missing in the emergency."""
    seen: list[DatabaseProperties] = []

    def remember(*args, **kwargs) -> None:
        if not seen:
            with connect(stage.target.maintenance_url, "tests") as server:
                seen.append(read_properties(server, kwargs["copy"]))
        exchange_names(*args, **kwargs)

    monkeypatch.setattr(ways_back, "exchange_names", remember)
    manifest = stage.manifest(settings=((None, "work_mem", "7MB"),), connection_limit=17)
    assert rehearse_swap(stage.target, stage.copy, manifest, RUN).worked
    assert seen[0].settings == ((None, "work_mem", "7MB"),)
    assert seen[0].connection_limit == 17
