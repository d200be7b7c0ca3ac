"""An engine that shows each step as it ends. Import it lazily: the engine is heavy."""

from __future__ import annotations

from lockkeeper.cli.progress import Progress
from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.models import RunReport


class WatchedEngine(Engine):
    """Shows progress, and keeps the newest report: after an interruption it is the only one."""

    def __init__(self, target: Target, run_id: str, progress: Progress) -> None:
        super().__init__(target, run_id, progress.say)
        self.latest: RunReport | None = None
        self._shown = progress

    def journal(self, report: RunReport) -> str | None:
        """Remember and show the report, then write it down as the engine does."""
        self.latest = report
        self._shown.report(report)
        return super().journal(report)
