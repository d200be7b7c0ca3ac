"""Watches the database in a thread beside the migration; whatever happens to it, the migration goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from prefect.futures import PrefectFuture

from lockkeeper.measured import MonitorSummary
from lockkeeper.monitoring.impact_table import impact_rows
from lockkeeper.monitoring.scheduled import LookReport, look_once
from tasks.alerts import emit_alert
from tasks.policies import once
from tasks.progress import INTERVAL_S, TableBoard
from tasks.runs import engine_of

END_TIMEOUT_S = 8.0
"""Longer than sampling, alerts, metrics and the table take together to end when nothing answers."""
READY_TIMEOUT_S = 3.0


@once(name="monitor")
def watch_database(target: str, run_id: str, ready: threading.Event, stop: threading.Event) -> MonitorSummary:
    """Sample who blocks whom until ``stop`` is set; ``ready`` is set when the watch has begun.

    A table in the UI shows what is seen now, renewed every few seconds.
    """
    board = TableBoard(f"impact-{target}", "What the migration does to others, while it runs.")
    try:
        with engine_of(target, run_id).monitored() as monitor:
            ready.set()
            board.put(impact_rows(monitor.latest, monitor.summary()))
            while not stop.wait(INTERVAL_S):
                board.put(impact_rows(monitor.latest, monitor.summary()))
        summary = monitor.summary()
        board.put(impact_rows(None, summary))
    finally:
        board.close()
    return summary


@once(name="look")
def look_at_database(target: str, run_id: str) -> LookReport:
    """Look once, tell what begins and what is over, remember it for the next look."""
    engine = engine_of(target, run_id)
    return look_once(engine.target, listener=emit_alert, link=engine.link)


class TaskMonitor:
    """A monitor that runs as a task of its own."""

    def __init__(self, future: PrefectFuture[MonitorSummary]) -> None:
        self._future = future
        self._ended = False

    def summary(self) -> MonitorSummary:
        """What was seen; empty while the monitor still runs, or when it failed."""
        if not self._ended:
            return MonitorSummary()
        try:
            return self._future.result(timeout=END_TIMEOUT_S)
        except Exception:  # the task has logged why; a migration does not fail for it
            return MonitorSummary(failed_samples=1)

    def end(self) -> None:
        """Say that no more samples come."""
        self._ended = True


@contextlib.contextmanager
def monitoring(target: str, run_id: str) -> Iterator[TaskMonitor]:
    """Run the monitor for the length of the block; the flow's runner needs at least two workers."""
    ready, stop = threading.Event(), threading.Event()
    monitor = TaskMonitor(watch_database.submit(target, run_id, ready, stop))
    ready.wait(READY_TIMEOUT_S)  # how it was before the migration is measured before the migration
    try:
        yield monitor
    finally:
        stop.set()  # in every case: the flow's end waits for its tasks
        monitor.end()
