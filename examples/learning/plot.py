"""The plot of docs/RESULTS.md: a file of SVG that stands alone, light and dark."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from synapcc.host.pages import charts
from synapcc.host.pages.html import element

from .page import Found
from .rows import DEEP_RULES, DEPTHS

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 640, 320, 56, 16, 48, 96
DASHES = {"fa": "2 4", "hebbian": "", "bp": "8 4"}
STYLE = """
text{font:13px system-ui,sans-serif;fill:#333}
path,circle{stroke:#333;fill:none;stroke-width:2}
line{stroke:#ddd}
.fa{stroke:#c2410c}.hebbian{stroke:#1d4ed8}.bp{stroke:#4d7c0f}
@media(prefers-color-scheme:dark){text{fill:#ddd}line{stroke:#444}.fa{stroke:#fb923c}.hebbian{stroke:#93c5fd}.bp{stroke:#a3e635}}
"""


def depth(found: Sequence[Found]) -> str:
    """Accuracy over depth, a curve a rule; each point a mean over seeds."""
    means = {(f.row.rule, f.row.depth): f.mean for f in found if f.row.depth}
    y = charts.axis(min(means.values()), max(means.values()), "%")
    x = charts.Axis(DEPTHS[0], DEPTHS[-1], DEPTHS)
    parts = [element("title", None, _told(means)), element("style", None, Markup(STYLE))]
    for v in y.ticks:
        at = _down(y, v)
        parts.append(element("line", {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": at, "y2": at}))
        parts.append(element("text", {"x": LEFT - 8, "y": at + 4, "text-anchor": "end"}, f"{y.show(v)} %"))
    for n in x.ticks:
        place = {"x": _along(x, n), "y": HEIGHT - BOTTOM + 20, "text-anchor": "middle"}
        parts.append(element("text", place, x.show(n)))
    middle = {"x": (LEFT + WIDTH - RIGHT) / 2, "y": HEIGHT - 8, "text-anchor": "middle"}
    parts.append(element("text", middle, "hidden layers of 100"))
    for rule in DEEP_RULES:
        points = [(_along(x, n), _down(y, means[rule, n])) for n in DEPTHS if (rule, n) in means]
        if points:
            d = "M" + "L".join(f"{a:g} {b:g}" for a, b in points)
            parts.append(element("path", {"class": rule, "d": d, "stroke-dasharray": DASHES[rule] or None}))
            parts += [element("circle", {"class": rule, "cx": a, "cy": b, "r": 3}) for a, b in points]
    parts += _names(means, y)
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return f"{element('svg', box, *parts)}\n"


def _names(means: dict[tuple[str, int], float], y: charts.Axis) -> list[Markup]:
    """Each rule beside its curve's end, at least a line apart."""
    ends = []
    for rule in DEEP_RULES:
        last = [n for n in DEPTHS if (rule, n) in means]
        if last:
            ends.append((_down(y, means[rule, last[-1]]), rule))
    out, free = [], 0.0
    for at, rule in sorted(ends):
        free = max(at, free + 16)
        out.append(element("text", {"x": WIDTH - RIGHT + 12, "y": free + 4}, rule))
    return out


def _told(means: dict[tuple[str, int], float]) -> str:
    """The plot in words."""
    curves = [
        f"{rule} " + ", ".join(f"{means[rule, n]:.2f} at {n}" for n in DEPTHS if (rule, n) in means)
        for rule in DEEP_RULES
    ]
    return f"Accuracy in percent by number of hidden layers: {'; '.join(curves)}"


def _along(x: charts.Axis, v: float) -> float:
    return LEFT + x.at(v) / 100 * (WIDTH - LEFT - RIGHT)


def _down(y: charts.Axis, v: float) -> float:
    return TOP + (100 - y.at(v)) / 100 * (HEIGHT - TOP - BOTTOM)
