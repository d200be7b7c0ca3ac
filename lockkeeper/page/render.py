"""Puts a run's report and its curves into the page. Pure: the same report always gives the same page.

Every text goes through ``plain`` (redacted, no control characters) and Jinja's escaping.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from lockkeeper.models import Outcome, RunReport, StepState
from lockkeeper.page.charts import Chart, backfill_charts, impact_charts
from lockkeeper.reports import (
    check_summary,
    facts,
    format_duration,
    format_size,
    headline,
    monitor_facts,
    plain,
    recovery_rows,
    restore_facts,
    revision_rows,
    safe_link,
)
from lockkeeper.risk_report import COST_HEADER, cost_rows, risk_lines

GOOD, BAD, WAITING = "good", "bad", "waiting"
_TONES: dict[Outcome | None, str] = {
    Outcome.SUCCEEDED: GOOD, Outcome.NOTHING_TO_DO: GOOD, Outcome.FAILED: BAD, Outcome.NEEDS_HUMAN: BAD,
}  # fmt: skip
MARKS = {GOOD: "✓", BAD: "✗", WAITING: "!"}
_STEP_MARKS = {StepState.DONE: "✓", StepState.FAILED: "✗", StepState.SKIPPED: "-", StepState.RUNNING: "…"}


class Bar(NamedTuple):
    """One step on the time line; ``left`` and ``width`` are per cent of the run."""

    name: str
    state: str
    mark: str
    duration: str
    detail: str
    left: float
    width: float


class Duel(NamedTuple):
    """One revision, as predicted by the rehearsal and as it was; widths are per cent of the longest."""

    revision: str
    message: str
    predicted: str
    took: str
    predicted_width: float
    took_width: float


def html_report(report: RunReport) -> str:
    """Return the page: one file, with nothing in it that a browser would fetch."""
    tone = _TONES.get(report.outcome, WAITING)
    return template("run").render(
        report=report,
        title=headline(report),
        tone=tone,
        mark=MARKS[tone],
        link=safe_link(report.link),
        figures=list(_figures(report)),
        bars=list(_bars(report)),
        duels=list(_duels(report)),
        charts=_charts(report),
        facts=facts(report),
        recovery=recovery_rows(report),
        restore=restore_facts(report),
        revisions=revision_rows(report),
        risk=risk_lines(report),
        cost_header=COST_HEADER,
        costs=cost_rows(report),
        checks_said=check_summary(report),
        beside=monitor_facts(report),
    )


@lru_cache(maxsize=8)
def template(name: str) -> jinja2.Template:
    """Return a page's template; every text in it is escaped, redacted and without control characters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lockkeeper.page", "."), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized,
    )  # fmt: skip
    return environment.get_template(f"{name}.html.jinja")


def _finalized(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _charts(report: RunReport) -> list[tuple[Chart, Markup]]:
    impact = report.monitor.series if report.monitor else None
    charts = [
        *(backfill_charts(report.backfill) if report.backfill else ()),
        *(impact_charts(impact) if impact else ()),
    ]
    # What pygal makes is well-formed XML, and only our own words and numbers are in it.
    return [(chart, Markup(chart.svg)) for chart in charts]  # noqa: S704


def _figures(report: RunReport) -> Iterator[tuple[str, str]]:
    """Yield what somebody wants to know first, as label and value."""
    yield "took", format_duration(report.duration_s)
    if report.restore:
        yield "writes refused for", format_duration(report.restore.fence_s)
        yield "writes carried over", f"{report.restore.replayed_changes or 0:,}"
        yield "writes parked", f"{len(report.restore.parked):,}"
    seen = report.monitor
    if seen and seen.samples:
        yield "sessions blocked, at most", str(seen.max_blocked_sessions)
        yield "longest wait", format_duration(seen.longest_block_s)
        if seen.probe and seen.probe.during_ms is not None:
            if seen.probe.before_ms is not None:
                yield "latency before", f"{seen.probe.before_ms:.1f} ms"
            yield "latency beside it", f"{seen.probe.during_ms:.1f} ms"
        if seen.size_after_bytes is not None:
            yield "size now", format_size(seen.size_after_bytes)


def _bars(report: RunReport) -> Iterator[Bar]:
    ends = [step.started_at + timedelta(seconds=step.duration_s) for step in report.steps]
    if not ends:
        return
    began = report.steps[0].started_at
    whole_s = max((max(ends) - began).total_seconds(), 0.001)
    for step in report.steps:
        left = 100 * (step.started_at - began).total_seconds() / whole_s
        width = 100 * step.duration_s / whole_s
        yield Bar(
            step.name, step.state.value, _STEP_MARKS[step.state], format_duration(step.duration_s),
            step.detail, round(min(left, 99.5), 2), round(max(min(width, 100 - left), 0.5), 2),
        )  # fmt: skip


def _duels(report: RunReport) -> Iterator[Duel]:
    """Yield each applied revision that was rehearsed, prediction against reality."""
    messages = {step.id: step.message for step in report.plan.steps} if report.plan else {}
    timings = [timing for timing in report.revisions if timing.rehearsed_s is not None]
    longest = max([0.001, *(max(one.duration_s, one.rehearsed_s or 0.0) for one in timings)])
    for one in timings:
        predicted = one.rehearsed_s or 0.0
        yield Duel(
            one.revision, messages.get(one.revision, ""), format_duration(predicted),
            format_duration(one.duration_s), round(100 * predicted / longest, 2),
            round(100 * one.duration_s / longest, 2),
        )  # fmt: skip
