"""Curves over time as SVG to be put into a page, by pygal; without its scripts, which would be fetched.

Curves differ by their dashes too, not by colour alone; the colours are Okabe and Ito's, which colour-blind
people tell apart (Okabe, Ito: Color Universal Design, 2008). The legend is the page's own: pygal's shows no
dashes, paints its samples pale, and is cut off below a chart without a title.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pygal
from pygal import PluginImportFixer
from pygal.style import Style

from lockkeeper.measured import BackfillSeries, ImpactSeries, Point

# pygal finds plug-ins by a hook of a kind that Python 3.11 warns of at every later import and 3.12 ignores.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, PluginImportFixer)]

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
DATA_ROWS = 30
_SVG = "{http://www.w3.org/2000/svg}"
_DASHES = {BLUE: "7,4", VERMILION: "", GREEN: "14,4,2,4"}
"""The guides behind the curves are dots."""


class Curve(NamedTuple):
    """One curve as the legend has it: how it is drawn, and what it says in words."""

    name: str
    colour: str
    dashes: str
    extent: str


class Chart(NamedTuple):
    """A picture, what it says in words, and the numbers behind it."""

    title: str
    curves: tuple[Curve, ...]
    svg: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Axis(NamedTuple):
    """What is drawn from left to right, and how a place on it is written."""

    title: str
    column: str
    written: Callable[[float], str]


SECONDS = Axis("seconds", "second", lambda at: f"{at:,.0f}" if at == int(at) else f"{at:.1f}")


def chart_over_days(
    title: str, unit: str, since: datetime, curves: Mapping[str, Sequence[Point]]
) -> Chart | None:
    """Draw up to three curves, the first of them solid, whose points are days after ``since`` and value.

    None when no curve has two points: nothing has changed that could be seen.
    """
    days = Axis("", "day", lambda at: f"{since + timedelta(days=at):%m-%d %H:%M}")
    styled = dict(zip(curves, zip((VERMILION, BLUE, GREEN), curves.values(), strict=False), strict=False))
    longest = max((len(points) for points in curves.values()), default=0)
    return _chart(title, unit, styled, days) if longest > 1 else None


def impact_charts(series: ImpactSeries) -> list[Chart]:
    """Return the curves of a run that have something to show."""
    charts = []
    latency = {
        "before": (BLUE, series.latency_before_ms),
        "during": (VERMILION, series.latency_during_ms),
        "after": (GREEN, series.latency_after_ms),
    }
    if series.latency_during_ms:
        charts.append(_chart("Latency of the probe query", "ms", latency))
    if series.blocked_sessions:
        charts.append(
            _chart(
                "Sessions that the migration blocked", "sessions", _one("blocked", series.blocked_sessions)
            )
        )
        charts.append(
            _chart("Longest wait for one of its locks", "s", _one("longest wait", series.longest_wait_s))
        )
        charts.append(_chart("Active sessions", "sessions", _one("active", series.active_sessions)))
    if len(series.size_bytes) > 1:
        megabytes = tuple((at, size / 1e6) for at, size in series.size_bytes)
        charts.append(_chart("Size of the database", "MB", _one("size", megabytes)))
    return charts


def backfill_charts(series: BackfillSeries) -> list[Chart]:
    """Return the curves of a rename's backfill."""
    charts = [_chart("Rows filled", "rows/s", _one("filled", series.rows_per_s))]
    if series.latency_ms:
        charts.append(_chart("Latency beside the backfill", "ms", _one("probe query", series.latency_ms)))
    return charts


def _one(name: str, points: Sequence[Point]) -> dict[str, tuple[str, Sequence[Point]]]:
    return {name: (VERMILION, points)}


def _chart(
    title: str, unit: str, curves: Mapping[str, tuple[str, Sequence[Point]]], axis: Axis = SECONDS
) -> Chart:
    shown = {name: (colour, points) for name, (colour, points) in curves.items() if points}
    legend = tuple(
        Curve(name, colour, _DASHES[colour], _extent(points, unit))
        for name, (colour, points) in shown.items()
    )
    svg = _svg(title, unit, shown, axis)
    return Chart(title, legend, svg, ("", axis.column, unit), tuple(_rows(shown, axis)))


def _extent(points: Sequence[Point], unit: str) -> str:
    values = sorted(value for _, value in points)
    middle, highest = values[len(values) // 2], values[-1]
    return f"{_number(middle)} {unit} in the middle, {_number(highest)} {unit} at most"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def _rows(curves: Mapping[str, tuple[str, Sequence[Point]]], axis: Axis) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, (_, points) in curves.items():
        step = -(-len(points) // DATA_ROWS)
        rows += [(name, axis.written(at), _number(value)) for at, value in points[::step]]
    return rows


def _svg(title: str, unit: str, curves: Mapping[str, tuple[str, Sequence[Point]]], axis: Axis) -> str:
    chart = pygal.XY(
        style=Style(
            background="transparent", plot_background="transparent", foreground="currentColor",
            foreground_strong="currentColor", foreground_subtle="currentColor",
            colors=tuple(colour for colour, _ in curves.values()), font_family="inherit",
            label_font_size=13, major_label_font_size=13, title_font_size=14,
            guide_stroke_dasharray="1,4",
            major_guide_stroke_dasharray="1,4", guide_stroke_color="#808080", stroke_width="2.5",
            major_guide_stroke_color="#808080", stroke_width_hover="2.5", opacity=".3", opacity_hover=".4",
            stroke_opacity="1", transition="0s",
        ),
        js=(), width=900, height=260, explicit_size=False, disable_xml_declaration=True, show_dots=False,
        include_x_axis=True, range=_range(curves), show_legend=False, max_scale=6,
        x_title=axis.title or None, y_title=unit, fill=len(curves) == 1, x_labels_major_count=8,
        show_minor_x_labels=False, margin=8, margin_right=44, value_formatter=_number,
        x_value_formatter=axis.written, no_data_text="nothing was measured",
    )  # fmt: skip
    chart.uuid = re.sub(r"\W+", "-", title).lower()  # else a random one: the same run gives the same page
    for name, (colour, points) in curves.items():
        stroke = {"width": 2.5, "dasharray": _DASHES[colour]}
        # A single point has no line.
        chart.add(name, [tuple(point) for point in points], stroke_style=stroke, show_dots=len(points) == 1)
    return _for_a_page(chart.render_tree(), title)


def _range(curves: Mapping[str, tuple[str, Sequence[Point]]]) -> tuple[float, float]:
    highest = max(value for _, points in curves.values() for _, value in points)
    return 0.0, highest if highest > 0 else 1.0


def _for_a_page(tree: Any, title: str) -> str:
    """Take scripts and comments out, and name the picture for those who cannot see it."""
    for parent in tree.iter():
        for child in list(parent):
            if child.tag is ElementTree.Comment or str(child.tag).removeprefix(_SVG) == "script":
                parent.remove(child)
    tree.set("role", "img")
    tree.set("aria-label", title)
    return ElementTree.tostring(tree, encoding="unicode")
