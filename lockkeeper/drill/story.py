"""What the drills of a target say, as Markdown: the newest one, the trend, and every figure."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.drill.chart import data_uri, trend_chart
from lockkeeper.models import DrillReport
from lockkeeper.reports import format_duration, format_size


def markdown_trend(drills: Sequence[DrillReport]) -> str:
    """Return the trend of drills (oldest first, at least one) for an artifact."""
    newest = drills[-1]
    verdict = "within" if newest.within_objective else "**beyond**"
    parts = [
        f"# Backup drills of {newest.target}",
        f"A recovery from storage would take {format_duration(newest.predicted_recovery_s)}, {verdict} "
        f"the objective of {format_duration(newest.objective_s)}. {loss_sentence(newest)} The last drill "
        f"restored backup `{newest.backup_id}`.",
        f"![Predicted recovery time of the last drills]({data_uri(trend_chart(drills))})",
        "| Drill | Size | Restore | Compare | Analyze | Predicted | Loss |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = [_row(one) for one in reversed(drills)]
    return "\n\n".join(parts[:3]) + "\n\n" + "\n".join([*parts[3:], *rows]) + "\n"


def loss_sentence(drill: DrillReport) -> str:
    """Say what a recovery from storage would lose."""
    if drill.loss_window_s == 0:
        return "Migrations capture every write since their backup, so it would lose none."
    return (
        "Migrations of this target capture no writes: what was written since the backup, "
        f"{format_duration(drill.loss_window_s)} ago, would not come back with it."
    )


def _row(drill: DrillReport) -> str:
    cells = (
        f"{drill.started_at:%Y-%m-%d %H:%M}", format_size(drill.database_bytes),
        *map(format_duration, (drill.restore_s, drill.compare_s, drill.analyze_s)),
        format_duration(drill.predicted_recovery_s),
        "none" if drill.loss_window_s == 0 else format_duration(drill.loss_window_s),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"
