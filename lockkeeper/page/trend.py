"""A target over many days as one page with pictures. Pure, and self-contained as the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from lockkeeper.page.charts import Chart
from lockkeeper.page.render import template


class Table(NamedTuple):
    """A table below the pictures."""

    heading: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class TrendPage(NamedTuple):
    """What is on the page."""

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    charts: Sequence[Chart]
    tables: Sequence[Table]


def trend_html(page: TrendPage) -> str:
    """Return the page: one file, with nothing in it that a browser would fetch."""
    # What pygal makes is well-formed XML: it escapes the names of tables in it.
    charts = [(chart, Markup(chart.svg)) for chart in page.charts]  # noqa: S704
    return template("trend").render(title=page.title, page=page, charts=charts)
