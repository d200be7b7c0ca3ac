"""The trend of the drills as a picture: an SVG in a data URI, which Markdown shows where raw SVG is stripped.

Pure: the same drills always give the same picture. A drill beyond the objective is a square, not only red.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from lockkeeper.models import DrillReport
from lockkeeper.reports import format_duration

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 240, 70, 20, 20, 36
_GOOD, _BAD, _LINE, _TEXT = "#1a7f37", "#cf222e", "#57606a", "#24292f"


def trend_chart(drills: Sequence[DrillReport]) -> str:
    """Return the predicted recovery times over the drills, oldest first, against the objective, as SVG."""
    top_s = 1.15 * max(max(one.predicted_recovery_s, one.objective_s) for one in drills)

    def y(seconds: float) -> float:
        return round(_HEIGHT - _BOTTOM - seconds / top_s * (_HEIGHT - _TOP - _BOTTOM), 1)

    step = (_WIDTH - _LEFT - _RIGHT) / max(len(drills) - 1, 1)
    points = [
        (round(_LEFT + number * step, 1), y(one.predicted_recovery_s)) for number, one in enumerate(drills)
    ]
    objective = drills[-1].objective_s
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_TEXT}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _line(_LEFT, y(0), _WIDTH - _RIGHT, y(0), _LINE),
        _line(_LEFT, y(objective), _WIDTH - _RIGHT, y(objective), _BAD, dashes="6 4"),
        _text(_LEFT - 6, y(0), "0 s", "end"),
        _text(_LEFT - 6, y(objective), format_duration(objective), "end"),
        _polyline(points),
        *(_dot(point, one) for point, one in zip(points, drills, strict=True)),
        _text(_LEFT, _HEIGHT - 12, f"{drills[0].started_at:%Y-%m-%d}", "start"),
        _text(_WIDTH - _RIGHT, _HEIGHT - 12, f"{drills[-1].started_at:%Y-%m-%d}", "end"),
        "</svg>",
    ]
    return "".join(parts)


def data_uri(svg: str) -> str:
    """Return a picture as Markdown's images take it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    joined = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{_LINE}"/>'


def _dot(point: tuple[float, float], drill: DrillReport) -> str:
    (x, y), title = point, f"{drill.started_at:%Y-%m-%d}: {format_duration(drill.predicted_recovery_s)}"
    if drill.within_objective:
        return f'<circle cx="{x}" cy="{y}" r="4" fill="{_GOOD}"><title>{title}</title></circle>'
    corner = f'x="{round(x - 5, 1)}" y="{round(y - 5, 1)}"'
    return f'<rect {corner} width="10" height="10" fill="{_BAD}"><title>{title}</title></rect>'
