"""A live picture for a terminal: the run's steps, what moves and how fast, who waits for whom, latency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lockkeeper.models import RunReport, StepState
from lockkeeper.monitoring.live import LivePicture
from lockkeeper.monitoring.readings import Activity, Command, Wait
from lockkeeper.rename.status import RenameStatus
from lockkeeper.reports import format_duration, headline, plain

STEPS_SHOWN, WAITERS_SHOWN, LEVELS_SHOWN = 12, 20, 5
BAR_WIDTH = 30
_BLOCKS = "▁▂▃▄▅▆▇█"
_MARKS = {
    StepState.DONE: ("done   ", "green"), StepState.FAILED: ("FAILED ", "bold red"),
    StepState.SKIPPED: ("skipped", "dim"), StepState.RUNNING: ("running", "bold cyan"),
}  # fmt: skip


def live_screen(picture: LivePicture) -> RenderableType:
    """Return the whole picture; every text from outside is redacted and never markup."""
    return Group(*_parts(picture))


def _parts(picture: LivePicture) -> Iterator[RenderableType]:
    yield Text(
        plain(f"{picture.target}  (database {picture.database}, {picture.at:%Y-%m-%d %H:%M:%S} UTC)"), "bold"
    )
    yield Text(plain(f"migration lock: {picture.holder or 'free'}"))
    yield from _section("last run", _run(picture.run) if picture.run else None)
    yield from _section("column changes", _changes(picture.changes))
    yield from _section("commands", _commands(picture.commands))
    if picture.activity is not None:
        yield from _section("sessions", Text(_sessions(picture.activity)))
        yield from _section("waiting for locks", _tree(picture.activity.waits))
    yield from _section("latency of the probe query", _latency(picture.latencies_ms))
    problems = [f"{what}: {why}" for what, why in picture.problems.items()]
    yield from _section("could not be read", Text(plain("\n".join(problems)), "red") if problems else None)


def _section(title: str, body: RenderableType | None) -> Iterator[RenderableType]:
    if body is not None:
        yield Text(f"\n{title}", "dim")
        yield Padding(body, (0, 0, 0, 2))


def _run(run: RunReport) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for step in run.steps[-STEPS_SHOWN:]:
        mark, style = _MARKS[step.state]
        table.add_row(
            Text(mark, style), Text(plain(step.name)), Text(format_duration(step.duration_s)),
            Text(plain(step.detail)),
        )  # fmt: skip
    return Group(Text(plain(f"{headline(run)}  {run.run_id}")), table)


def _changes(changes: Sequence[RenameStatus]) -> RenderableType | None:
    if not changes:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    for change in changes:
        facts = [f"{change.rows_copied:,} of about {change.rows_total:,} rows"]
        facts += [f"{change.rows_per_s:,.0f} rows/s"] if change.rows_per_s else []
        facts += _remaining(change.eta_s)
        facts += [f"throttled by {', '.join(change.throttled_by)}"] if change.throttled_by else []
        facts += [f"works {change.share_percent:g} % of its time"] if change.share_percent else []
        facts += [f"{change.rows_parked} rows parked"] if change.rows_parked else []
        table.add_row(
            Text(plain(f"{change.table}: {change.old} -> {change.new}")), Text(change.stage.value),
            _bar(change.percent), Text(plain(", ".join(facts))),
        )  # fmt: skip
    return table


def _commands(commands: Sequence[Command]) -> RenderableType | None:
    if not commands:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    for command in commands:
        what = f"{command.kind} {command.table}: {command.phase} (session {command.pid})"
        table.add_row(Text(plain(what)), _bar(command.percent), Text(", ".join(_remaining(command.eta_s))))
    return table


def _bar(percent: float | None) -> RenderableType:
    if percent is None:
        return Text("")
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(ProgressBar(100, percent, width=BAR_WIDTH), Text(f"{percent:5.1f} %"))
    return row


def _remaining(eta_s: float | None) -> list[str]:
    return [] if eta_s is None else [f"about {format_duration(eta_s)} left"]


def _sessions(activity: Activity) -> str:
    facts = [
        f"{activity.connections} of {activity.max_connections} connections",
        f"{activity.active} active",
        f"{activity.idle_in_transaction} idle in a transaction",
    ]
    oldest = max(activity.sessions, key=lambda session: session.transaction_s, default=None)
    if oldest is not None:
        facts.append(f"longest transaction {format_duration(oldest.transaction_s)}: {oldest}")
    return plain(", ".join(facts))


def _tree(waits: Sequence[Wait]) -> RenderableType | None:
    """Return who waits for whom, those that wait for nobody at the top."""
    if not waits:
        return None
    waiting = {wait.waiter_pid for wait in waits}
    tops = {wait.blocker_pid: wait for wait in waits if wait.blocker_pid not in waiting}
    # Where all wait for one another any is the top, until PostgreSQL ends one of them (deadlock_timeout).
    tops = tops or {waits[0].blocker_pid: waits[0]}
    forest = Tree("", hide_root=True)
    shown = iter(range(WAITERS_SHOWN))
    for pid, wait in tops.items():
        top = forest.add(Text(plain(f"{wait.blocker}: {wait.blocker_statement or 'no statement'}")))
        _add_waiters(top, pid, waits, shown, LEVELS_SHOWN)
    return forest


def _add_waiters(node: Tree, pid: int, waits: Sequence[Wait], shown: Iterator[int], levels: int) -> None:
    for wait in waits:
        if wait.blocker_pid != pid or levels == 0:
            continue
        if next(shown, None) is None:
            node.add(Text("... and more"))
            return
        who = f"session {wait.waiter_pid} ({wait.waiter_application or wait.waiter_type})"
        what = (
            f"waits {format_duration(wait.waiting_s)} for {wait.wants or 'a lock'}: {wait.waiter_statement}"
        )
        _add_waiters(node.add(Text(plain(f"{who} {what}"))), wait.waiter_pid, waits, shown, levels - 1)


def _latency(latencies_ms: Sequence[float]) -> RenderableType | None:
    if not latencies_ms:
        return None
    now, longest = latencies_ms[-1], max(latencies_ms)
    return Text(f"{sparkline(latencies_ms)}  now {now:.1f} ms, longest {longest:.1f} ms")


def sparkline(values: Sequence[float]) -> str:
    """Return one block a value, the highest for the largest of them."""
    largest = max(values, default=0.0) or 1.0
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(value / largest * len(_BLOCKS)))] for value in values)
