"""The drill: a backup brought back on a quiet day and timed, so that nobody hopes on a bad one."""

from __future__ import annotations

from lockkeeper.drill.chart import trend_chart
from lockkeeper.drill.history import last_drill, read_drills, write_drill
from lockkeeper.drill.rehearse import drill_backup

__all__ = ["drill_backup", "last_drill", "read_drills", "trend_chart", "write_drill"]
