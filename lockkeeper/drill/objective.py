"""What the last drill means for a migration that is about to start: said before anything is touched."""

from __future__ import annotations

from lockkeeper.models import Check, CheckState, DrillReport
from lockkeeper.reports import format_duration, format_size

NAME = "recovery objective"


def forecast_s(drill: DrillReport, database_bytes: int) -> float:
    """Return how long a recovery from storage would take now: the last drill's time, grown with the data."""
    grown = database_bytes / drill.database_bytes if drill.database_bytes else 1.0
    return drill.predicted_recovery_s * max(grown, 1.0)


def check_objective(drill: DrillReport | None, database_bytes: int, objective_s: float, target: str) -> Check:
    """Hold the forecast against the target's objective; never refuses, since gentler rungs come first."""
    if drill is None:
        message = f"no drill has shown how long a recovery takes: lockkeeper drill {target}"
        return Check(name=NAME, state=CheckState.OK, message=message)
    predicted_s = forecast_s(drill, database_bytes)
    seen = (
        f"a recovery from storage would take {format_duration(predicted_s)} (drill of "
        f"{drill.started_at:%Y-%m-%d} with {format_size(drill.database_bytes)}), the objective is "
        f"{format_duration(objective_s)}"
    )
    if predicted_s <= objective_s:
        return Check(name=NAME, state=CheckState.OK, message=seen)
    advice = "only the warm copy would be in time; a physical backup beside ours would be, too"
    return Check(name=NAME, state=CheckState.WARNING, message=f"{seen}: {advice} (docs/recovery.md)")
