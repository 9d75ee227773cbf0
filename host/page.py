"""Pieces of a report: one HTML file that needs nothing else, light and dark, on a phone and on a desk.

Every piece is Markup; colours are classes that templates/report/base.html.j2 defines for both schemes.
Drawings stretch to the width they get, so that their lines are SVG and their words are HTML beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from synapcc.gen.emit import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.version import VERSION

from . import files

WIDTH, HEIGHT = 1000, 240  # of a chart's own coordinates
_WAVE = (150, 60)
_NAMED, _DRAWN = 0.06, 0.006
"""Shares of a strip from which on a piece has its name in it, and is drawn by itself."""

Number = float | int


@dataclass(frozen=True)
class Line:
    """A curve of a chart: points (x, y) in the chart's units; `tone` is a colour class."""

    label: str
    tone: str
    points: Sequence[tuple[Number, Number]]


@dataclass(frozen=True)
class Lane:
    """A row of ticks below a chart: places in the chart's units, and which of them are to stand out."""

    label: str
    tone: str
    places: Sequence[Number]
    bad: Sequence[bool]


@dataclass(frozen=True)
class Part:
    """A piece of a memory region; `tone` "free" is empty memory."""

    label: str
    tone: str
    bytes: int
    note: str = ""


def element(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """`<name attributes>children</name>`; text is escaped, Markup is not, and without children it closes."""
    given = "".join(f' {k}="{escape(v)}"' for k, v in (attributes or {}).items() if v is not None)
    if not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>") + Markup("").join(map(escape, children)) + Markup(f"</{name}>")


def _div(kind: str, *children: object, **attributes: object) -> Markup:
    return element("div", {"class": kind, **attributes}, *(children or ("",)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Markup:
    """A table that scrolls sideways where it is too wide; the first `left` columns hold words."""

    def cells(kind: str, row: Sequence[object]) -> Markup:
        return element(
            "tr", None, *(element(kind, {"class": None if i < left else "n"}, c) for i, c in enumerate(row))
        )

    top = element("thead", None, cells("th", head))
    return _div(
        "scroll", element("table", None, top, element("tbody", None, *(cells("td", r) for r in rows)))
    )


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> Markup:
    """Rows: annotated; columns: what the chip said. Shaded by the share of the row."""
    head = element("tr", None, element("th", None, ""), *(element("th", {"class": "n"}, c) for c in labels))
    rows = []
    for i, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        cells = []
        for j, count in enumerate(counts):
            share = round(100 * count / max(sum(counts), 1))
            kind = "n zero" if not count else "n good" if i == j else "n bad"
            style = f"--s:{share}%" if count else None
            cells.append(element("td", {"class": kind, "style": style}, count))
        rows.append(element("tr", None, element("th", None, label), *cells))
    body = element(
        "table", {"class": "confusion"}, element("thead", None, head), element("tbody", None, *rows)
    )
    return _div("matrix", element("h4", None, title), _div("scroll", body))


def chart(lines: Sequence[Line], lanes: Sequence[Lane], x: tuple[Number, Number], unit: str) -> Markup:
    """Curves of shares 0 to 1 over x, ticks by lane below, and a legend; `unit` names x."""
    low, high = x
    floor = _floor(min((p[1] for line in lines for p in line.points), default=0.0))

    def px(v: Number) -> float:
        return round(WIDTH * (v - low) / (high - low), 1)

    def py(v: Number) -> float:
        return round(HEIGHT * (1 - (v - floor) / (1 - floor)), 1)

    levels = [floor + (1 - floor) * i / 4 for i in range(5)]
    grid = [element("path", {"class": "grid", "d": f"M0 {py(v)}H{WIDTH}"}) for v in levels]
    curves = [
        element(
            "path",
            {
                "class": f"curve s-{line.tone}",
                "d": "M" + "L".join(f"{px(a)} {py(b)}" for a, b in line.points),
            },
        )
        for line in lines
        if line.points
    ]
    words = [
        element("span", {"style": f"top:{100 * i / 4:g}%"}, f"{100 * v:.0f} %")
        for i, v in enumerate(reversed(levels))
    ]
    picture = _svg((WIDTH, HEIGHT), "plot", *grid, *curves)
    rows = [_div("axis", *words), picture]
    for lane in lanes:
        rows += [_div("lane-name", lane.label), _lane(lane, px)]
    steps = range(math.ceil(low), math.floor(high) + 1)
    ticks = [element("span", {"style": f"left:{px(v) / WIDTH * 100:g}%"}, v) for v in steps]
    rows += [_div("unit", unit), _div("ticks", *ticks)]
    keys = [element("span", {"class": "key"}, _swatch(line.tone), line.label) for line in lines]
    return _div("chart", _div("plotgrid", *rows), _div("legend", *keys))


def _floor(least: float) -> float:
    """The lowest level shown: the whole scale unless all curves stay in its upper part."""
    return next(v for v in (0.8, 0.5, 0.0) if least >= v or v == 0.0)


def _lane(lane: Lane, px: Callable[[Number], float]) -> Markup:
    paths = []
    for wrong, top, tone in ((False, 9, lane.tone), (True, 2, "wrong")):
        places = [v for v, bad in zip(lane.places, lane.bad, strict=True) if bad == wrong]
        if places:
            d = "".join(f"M{px(v)} {top}V20" for v in places)
            paths.append(element("path", {"class": f"tick s-{tone}", "d": d}))
    return _svg((WIDTH, 22), "lane", *paths)


def _svg(size: tuple[int, int], kind: str, *children: object) -> Markup:
    box = {"class": kind, "viewBox": f"0 0 {size[0]} {size[1]}", "preserveAspectRatio": "none"}
    return element("svg", {**box, "aria-hidden": "true"}, *(children or ("",)))


def _swatch(tone: str) -> Markup:
    return element("i", {"class": f"swatch f-{tone}"}, "")


def wave(values: Sequence[Number], limit: float, tone: str) -> Markup:
    """A small drawing of a signal within -limit..limit."""
    width, height = _WAVE
    step = width / max(len(values) - 1, 1)
    points = (f"{i * step:.1f} {height / 2 * (1 - v / limit):.1f}" for i, v in enumerate(values))
    line = element("path", {"class": f"curve s-{tone}", "d": "M" + "L".join(points)})
    middle = element("path", {"class": "grid", "d": f"M0 {height / 2:g}H{width}"})
    return _svg(_WAVE, "wave", middle, line)


def strip(parts: Sequence[Part], title: str, kinds: Mapping[str, str] | None = None) -> Markup:
    """Memory to scale: one bar whose pieces are as wide as they are large, named where there is room.

    Pieces too small to see are drawn as one. `kinds`: what a colour means, by tone, for a legend.
    """
    total = max(sum(p.bytes for p in parts), 1)
    drawn = [p for p in parts if p.bytes >= _DRAWN * total]
    tiny = [p for p in parts if p not in drawn]
    drawn += [Part(f"{len(tiny)} small ones", "small", sum(p.bytes for p in tiny))] if tiny else []
    pieces = [
        _div(
            f"piece f-{p.tone}",
            element("span", None, p.label) if p.bytes >= _NAMED * total else "",
            style=f"flex:{p.bytes} 1 0",
            title=f"{p.label}: {p.bytes:,} bytes, {100 * p.bytes / total:.1f} %",
        )
        for p in drawn
    ]
    tones = {p.tone for p in drawn}
    keys = [element("span", {"class": "key"}, _swatch(t), k) for t, k in (kinds or {}).items() if t in tones]
    legend = _div("legend flush", *keys) if keys else ""
    return _div("memory", element("h4", None, title), _div("strip", *pieces), legend)


def part_table(parts: Sequence[Part]) -> Markup:
    """What a strip shows, with every name and size."""
    total = max(sum(p.bytes for p in parts), 1)
    rows = []
    for p in parts:
        name = element("span", {"class": "key"}, _swatch(p.tone), p.label)
        rows.append((name, p.note, f"{p.bytes:,}", f"{100 * p.bytes / total:.1f} %"))
    return table(["part", "what it is", "bytes", "share"], rows, left=2)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates" / "report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from templates/report; every value that is not Markup is escaped."""
    return _environment().get_template(template).render(version=VERSION, **context)


def check_target(path: Path) -> None:
    """Raises SynapccError where `write` could not write. Changes nothing."""
    if path.is_dir():
        raise SynapccError(str(path), "is a folder", "give the name of a file")
    files.check_target(next(p for p in path.absolute().parents if p.exists()) / path.name)


def write(path: Path, text: str) -> None:
    """Writes `text` whole or not at all, and makes the folder for it. Raises SynapccError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise SynapccError(str(path), what, "check the folder and its permissions") from None
    files.write_whole(path, text.encode())
