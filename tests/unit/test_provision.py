"""How a run provides for writes after its backup: every policy, where a capture is possible and where not."""

from __future__ import annotations

import pytest

from lockkeeper.config import Policies
from lockkeeper.models import Check, CheckState
from lockkeeper.recovery.provision import Provision, provide

FINE = Check(name="capture: own writes", state=CheckState.OK, message="by origin")
WARNED = Check(name="capture: tables", state=CheckState.WARNING, message="one is unlogged")
IMPOSSIBLE = Check(name="capture", state=CheckState.FAILED, message="wal_level is replica")


@pytest.mark.parametrize("without", ["accept", "refuse"])
def test_where_changes_can_be_captured_they_are_and_every_check_is_told(without) -> None:
    provided = provide(Policies(without_capture=without), True, [FINE, WARNED])
    assert provided == (Provision.CAPTURE, (FINE, WARNED))


def test_where_they_cannot_a_migration_goes_on_with_a_warning() -> None:
    provision, checks = provide(Policies(), False, [FINE, IMPOSSIBLE])
    assert provision is Provision.ACCEPT
    assert [check.state for check in checks] == [CheckState.OK, CheckState.WARNING]
    assert checks[1].message.startswith("wal_level is replica; what is written between the backup")


def test_where_they_cannot_the_policy_refuse_lets_nothing_start() -> None:
    provision, checks = provide(Policies(without_capture="refuse"), False, [IMPOSSIBLE])
    assert provision is Provision.REFUSE
    assert [check.refuses for check in checks] == [True]


def test_a_check_that_could_not_run_is_no_permission() -> None:
    unknown = IMPOSSIBLE.model_copy(update={"state": CheckState.UNKNOWN})
    assert provide(Policies(without_capture="refuse"), False, [unknown]).checks[0].refuses
    assert provide(Policies(), False, [unknown]).checks[0].state is CheckState.WARNING


@pytest.mark.parametrize(
    ("without", "provision", "state"),
    [("accept", Provision.ACCEPT, CheckState.OK), ("refuse", Provision.REFUSE, CheckState.FAILED)],
)
def test_a_capture_that_is_switched_off_is_not_warned_of_but_never_forgotten(
    without, provision, state
) -> None:
    provided = provide(Policies(capture="off", without_capture=without), True, [FINE])
    assert provided.provision is provision
    assert [(check.name, check.state) for check in provided.checks] == [("capture", state)]
    assert "capture=off" in provided.checks[0].message


def test_a_write_fence_is_told_with_the_time_that_it_will_cost_at_least() -> None:
    provided = provide(Policies(without_capture="fence"), False, [IMPOSSIBLE], downtime_s=95)
    assert provided.provision is Provision.FENCE
    assert [check.state for check in provided.checks] == [CheckState.WARNING]
    assert provided.checks[0].message.endswith("the last backup and its proof took 1 min 35 s")
    assert provide(Policies(without_capture="fence"), True, [FINE]).provision is Provision.CAPTURE
