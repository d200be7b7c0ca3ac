"""One look at a database that nobody migrates just now: taken each minute, by whatever starts it.

What is open is remembered in the target's storage, so that one incident stays one alert and one all-clear
over any number of looks. A database that cannot be looked at is an incident like any other.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from lockkeeper.backup import latest_verified
from lockkeeper.config import Target
from lockkeeper.drill.history import last_drill
from lockkeeper.errors import LockkeeperError, StorageError
from lockkeeper.journal import read_reports
from lockkeeper.models import Fact, utc_now
from lockkeeper.monitoring.channels import Channels, Undelivered, open_channels
from lockkeeper.monitoring.history import keep_sample, sample_of
from lockkeeper.monitoring.incidents import Alert, AlertState, IncidentBook, Judge
from lockkeeper.monitoring.metrics import (
    FOLDER_VARIABLE,
    Metrics,
    activity_metrics,
    history_metrics,
    vitals_metrics,
    write_metrics,
)
from lockkeeper.monitoring.readings import Look, Vitals
from lockkeeper.monitoring.rules import RULES, Measurement, Rule, Severity, limits_of
from lockkeeper.monitoring.sampler import sampling
from lockkeeper.redaction import redact
from lockkeeper.storage import Storage, open_storage

COULD_NOT_LOOK = Rule(
    "could-not-look", "looks that could not be taken", 1, lambda _look: (), Severity.CRITICAL,
    advice="Nothing is known of this database until the monitor can look again.",
)  # fmt: skip
STATEMENT_TIMEOUT_MS = 10_000
DELIVERY_PATIENCE_S = 20.0
MOST_UNDELIVERED = 100
RUNS_READ = 20


class MonitorMemory(Fact):
    """What the next look must know: open incidents, the counters of this look, alerts still to be told."""

    book: IncidentBook = IncidentBook()
    vitals: Vitals | None = None
    undelivered: tuple[Undelivered, ...] = ()


class LookReport(Fact):
    """What one look found; ``problem`` says why there was none, ``undelivered`` what is still to tell."""

    target: str
    alerts: tuple[Alert, ...] = ()
    open_incidents: tuple[str, ...] = ()
    problem: str | None = None
    undelivered: tuple[str, ...] = ()


def look_once(
    target: Target, *, listener: Callable[[Alert], None] | None = None, link: str | None = None
) -> LookReport:
    """Look, judge, tell and remember. Reads only, takes no lock but ACCESS SHARE on what it measures.

    Can run again at any time. One that is killed before it has remembered tells the same alerts once more:
    told twice is better than never. Two at once would both tell: the deployment lets one run at a time.

    Raises:
        StorageError: the memory cannot be read or written, so that nothing could be told once only.
    """
    storage = open_storage(target.storage)
    memory = read_memory(storage, target.name)
    judge = Judge(
        target.name, (*RULES, COULD_NOT_LOOK), limits_of(target.policies.alert_limits), memory.book, link=link
    )
    look: Look | None = None
    vitals, problem = memory.vitals, None
    try:
        look = take_look(target, memory.vitals)
    except LockkeeperError as error:
        problem = redact(str(error).splitlines()[0])
        alerts = judge.take_in(COULD_NOT_LOOK, [Measurement(1, f"could not look: {problem}")], utc_now())
    else:
        vitals, alerts = look.vitals, judge.judge(look)
    undelivered, problems = _tell(open_channels(target, listener), memory.undelivered, alerts)
    write_memory(storage, target.name, MonitorMemory(book=judge.book, vitals=vitals, undelivered=undelivered))
    problems += _remember(target, storage, look)
    problems += _publish(target, storage, judge.book, look)
    incidents = tuple(f"{one.key}: {one.message}" for one in judge.book.open_incidents())
    return LookReport(
        target=target.name, alerts=tuple(alerts), open_incidents=incidents, problem=problem,
        undelivered=tuple(problems),
    )  # fmt: skip


def _remember(target: Target, storage: Storage, look: Look | None) -> list[str]:
    """Add this look to the history; returns why it could not be added."""
    problems: list[str] = []
    if look is not None and target.policies.history_days:
        with _noting(problems, "history"):
            keep_sample(storage, target.name, sample_of(look), target.policies.history_days)
    return problems


def _publish(target: Target, storage: Storage, book: IncidentBook, look: Look | None) -> list[str]:
    """Write the metrics of this look, if anybody wants them; returns why they could not be written."""
    if not os.environ.get(FOLDER_VARIABLE):
        return []
    metrics = Metrics(target.name)
    metrics.set("look_success", look is not None)
    metrics.set("look_timestamp_seconds", utc_now().timestamp())
    for rule, number in Counter(one.rule for one in book.open_incidents()).items():
        metrics.set("incidents_open", number, rule=rule)
    if look is not None:
        activity_metrics(metrics, look.activity)
        if look.vitals is not None:
            vitals_metrics(metrics, look.vitals)
    problems: list[str] = []
    with _noting(problems, "metrics"):
        reports = read_reports(storage, target.name, newest=RUNS_READ)
        history_metrics(metrics, reports, latest_verified(target), last_drill(storage, target.name))
    with _noting(problems, "metrics"):  # what could be read is worth writing
        write_metrics(metrics, "look")
    return problems


@contextlib.contextmanager
def _noting(problems: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except LockkeeperError as error:
        problems.append(f"{what}: {redact(str(error).splitlines()[0])}")


def take_look(target: Target, before: Vitals | None) -> Look:
    """Read the target once; ``before`` is what rates are taken from. Raises ConnectionLostError."""
    with sampling(target.url, statement_timeout_ms=STATEMENT_TIMEOUT_MS) as sampler:
        return Look(sampler.activity(), sampler.vitals(), before)


def made_up_alert(target: Target) -> list[Alert]:
    """Return an alert and its all-clear that say of themselves that they are a test."""
    rule = Rule("test-alert", "test alerts", 1, lambda _look: (), advice="Nothing: it is only a test.")
    judge = Judge(target.name, [rule], {})
    fired = judge.take_in(rule, [Measurement(1, "this is a test, nothing is wrong")], utc_now())
    return [*fired, *judge.end(utc_now())]


def send_test_alert(target: Target) -> list[str]:
    """Send a test alert and its all-clear through every channel; returns what did not arrive, and why."""
    return _tell(open_channels(target), (), made_up_alert(target))[1]


def _tell(
    channels: Channels, late: tuple[Undelivered, ...], alerts: list[Alert]
) -> tuple[tuple[Undelivered, ...], list[str]]:
    """Deliver what is late first, so that no all-clear overtakes its alert."""
    for one in late:
        channels.send(one.alert, only=one.channel)
    for alert in alerts:
        channels.send(alert)
    problems = channels.close(DELIVERY_PATIENCE_S)
    return tuple(channels.undelivered()[-MOST_UNDELIVERED:]), problems


def _key(target: str) -> str:
    return f"{target}/monitor/memory.json"


def read_memory(storage: Storage, target: str) -> MonitorMemory:
    """Return what the look before has left, empty before the first; raises StorageError."""
    key = _key(target)
    if not storage.exists(key):
        return MonitorMemory()
    try:
        return MonitorMemory.model_validate_json(storage.get_bytes(key))
    except ValidationError as error:
        problem = f"{key} is not a monitor's memory ({error.error_count()} problems). Move it away."
        raise StorageError(problem, key) from error


def write_memory(storage: Storage, target: str, memory: MonitorMemory) -> None:
    """Leave it for the next look; writing it twice leaves one."""
    storage.put_bytes(_key(target), memory.model_dump_json(indent=1).encode())


def describe(report: LookReport) -> str:
    """Say in one line what a look found."""
    if report.problem is not None:
        return f"Could not look at {report.target}: {report.problem}"
    fired = sum(alert.state is AlertState.FIRING for alert in report.alerts)
    cleared = len(report.alerts) - fired
    return f"{report.target}: {fired} new, {cleared} over, {len(report.open_incidents)} open"
