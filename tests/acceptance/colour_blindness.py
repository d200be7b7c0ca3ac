"""What somebody who is colour-blind sees of a page, and how far apart the colours of its curves are then.

Chromium simulates the deficiency itself (Emulation.setEmulatedVisionDeficiency of CDP), and the colours are
read off the picture that it paints, in the browser.
"""

from __future__ import annotations

import base64
import itertools
from typing import Any, NamedTuple

DICHROMACIES = ("protanopia", "deuteranopia", "tritanopia")
VISIONS = ("none", *DICHROMACIES, "achromatopsia")
Colour = tuple[int, int, int]
READ_PIXELS = """async ([picture, places]) => {
    const image = new Image();
    image.src = "data:image/png;base64," + picture;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width; canvas.height = image.height;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return places.map(([x, y]) => Array.from(context.getImageData(x, y, 1, 1).data).slice(0, 3));
}"""
CURVES = """figures => figures.map(figure => {
    const samples = Array.from(figure.querySelectorAll(".legend svg")).map(sample => {
        const box = sample.getBoundingClientRect();
        return [box.x + 1 + window.scrollX, box.y + box.height / 2 + window.scrollY];
    });
    const lines = Array.from(figure.querySelectorAll(".legend line"));
    return {
        name: figure.querySelector("figcaption").textContent,
        samples,
        dashes: lines.map(line => line.getAttribute("stroke-dasharray") || "none"),
        promised: lines.map(line => getComputedStyle(line).stroke),
        drawn: Array.from(figure.querySelectorAll(".series path.line")).map(
            line => getComputedStyle(line).stroke),
    };
})"""


class SeenCurves(NamedTuple):
    """The curves of one chart, as they are seen: in its legend a colour and a pattern of dashes each."""

    chart: str
    colours: list[Colour]
    dashes: list[str]
    paper: Colour
    is_drawn_as_promised: bool


def curves_seen(page: Any, vision: str) -> list[SeenCurves]:
    """Return the charts with several curves as they are painted for somebody with this vision."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
    picture = base64.b64encode(page.screenshot(full_page=True)).decode()
    found = [chart for chart in page.locator("figure").evaluate_all(CURVES) if len(chart["samples"]) > 1]
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    session.detach()
    reader = page.context.browser.new_page()  # the page itself allows no script
    seen = []
    for chart in found:
        pixels = reader.evaluate(READ_PIXELS, [picture, [*chart["samples"], [2, 2]]])
        *colours, paper = (tuple(pixel) for pixel in pixels)
        kept = bool(chart["drawn"]) and set(chart["drawn"]) <= set(chart["promised"])
        seen.append(SeenCurves(chart["name"], colours, chart["dashes"], paper, kept))
    reader.close()
    return seen


def closest(colours: list[Colour]) -> float:
    """Return the smallest distance of two of the colours, in CIE Lab (76): about 2 can just be noticed."""
    return min(
        sum((one - other) ** 2 for one, other in zip(_lab(a), _lab(b), strict=True)) ** 0.5
        for a, b in itertools.combinations(colours, 2)
    )


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of WCAG 2.2: 3 is asked of graphics."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _linear(colour: Colour) -> list[float]:
    shares = [channel / 255 for channel in colour]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def _luminance(colour: Colour) -> float:
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _lab(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = _linear(colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (
        value ** (1 / 3) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29
        for value in (x, y, z)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
