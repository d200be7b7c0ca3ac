"""An engine that shows each step as it ends. Import it lazily: the engine is heavy."""

from __future__ import annotations

from collections.abc import Sequence

from lockkeeper.cli.approval_prompt import ask_on_terminal, can_ask
from lockkeeper.cli.output import Session
from lockkeeper.cli.progress import Progress
from lockkeeper.config import Target
from lockkeeper.engine import Engine
from lockkeeper.models import Approval, RunReport


class WatchedEngine(Engine):
    """Shows progress, and keeps the newest report: after an interruption it is the only one."""

    def __init__(
        self, target: Target, run_id: str, progress: Progress, session: Session | None = None
    ) -> None:
        super().__init__(target, run_id, progress.say)
        self._session = session
        self.latest: RunReport | None = None
        self._shown = progress

    def journal(self, report: RunReport) -> str | None:
        """Remember and show the report, then write it down as the engine does."""
        self.latest = report
        self._shown.report(report)
        return super().journal(report)

    def ask_approval(self, report: RunReport, why: Sequence[str]) -> Approval:
        """Ask whoever sits at the terminal; raises ApprovalNeededError when nobody does, or answers."""
        if self._session is not None and can_ask(self._session):
            with self._shown.paused():
                given = ask_on_terminal(self._session, report)
            if given is not None:
                return given
        return super().ask_approval(report, why)
