"""How a run provides for the writes that come after its backup: decided before anything starts, and said.

``provide`` is a pure function of the target's policies and of what the server permits.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from lockkeeper.config import Policies, Target
from lockkeeper.models import Check, CheckState
from lockkeeper.recovery.capture import capture_readiness

NAME = "capture"
_ACCEPTED = (
    "what is written between the backup and a restore could not be carried over: a restore runs by itself "
    "only when nothing was (policy without_capture=accept)"
)
_REFUSED = "policy without_capture=refuse: nothing starts without a capture"


class Provision(str, Enum):
    """What a run does about writes that come after its backup."""

    CAPTURE = "capture"
    ACCEPT = "accept"
    REFUSE = "refuse"


class Provided(NamedTuple):
    """The decision, and the checks that tell of it."""

    provision: Provision
    checks: tuple[Check, ...]


def provide(policies: Policies, possible: bool, checks: Sequence[Check]) -> Provided:
    """Decide, and turn what forbids a capture into what it means for this target.

    Args:
        policies: of the target.
        possible: whether changes can be captured here.
        checks: why (not).
    """
    wanted = policies.capture == "auto"
    if wanted and possible:
        return Provided(Provision.CAPTURE, tuple(checks))
    provision = Provision(policies.without_capture)
    means = _REFUSED if provision is Provision.REFUSE else _ACCEPTED
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


def provision_of(target: Target, run_id: str | None = None) -> Provided:
    """Ask the server what it permits, and decide; reads only."""
    if target.policies.capture == "off":
        return provide(target.policies, False, ())
    readiness = capture_readiness(target, run_id)
    return provide(target.policies, readiness.possible, readiness.checks)
