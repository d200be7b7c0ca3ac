"""How a run provides for the writes that come after its backup: decided before anything starts, and said.

``provide`` is a pure function of the target's policies and of what the server permits.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from lockkeeper.backup import latest_verified
from lockkeeper.config import Policies, Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.models import Check, CheckState
from lockkeeper.recovery.capture import capture_readiness
from lockkeeper.text_units import format_duration

NAME = "capture"
_ACCEPTED = (
    "what is written between the backup and a restore could not be carried over: a restore runs by itself "
    "only when nothing was (policy without_capture=accept)"
)
_FENCED = (
    "applications may only read from the backup on until the run has ended (policy without_capture=fence)"
)
_REFUSED = "policy without_capture=refuse: nothing starts without a capture"


class Provision(str, Enum):
    """What a run does about writes that come after its backup."""

    CAPTURE = "capture"
    FENCE = "fence"
    ACCEPT = "accept"
    REFUSE = "refuse"


class Provided(NamedTuple):
    """The decision, and the checks that tell of it."""

    provision: Provision
    checks: tuple[Check, ...]


def provide(
    policies: Policies, possible: bool, checks: Sequence[Check], downtime_s: float | None = None
) -> Provided:
    """Decide, and turn what forbids a capture into what it means for this target.

    Args:
        policies: of the target.
        possible: whether changes can be captured here.
        checks: why (not).
        downtime_s: how long the last backup and its proof took, which a write fence outlasts.
    """
    wanted = policies.capture == "auto"
    if wanted and possible:
        return Provided(Provision.CAPTURE, tuple(checks))
    provision = Provision(policies.without_capture)
    means = _meaning(provision, downtime_s)
    state = CheckState.FAILED if provision is Provision.REFUSE else CheckState.WARNING
    if not wanted:
        # Nobody is warned of what they have asked for; refusing is a contradiction that they must resolve.
        quiet = CheckState.FAILED if provision is Provision.REFUSE else CheckState.OK
        return Provided(provision, (Check(name=NAME, state=quiet, message=f"policy capture=off: {means}"),))
    told = [check for check in checks if not check.refuses]
    told += [
        check.model_copy(update={"state": state, "message": f"{check.message}; {means}"})
        for check in checks
        if check.refuses
    ]
    return Provided(provision, tuple(told))


def _meaning(provision: Provision, downtime_s: float | None) -> str:
    if provision is not Provision.FENCE:
        return _REFUSED if provision is Provision.REFUSE else _ACCEPTED
    if downtime_s is None:
        return _FENCED
    return f"{_FENCED}: the last backup and its proof took {format_duration(downtime_s)}"


def provision_of(target: Target, run_id: str | None = None) -> Provided:
    """Ask the server what it permits, and decide; reads only."""
    downtime_s = _last_backup_s(target) if target.policies.without_capture == "fence" else None
    if target.policies.capture == "off":
        return provide(target.policies, False, (), downtime_s)
    readiness = capture_readiness(target, run_id)
    return provide(target.policies, readiness.possible, readiness.checks, downtime_s)


def _last_backup_s(target: Target) -> float | None:
    try:
        manifest = latest_verified(target)
    except LockkeeperError:  # preflight's own check of the storage tells why
        return None
    timings = manifest.timings_s if manifest else {}
    return timings["total"] + timings["verify"] if {"total", "verify"} <= timings.keys() else None
