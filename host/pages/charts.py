"""Charts for a report page: curves and rows of marks. SVG of our own, words as HTML beside it.

Places are percentages of the width a drawing gets, so that words, dots and lines keep their size on a phone
and on a desk. Every drawing has a title that a screen reader says and a pointer shows; colours are classes
("tones") that templates/report/base.html.j2 defines, and no two curves differ by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .html import Number, breakable, div, element, legend, swatch

WIDTH, HEIGHT = 1000, 240  # of the coordinates of a curve, which stretch
SERIES = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
"""Tones of curves, in the order in which they are given out."""
_WAVE = (150, 60)


def plain(v: Number) -> str:
    """A number as a tick or a value shows it: thousands apart, no needless digits."""
    return f"{v:,.0f}" if float(v).is_integer() else f"{v:,.4g}"


def percent(v: Number) -> str:
    """A share in percent, its sign never on a line of its own."""
    return f"{100 * v:.3g}\u00a0%"


def share(part: Number, whole: Number) -> str:
    """A part in percent; what is too small to be read is said to be so."""
    v = 100 * part / whole if whole else 0.0
    return "<0.1\u00a0%" if 0 < v < 0.1 else f"{v:.1f}\u00a0%"


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `ticks` lie between. `show` writes a tick."""

    low: Number
    high: Number
    ticks: tuple[Number, ...]
    unit: str = ""
    show: Callable[[Number], str] = plain

    def at(self, v: Number) -> float:
        """The place of v in percent of the axis; what lies outside is put at its end."""
        share = (v - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 3)


def axis(
    low: Number,
    high: Number,
    unit: str = "",
    show: Callable[[Number], str] = plain,
    count: int = 5,
    exact: bool = False,
) -> Axis:
    """An axis with about `count` ticks at 1, 2, 2.5 or 5 times a power of ten, stretched to whole ticks.

    exact: not stretched.
    """
    high = high if high > low else low + 1
    step = nice_step((high - low) / count)
    first, last = low / step, high / step
    bottom = math.ceil(first - 1e-9) if exact else math.floor(first + 1e-9)
    top = math.floor(last + 1e-9) if exact else math.ceil(last - 1e-9)
    ticks = tuple(_round(i * step) for i in range(bottom, top + 1))
    return Axis(low, high, ticks, unit, show) if exact else Axis(ticks[0], ticks[-1], ticks, unit, show)


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `least` (> 0)."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def _round(v: float) -> Number:
    v = float(f"{v:.12g}")
    return int(v) if v.is_integer() else v


def shares(least: Number) -> Axis:
    """Shares in percent up to all of them: the whole scale unless everything lies in its upper part."""
    floor = next(v for v in (0.8, 0.5, 0.0) if least >= v or v == 0.0)
    return Axis(floor, 1.0, tuple(_round(floor + (1 - floor) * i / 4) for i in range(5)), "", percent)


def svg(kind: str, told: str, *children: object, detail: str = "") -> Markup:
    """A drawing whose places are percentages. `told` is its title, `detail` its description."""
    heads = [element("title", None, told)] + ([element("desc", None, detail)] if detail else [])
    return element("svg", {"class": kind, "role": "img"}, *heads, *children)


def _ticks(x: Axis) -> Markup:
    """The words under a horizontal axis. The first and the last stay within its width."""
    words = []
    for v in x.ticks:
        at = x.at(v)
        kind = "first" if at < 4 else "last" if at > 96 else None
        words.append(element("span", {"class": kind, "style": f"left:{at:g}%"}, x.show(v)))
    return div("ticks", *words)


def levels(y: Axis) -> Markup:
    """The words beside a vertical axis."""
    return div("axis", *(element("span", {"style": f"top:{100 - y.at(v):g}%"}, y.show(v)) for v in y.ticks))


def grid(y: Axis) -> list[Markup]:
    """Lines at the ticks of a vertical axis."""
    places = [f"{100 - y.at(v):g}%" for v in y.ticks]
    return [element("line", {"class": "grid", "x1": 0, "x2": "100%", "y1": p, "y2": p}) for p in places]


def figure(title: str, *parts: object) -> Markup:
    """A chart under its title."""
    caption = [element("figcaption", None, title)] if title else []
    return element("figure", {"class": "chart"}, *caption, *parts)


# ---- curves -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A curve: points (x, y) in the chart's units; `tone` is a colour class. `dots` marks each point."""

    label: str
    tone: str
    points: Sequence[tuple[Number, Number]]
    dots: bool = False


@dataclass(frozen=True)
class Lane:
    """A row of ticks below a chart: places in the chart's units, and which of them are to stand out."""

    label: str
    tone: str
    places: Sequence[Number]
    bad: Sequence[bool]


@dataclass(frozen=True)
class Reference:
    """A dashed line at a value that others reached."""

    label: str
    at: Number
    tone: str = "ink"


def chart(
    lines: Sequence[Line],
    lanes: Sequence[Lane],
    x: Axis,
    y: Axis,
    title: str = "",
    told: str = "",
    references: Sequence[Reference] = (),
) -> Markup:
    """Curves over x, ticks by lane below, and a legend. `told`: the drawing in words."""
    curves: list[Markup] = []
    for i, line in enumerate(lines):
        if line.points:
            d = "M" + "L".join(f"{x.at(a) * WIDTH / 100:.1f} {_down(y, b)}" for a, b in line.points)
            curves.append(element("path", {"class": f"curve s-{line.tone} dash{i % 4}", "d": d}))
    for r in references:
        curves.append(element("path", {"class": f"ref s-{r.tone}", "d": f"M0 {_down(y, r.at)}H{WIDTH}"}))
    stretched = element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "preserveAspectRatio": "none",
            "width": "100%",
            "height": "100%",
        },
        *(curves or ("",)),
    )
    dots = [
        element(
            "circle",
            {"class": f"fs-{line.tone}", "cx": f"{x.at(a):g}%", "cy": f"{100 - y.at(b):g}%", "r": 4},
            element("title", None, f"{line.label}: {x.show(a)} {x.unit}: {y.show(b)}"),
        )
        for line in lines
        if line.dots
        for a, b in line.points
    ]
    names = ", ".join(line.label for line in lines)
    rows = [levels(y), svg("plot", told or f"{title or 'curves'}: {names}", *grid(y), stretched, *dots)]
    for lane in lanes:
        rows += [div("lane-name", lane.label), _lane(lane, x)]
    rows += [div("unit", x.unit), _ticks(x)]
    keys: list[tuple[object, object]] = [
        (_dash(line.tone, f"dash{i % 4}"), line.label) for i, line in enumerate(lines)
    ]
    keys += [(_dash(r.tone, "ref"), r.label) for r in references]
    return figure(title, div("plotgrid", *rows), legend(keys))


def _down(y: Axis, v: Number) -> str:
    return f"{(100 - y.at(v)) * HEIGHT / 100:.1f}"


def _dash(tone: str, kind: str) -> Markup:
    """A short piece of a curve, for the legend."""
    line = element(
        "line", {"class": f"curve s-{tone} {kind}", "x1": 0, "x2": "100%", "y1": "50%", "y2": "50%"}
    )
    return element("svg", {"class": "dash", "aria-hidden": "true"}, line)


def _lane(lane: Lane, x: Axis) -> Markup:
    paths = []
    for wrong, top, tone in ((False, 9, lane.tone), (True, 2, "wrong")):
        places = [v for v, bad in zip(lane.places, lane.bad, strict=True) if bad == wrong]
        if places:
            d = "".join(f"M{x.at(v) * WIDTH / 100:.1f} {top}V20" for v in places)
            paths.append(element("path", {"class": f"tick s-{tone}", "d": d}))
    told = f"{lane.label}: {len(lane.places)}, of which {sum(lane.bad)} stand out"
    box = {"class": "lane", "viewBox": f"0 0 {WIDTH} 22", "preserveAspectRatio": "none", "role": "img"}
    return element("svg", box, element("title", None, told), *paths)


def wave(values: Sequence[Number], limit: float, tone: str) -> Markup:
    """A small drawing of a signal within -limit..limit."""
    width, height = _WAVE
    step = width / max(len(values) - 1, 1)
    points = (f"{i * step:.1f} {height / 2 * (1 - v / limit):.1f}" for i, v in enumerate(values))
    line = element("path", {"class": f"curve s-{tone}", "d": "M" + "L".join(points)})
    middle = element("path", {"class": "grid", "d": f"M0 {height / 2:g}H{width}"})
    box = {"class": "wave", "viewBox": f"0 0 {width} {height}", "preserveAspectRatio": "none"}
    return element("svg", {**box, "aria-hidden": "true"}, middle, line)


# ---- rows of marks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """Something in a row: a bar, track or link from `at` to `to`, or a dot, ring or stroke at `at`."""

    kind: str
    tone: str
    at: Number
    to: Number = 0


@dataclass(frozen=True)
class Row:
    """A row: its name, its marks, and what they say in figures."""

    label: object
    marks: Sequence[Mark]
    value: object
    told: str = ""


def rows(
    lines: Sequence[Row],
    x: Axis,
    title: str = "",
    keys: Mapping[str, str] | None = None,
    references: Sequence[Reference] = (),
    key: str = "bar",
) -> Markup:
    """Rows of marks on one axis. `keys`: what a colour means, by tone, for a legend of `key` marks."""
    upright = [
        element("line", {"class": "grid", "x1": p, "x2": p, "y1": 0, "y2": "100%"})
        for p in (f"{x.at(v):g}%" for v in x.ticks)
    ]
    across = [
        element("line", {"class": f"ref s-{r.tone}", "x1": p, "x2": p, "y1": 0, "y2": "100%"})
        for r, p in ((r, f"{x.at(r.at):g}%") for r in references)
    ]
    out = []
    for row in lines:
        marks = [_MARKS[m.kind](m, x) for m in row.marks]
        drawing = svg("marks", row.told or f"{row.label}: {row.value}", *upright, *marks, *across)
        label, value = (
            element("span", {"class": k}, v)
            for k, v in (("what", breakable(row.label)), ("value", row.value))
        )
        out.append(div("row", label, drawing, value))
    foot = div("row foot", element("span", {"class": "unit"}, x.unit), _ticks(x), element("span", None, ""))
    marks_of: list[tuple[object, object]] = [(_key(key, t), k) for t, k in (keys or {}).items()]
    marks_of += [(_dash(r.tone, "ref"), r.label) for r in references]
    return figure(title, legend(marks_of) if marks_of else "", div("rows", *out, foot))


def dots(keys: Mapping[str, str]) -> Markup:
    """A legend of dots that stands for several charts: meaning by tone."""
    return legend([(_key("dot", tone), what) for tone, what in keys.items()])


def _key(kind: str, tone: str) -> Markup:
    if kind == "bar":
        return swatch(tone)
    spot = {"class": f"{'ring' if kind == 'ring' else 'fs'}-{tone}", "cx": "50%", "cy": "50%", "r": 5}
    return element("svg", {"class": "spot", "aria-hidden": "true"}, element("circle", spot))


def _bar(m: Mark, x: Axis) -> Markup:
    a, b = sorted((x.at(m.at), x.at(m.to)))
    place = {"x": f"{a:g}%", "width": f"{b - a:g}%", "y": "22%", "height": "56%"}
    return element("rect", {"class": f"fs-{m.tone}", **place})


def _track(m: Mark, x: Axis) -> Markup:
    a, b = sorted((x.at(m.at), x.at(m.to)))
    place = {"x": f"{a:g}%", "width": f"{b - a:g}%", "y": "8%", "height": "84%"}
    return element("rect", {"class": f"fs-{m.tone}", **place})


def _link(m: Mark, x: Axis) -> Markup:
    place = {"x1": f"{x.at(m.at):g}%", "x2": f"{x.at(m.to):g}%", "y1": "50%", "y2": "50%"}
    return element("line", {"class": f"link s-{m.tone}", **place})


def _dot(m: Mark, x: Axis) -> Markup:
    return element("circle", {"class": f"fs-{m.tone}", "cx": f"{x.at(m.at):g}%", "cy": "50%", "r": 5})


def _ring(m: Mark, x: Axis) -> Markup:
    return element("circle", {"class": f"ring-{m.tone}", "cx": f"{x.at(m.at):g}%", "cy": "50%", "r": 4.5})


def _stroke(m: Mark, x: Axis) -> Markup:
    p = f"{x.at(m.at):g}%"
    return element("line", {"class": f"stroke s-{m.tone}", "x1": p, "x2": p, "y1": "8%", "y2": "92%"})


_MARKS: Mapping[str, Callable[[Mark, Axis], Markup]] = {
    "bar": _bar,
    "track": _track,
    "link": _link,
    "dot": _dot,
    "ring": _ring,
    "stroke": _stroke,
}


def stacked(parts: Sequence[tuple[str, Number]]) -> list[Mark]:
    """Bars one behind the other: (tone, length) each."""
    marks, at = [], 0.0
    for tone, length in parts:
        if length:
            marks.append(Mark("bar", tone, at, at + length))
        at += length
    return marks
