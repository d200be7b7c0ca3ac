"""What the last drill means for a migration that is about to start: said before anything is touched."""

from __future__ import annotations

from lockkeeper.models import BackupKind, Check, CheckState, DrillReport
from lockkeeper.reports import format_duration, format_size

NAME = "recovery objective"


def forecast_s(drill: DrillReport, database_bytes: int) -> float:
    """Return how long a recovery from storage would take now: the last drill's time, grown with the data."""
    grown = database_bytes / drill.database_bytes if drill.database_bytes else 1.0
    return drill.predicted_recovery_s * max(grown, 1.0)


def check_objective(
    drill: DrillReport | None,
    database_bytes: int,
    objective_s: float,
    target: str,
    physical: DrillReport | None = None,
) -> Check:
    """Hold the forecast against the target's objective; never refuses, since gentler rungs come first.

    ``drill`` is the last one with a dump, ``physical`` the last one with a physical backup.
    """
    if drill is None and physical is not None:
        return check_objective(physical, database_bytes, objective_s, target)
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
    return Check(
        name=NAME, state=CheckState.WARNING, message=f"{seen}: {_advice(drill, physical, database_bytes)}"
    )


def _advice(drill: DrillReport, physical: DrillReport | None, database_bytes: int) -> str:
    """Say what would be faster, by its own drill where there is one."""
    if drill.backup_kind is BackupKind.PHYSICAL:
        return "only the warm copy would be in time (docs/physical-backups.md)"
    if physical is not None:
        took = format_duration(forecast_s(physical, database_bytes))
        return f"from a physical backup it would take {took} (drill of {physical.started_at:%Y-%m-%d})"
    advice = "only the warm copy would be in time; a physical backup comes back faster"
    return f"{advice}: lockkeeper backup --kind physical (docs/physical-backups.md)"
