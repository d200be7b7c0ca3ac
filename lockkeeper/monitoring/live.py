"""One picture of a target after another, for who watches: its run, sessions, commands, changes and latency.

Reads only. What cannot be read is named in the picture, and tried again for the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.journal import read_reports
from lockkeeper.models import RunReport, utc_now
from lockkeeper.monitoring.probe import LatencyProbe
from lockkeeper.monitoring.readings import Activity, Command
from lockkeeper.monitoring.sampler import Sampler, sampling
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.locks import lock_holder
from lockkeeper.rename import ledger
from lockkeeper.rename.connecting import PATIENT_POLICY, converting_errors, session_on
from lockkeeper.rename.status import RenameStatus, read_status
from lockkeeper.storage import open_storage

RUN_INTERVAL_S = 2.0
"""The journal is in the storage and a change's numbers need a few queries: asked for no more often."""
LATENCIES_SHOWN = 60
ROLE = "watch"
_UNFINISHED = "stage NOT IN ('dropped', 'aborted')"


@dataclass(frozen=True)
class LivePicture:
    """A target at one moment.

    Attributes:
        at: when.
        target: its name.
        database: its database.
        holder: who holds the migration lock, or None.
        run: the newest run, whose steps are written down as they begin and end; None before the first.
        activity: sessions and waits; None when they could not be read.
        commands: long commands of PostgreSQL's own, with their progress.
        changes: column changes that are not finished.
        latencies_ms: of the probe query, the newest last.
        problems: what could not be read, and why.
    """

    at: datetime
    target: str
    database: str
    holder: str | None = None
    run: RunReport | None = None
    activity: Activity | None = None
    commands: tuple[Command, ...] = ()
    changes: tuple[RenameStatus, ...] = ()
    latencies_ms: tuple[float, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        plain = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {
            **plain,
            "at": self.at.isoformat(),
            "run": self.run.model_dump(mode="json") if self.run else None,
            "activity": dataclasses.asdict(self.activity) if self.activity else None,
            "commands": [dataclasses.asdict(command) for command in self.commands],
            "changes": [change.as_dict() for change in self.changes],
        }


class LiveView:
    """Takes pictures of a target; see ``looking_at``."""

    def __init__(self, target: Target, interval_s: float) -> None:
        self._target = target
        self.probe = LatencyProbe(target.url, target.policies.impact_probe_sql, None, interval_s)
        self._sampler: Sampler | None = None
        self._open = contextlib.ExitStack()
        self._slow: dict[str, Any] = {}
        self._slow_due = 0.0

    def picture(self) -> LivePicture:
        """Look once; never raises because of what it looks at."""
        at = utc_now()
        problems: dict[str, str] = {}
        seen: dict[str, Any] = {}
        for name, read in {"activity": self._activity, "commands": self._commands}.items():
            with _noting(problems, name):
                seen[name] = read()
        if "activity" in problems:
            self._close()
        if time.monotonic() >= self._slow_due:
            self._slow = {}
            for name, read in {"holder": self._holder, "run": self._run, "changes": self._changes}.items():
                with _noting(problems, name):
                    self._slow[name] = read()
            self._slow_due = time.monotonic() + RUN_INTERVAL_S
        if self.probe.problem:
            problems["latency"] = self.probe.problem
        return LivePicture(
            at, self._target.name, self._target.database, **self._slow, **seen,
            latencies_ms=self._latencies(), problems=problems,
        )  # fmt: skip

    def close(self) -> None:
        """End the threads and sessions."""
        self.probe.stop()
        self._close()

    def _close(self) -> None:
        self._open.close()
        self._sampler = None

    def _reader(self) -> Sampler:
        if self._sampler is None:
            self._sampler = self._open.enter_context(sampling(self._target.url, ROLE))
        return self._sampler

    def _activity(self) -> Activity:
        return self._reader().activity()

    def _commands(self) -> tuple[Command, ...]:
        return tuple(self._reader().commands(utc_now()))

    def _holder(self) -> str | None:
        with connect(self._target.maintenance_url, ROLE) as connection:
            return lock_holder(connection, self._target.database)

    def _run(self) -> RunReport | None:
        return next(iter(read_reports(open_storage(self._target.storage), self._target.name, newest=1)), None)

    def _changes(self) -> tuple[RenameStatus, ...]:
        with converting_errors(), session_on(self._target.url, ROLE, None, PATIENT_POLICY) as session:
            return tuple(read_status(session, entry.id) for entry in ledger.entries(session, _UNFINISHED))

    def _latencies(self) -> tuple[float, ...]:
        done = [latency.ms for latency in self.probe.during[-LATENCIES_SHOWN:]]
        current = self.probe.current_ms
        waits = current is not None and (not done or current > done[-1])
        return tuple([*done, current] if waits and current is not None else done)[-LATENCIES_SHOWN:]


@contextlib.contextmanager
def _noting(problems: dict[str, str], what: str) -> Iterator[None]:
    try:
        yield
    except LockkeeperError as error:
        problems[what] = str(error).splitlines()[0]


@contextlib.contextmanager
def looking_at(target: Target, interval_s: float) -> Iterator[Callable[[], LivePicture]]:
    """Yield a function that takes a picture of the target; its probe runs beside, every ``interval_s``."""
    view = LiveView(target, interval_s)
    prober = threading.Thread(target=view.probe.run, name="lockkeeper-probe", daemon=True)
    prober.start()
    try:
        yield view.picture
    finally:
        view.close()
        prober.join(interval_s + 1)
