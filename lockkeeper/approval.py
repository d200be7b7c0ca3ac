"""Whether a human's answer counts: it says why, and still holds for what is about to be done."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lockkeeper.errors import RefusedError, StorageError
from lockkeeper.journal import read_report
from lockkeeper.measured import Risk
from lockkeeper.models import Answered, Approval, MigrationPlan, Outcome
from lockkeeper.storage import Storage

REASON_PATTERN = r"[^\s.]"
"""What a reason must hold: more than blanks and dots. In Python and in JavaScript alike, in any language."""


def require_reason(reason: str) -> str:
    """Return why somebody approves, rejects or aborts, without blanks around it.

    Raises:
        RefusedError: it says nothing.
    """
    if not re.search(REASON_PATTERN, reason):
        raise RefusedError(
            "An approval, a rejection and an abort each need a reason, which is kept with the run: "
            "--reason TEXT."
        )
    return reason.strip()


def revisions_digest(plan: MigrationPlan) -> str:
    """Return a digest of the plan's revision files: what was approved is what they say, not their names.

    Raises:
        RefusedError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for step in plan.steps:
        try:
            content = Path(step.path).read_bytes()
        except OSError as error:
            raise RefusedError(f"Revision {step.id} cannot be read: {error}.") from error
        digest.update(f"{step.id} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def find_answered(storage: Storage, target: str, run_id: str, approval: Approval) -> Answered:
    """Put an answer together with the run that asked for it.

    Raises:
        RefusedError: that run is not known, or did not ask.
    """
    try:
        asked = read_report(storage, target, run_id)
    except StorageError as error:
        raise RefusedError(f"Run {run_id} of {target}, which was answered, is not known: {error}") from error
    if asked.outcome is not Outcome.NEEDS_APPROVAL:
        ended = asked.outcome.value if asked.outcome else "still running"
        raise RefusedError(f"Run {run_id} did not ask for an approval: it is {ended}.")
    return Answered(approval=approval, asked=asked)


def not_covered(answered: Answered, plan: MigrationPlan, digest: str, risk: Risk) -> list[str]:
    """Say what has changed since it was approved; [] when the approval holds.

    The plan must be the same, to the letter of its revisions, and its risk no worse.
    """
    asked = answered.asked
    if asked.plan is None or asked.risk is None:
        return ["the run that asked did not say what for"]
    changed = []
    if set(plan.before) != set(asked.plan.before):
        changed.append(f"the database is at {', '.join(plan.before) or 'base'} now")
    if [step.id for step in plan.steps] != [step.id for step in asked.plan.steps]:
        changed.append("other revisions would be applied now")
    elif digest != asked.revisions_sha256:
        changed.append("the revisions' files were changed")
    return changed + [f"worse than what was approved: {one}" for one in risk.worse_than(asked.risk)]
