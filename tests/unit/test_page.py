"""The page with pictures: whole story, nothing fetched, nothing of the user's names taken for markup."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from lockkeeper.measured import BackfillSeries, ImpactSeries, MonitorSummary, Point, ProbeSummary
from lockkeeper.models import Outcome, RevisionTiming, RunReport
from lockkeeper.monitoring.series import BackfillKeeper, PeakSeries
from lockkeeper.page import html_report
from tests.unit.test_reports import HOSTILE, NOW, SECRET, recovered_report, run_report

VOID = {"meta", "br", "link", "img", "input", "hr"}
FETCHING = re.compile(r"(?:src|href|data|action|poster)\s*=|url\(|@import|<script|<iframe|<object")


def curve(values: list[float]) -> tuple[Point, ...]:
    return tuple((float(number), value) for number, value in enumerate(values))


def watched(**changes: Any) -> MonitorSummary:
    series = ImpactSeries(
        started_at=NOW,
        blocked_sessions=curve([0, 3, 0]),
        longest_wait_s=curve([0, 0.9, 0]),
        active_sessions=curve([2, 5, 2]),
        size_bytes=curve([1e6, 2e6]),
        latency_before_ms=curve([1.0, 1.1]),
        latency_during_ms=curve([1.2, 40.8, 1.3]),
        latency_after_ms=curve([1.1]),
    )
    probe = ProbeSummary(before_ms=1.1, during_ms=1.3, after_ms=1.1, longest_ms=40.8, probes=3)
    values = {
        "samples": 3,
        "max_blocked_sessions": 3,
        "longest_block_s": 0.9,
        "probe": probe,
        "series": series,
    }
    return MonitorSummary(**{**values, **changes})


class Nesting(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Nesting:
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []
    return nesting


FILLED = BackfillSeries(
    started_at=NOW, rows_per_s=curve([20_000.0, 0.0, 18_500.0]), latency_ms=curve([1.0, 1.4, 1.1])
)
REPORTS = {
    "renamed": run_report(operation="rename", monitor=None, backfill=FILLED),
    "succeeded": run_report(
        monitor=watched(),
        revisions=(RevisionTiming(revision="bbb2", duration_s=2.5, rehearsed_s=1.25),),
    ),
    "recovered": recovered_report(monitor=watched(), next_command="lockkeeper undo shop"),
    "needs a human": run_report(outcome=Outcome.NEEDS_HUMAN, error=HOSTILE, next_command=f"fix {HOSTILE}"),
    "not watched": run_report(monitor=None),
    "refused before its first step": run_report(outcome=Outcome.REFUSED, steps=(), revisions=(), checks=()),
    "hostile": run_report(
        target=HOSTILE, database=HOSTILE, warnings=(HOSTILE,), link="javascript:alert(1)",
        monitor=watched(blockers=(HOSTILE,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_page_is_well_formed_fetches_nothing_and_holds_no_secret(report: RunReport) -> None:
    page = html_report(report)
    read(page)
    assert SECRET not in page
    allowed = {'href="https://prefect.example/runs/1?a=1&amp;b=2"'}
    linked = set(re.findall(r'(?:src|href)="[^"#][^"]*"', page))
    assert linked <= allowed, "only the run's own address is linked, and nothing is fetched"
    assert not [found for found in FETCHING.findall(page) if found not in ("href=", "data=")]
    assert html_report(report) == page, "the same report gives the same page"


def test_names_are_shown_and_never_markup() -> None:
    nesting = read(html_report(REPORTS["hostile"]))
    assert "<b>x</b>" in nesting.text
    assert "\x1b" not in nesting.text


def test_the_verdict_comes_first_and_what_to_do_next_before_everything_else() -> None:
    text = read(html_report(REPORTS["recovered"])).text
    order = [
        "failed and was recovered",
        "lockkeeper undo shop",
        "rule broken",
        "writes refused for",
        "Recovery",
    ]
    places = [text.index(said) for said in order]
    assert places == sorted(places)


def test_the_rehearsal_stands_beside_what_production_took() -> None:
    page = html_report(REPORTS["succeeded"])
    assert "Prediction and reality" in page
    assert 'class="took" style="left:0;width:100.0%"' in page
    assert 'style="left:0;width:50.0%"' in page


def test_every_curve_has_its_picture_its_words_and_its_numbers() -> None:
    page = html_report(REPORTS["succeeded"])
    assert page.count('role="img"') == page.count("<figcaption>") == 5
    assert page.count("<line ") == 7, "the legend has a sample of every curve"
    assert (page.count('class="line'), page.count('class="dot reactive')) == (6, 1), "one has a single point"
    assert "during: 1.3 ms in the middle, 40.8 ms at most" in page
    assert page.count("<td>40.8</td>") == 1


def test_a_run_that_nobody_watched_has_no_empty_pictures() -> None:
    page = html_report(REPORTS["not watched"])
    assert "<svg" not in page
    assert "What the application felt" not in page


def test_a_renames_page_shows_rows_a_second_and_what_others_felt() -> None:
    said = read(html_report(REPORTS["renamed"])).text
    assert "18,500 rows/s in the middle, 20,000 rows/s at most" in said
    assert "Latency beside the backfill" in said
    unmeasured = FILLED.model_copy(update={"latency_ms": ()})
    assert "Latency beside" not in html_report(run_report(monitor=None, backfill=unmeasured))


def test_rows_a_second_are_those_between_two_looks_and_never_below_zero() -> None:
    keeper = BackfillKeeper(NOW)
    assert keeper.series() is None
    looks = ((1, 5_000, None), (2, 6_000, 2.5), (4, 6_500, None), (4, 6_600, None), (5, 6_100, 3.5))
    for second, rows, latency in looks:  # the first has rows of an earlier run in it; two are at one moment
        keeper.took(NOW + timedelta(seconds=second), rows, latency)
    series = keeper.series()
    assert series is not None
    assert series.rows_per_s == ((2.0, 1000.0), (4.0, 250.0), (5.0, 0.0))
    assert series.latency_ms == ((2.0, 2.5), (5.0, 3.5))


def test_a_long_series_keeps_its_peaks_in_bounded_memory() -> None:
    series = PeakSeries(most=100)
    for number in range(10_000):
        series.add(NOW + timedelta(seconds=number), 500.0 if number in (17, 5000, 9999) else 1.0)
        assert len(series._points) <= 101
    points = series.points(NOW, most=50)
    assert len(points) <= 50
    assert [at for at, value in points if value == 500.0] == [17.0, 5000.0, 9999.0]
