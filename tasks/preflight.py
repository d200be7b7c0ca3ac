"""Everything that can be known beforehand, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.models import Check, MigrationPlan
from tasks.policies import once
from tasks.runs import engine_of


@once(name="preflight")
def check_preflight(target: str, run_id: str, revision: str) -> tuple[MigrationPlan, Sequence[Check]]:
    """Run all checks; raises PreflightError with every problem at once."""
    return engine_of(target, run_id).preflight(revision)
