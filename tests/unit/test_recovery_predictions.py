"""What a recovery predicts, from this run's own backup, its proof and its rehearsal."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.engine import Engine, recovery
from lockkeeper.engine.recovery import SWAP_S, WARM_SWAP_S
from lockkeeper.ladder import Rung
from lockkeeper.measured import WayBack
from lockkeeper.models import BackupManifest, BackupState, MigrationPlan, Revision, utc_now

NOW = utc_now()
BACKUP = BackupManifest(
    id="b1", target="shop", database="shop", state=BackupState.VERIFIED, created_at=NOW, updated_at=NOW,
    server_version_num=160000, timings_s={"verify": 20.0, "fingerprint": 5.0},
)  # fmt: skip
PLAN = MigrationPlan(
    before=("r0",),
    after=("r3",),
    steps=tuple(Revision(id=f"r{n}", down=(f"r{n - 1}",)) for n in (1, 2, 3)),
    destination="head",
    reaches_head=True,
)


def way(name: str, worked: bool | None, duration_s: float | None = None, *blocked_by: str) -> WayBack:
    return WayBack(way=name, worked=worked, duration_s=duration_s, blocked_by=blocked_by)


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Engine:
    monkeypatch.setattr(recovery, "load_manifest", lambda _target, _backup_id: BACKUP)
    url = SecretStr("postgresql://u@localhost/shop")
    return Engine(Target(name="shop", database_url=url, storage=LocalStorageSettings(path=tmp_path)), "run1")


def predicted(engine: Engine, revisions: tuple[str, ...] = ("r3",)):
    engine.current_revisions = lambda _plan: revisions
    return engine.recovery_facts(PLAN, BACKUP)


def test_without_a_rehearsal_the_backups_own_times_are_all_that_is_known(engine) -> None:
    assert predicted(engine).estimates_s == {
        Rung.WARM_SWAP: WARM_SWAP_S, Rung.RESTORE: 20 + SWAP_S, Rung.REPLAY: 20 + SWAP_S, Rung.DOWNGRADE: 5.0,
    }  # fmt: skip


def test_a_rehearsed_downgrade_and_a_slow_swap_are_what_the_ladder_goes_by(engine) -> None:
    engine.ways_back = (way("downgrade", True, 7.5), way("swap", True, SWAP_S + 3))
    estimates_s = predicted(engine).estimates_s
    assert estimates_s[Rung.DOWNGRADE] == 7.5 + 5.0, "then every table is read"
    assert estimates_s[Rung.WARM_SWAP] == WARM_SWAP_S + 3
    assert estimates_s[Rung.RESTORE] == 20 + SWAP_S + 3


def test_a_swap_that_is_faster_than_ever_makes_no_recovery_faster(engine) -> None:
    engine.ways_back = (way("swap", True, 0.04),)
    assert predicted(engine).estimates_s[Rung.WARM_SWAP] == WARM_SWAP_S


def test_what_failed_in_the_rehearsal_is_not_predicted(engine) -> None:
    engine.ways_back = (way("downgrade", False), way("swap", False))
    facts = predicted(engine)
    assert facts.estimates_s == {}
    assert facts.downgrade_failed


@pytest.mark.parametrize(
    ("revisions", "failed"), [(("r3",), True), (("r2",), True), (("r1",), False), (("r0",), False)]
)
@pytest.mark.parametrize("worked", [False, None])
def test_a_downgrade_that_failed_at_a_revision_is_doubted_only_once_production_has_it(
    engine, worked, revisions, failed
) -> None:
    engine.ways_back = (way("downgrade", worked, None, "r2"),)
    assert predicted(engine, revisions).downgrade_failed is failed
