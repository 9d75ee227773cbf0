"""Curves of accuracy: as a file of SVG that stands alone, light and dark, or as a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from synapcc.gen.errors import SynapccError
from synapcc.host.pages import charts
from synapcc.host.pages.html import element

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 320, 56, 16, 48
STYLE = """
text{font:13px system-ui,sans-serif;fill:#333}
path,circle{stroke:#333;fill:none;stroke-width:2}
line{stroke:#ddd}
"""
DARK = "text{fill:#ddd}line{stroke:#444}"


@dataclass(frozen=True)
class Curve:
    """points: value in percent over x; light, dark: its colours; dashes: as SVG has them, "" is a line."""

    name: str
    points: Mapping[float, float]
    light: str
    dark: str
    dashes: str = ""


def drawn(curves: Sequence[Curve], ticks: Sequence[float], along: str, told: str, right: int) -> str:
    """The plot. ticks: of the x axis, along: what it says below them; told: the plot in words; right: room
    for the curves' names."""
    curves = [c for c in curves if c.points]
    values = [v for c in curves for v in c.points.values()]
    y, x = charts.axis(min(values), max(values), "%"), charts.Axis(ticks[0], ticks[-1], tuple(ticks))
    box = _Box(x, y, right)
    parts = [element("title", None, told), element("style", None, Markup(_style(curves)))]
    for v in y.ticks:
        at = box.down(v)
        parts.append(element("line", {"x1": LEFT, "x2": WIDTH - right, "y1": at, "y2": at}))
        parts.append(element("text", {"x": LEFT - 8, "y": at + 4, "text-anchor": "end"}, f"{y.show(v)} %"))
    for n in x.ticks:
        place = {"x": box.along(n), "y": HEIGHT - BOTTOM + 20, "text-anchor": "middle"}
        parts.append(element("text", place, x.show(n)))
    middle = {"x": (LEFT + WIDTH - right) / 2, "y": HEIGHT - 8, "text-anchor": "middle"}
    parts.append(element("text", middle, along))
    for i, curve in enumerate(curves):
        points = [(box.along(n), box.down(v)) for n, v in sorted(curve.points.items())]
        d = "M" + "L".join(f"{a:g} {b:g}" for a, b in points)
        parts.append(element("path", {"class": _class(i), "d": d, "stroke-dasharray": curve.dashes or None}))
        parts += [element("circle", {"class": _class(i), "cx": a, "cy": b, "r": 3}) for a, b in points]
    parts += _names(curves, box)
    frame = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return f"{element('svg', frame, *parts)}\n"


def figure(curves: Sequence[Curve], ticks: Sequence[float], along: str) -> Any:
    """The same curves as a matplotlib.figure.Figure, which a notebook shows and `savefig` writes; it takes no
    part in pyplot. ticks, along: of the x axis, as in `drawn`. Raises SynapccError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        hint = "pip install 'synapcc[notebook]'"
        raise SynapccError("figure", "the Python package matplotlib is missing", hint) from None
    made = Figure(figsize=(WIDTH / 100, HEIGHT / 100), layout="constrained")
    axes = made.subplots()
    for curve in (c for c in curves if c.points):
        x, y = zip(*sorted(curve.points.items()), strict=True)
        line = (0, tuple(map(float, curve.dashes.split()))) if curve.dashes else "solid"
        axes.plot(x, y, marker="o", markersize=4, color=curve.light, linestyle=line, label=curve.name)
    axes.set_xticks(list(ticks))
    axes.set_xlabel(along)
    axes.set_ylabel("accuracy, %")
    axes.grid(visible=True, axis="y", color="#ddd")
    axes.legend(frameon=False)
    return made


@dataclass(frozen=True)
class _Box:
    """Where values lie on the picture."""

    x: charts.Axis
    y: charts.Axis
    right: int

    def along(self, v: float) -> float:
        return LEFT + self.x.at(v) / 100 * (WIDTH - LEFT - self.right)

    def down(self, v: float) -> float:
        return TOP + (100 - self.y.at(v)) / 100 * (HEIGHT - TOP - BOTTOM)


def _class(i: int) -> str:
    return f"c{i}"


def _style(curves: Sequence[Curve]) -> str:
    light, dark = (
        "".join(f".{_class(i)}{{stroke:{getattr(c, which)}}}" for i, c in enumerate(curves))
        for which in ("light", "dark")
    )
    return f"{STYLE}{light}\n@media(prefers-color-scheme:dark){{{DARK}{dark}}}\n"


def _names(curves: Sequence[Curve], box: _Box) -> list[Markup]:
    """Each curve's name beside its end, at least a line apart."""
    ends = sorted((box.down(c.points[max(c.points)]), c.name) for c in curves)
    out, free = [], 0.0
    for at, name in ends:
        free = max(at, free + 16)
        out.append(element("text", {"x": WIDTH - box.right + 12, "y": free + 4}, name))
    return out
