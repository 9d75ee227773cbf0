"""The arena over time: a memory map of each entry program, its steps, and who lives where when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.html import div, element, legend

from .peak import maker, why
from .tones import MEANS, TONES

MAP_PIXELS = 340  # height of a memory map, as the style sheet has it
_NAMED = 13 / MAP_PIXELS  # share of the height from which on a block has its name in it
_MOST_LABELS = 24  # numbered columns of a map, at most


@dataclass(frozen=True)
class Block:
    """A tensor in a memory map: columns [start, end), bytes [low, high)."""

    label: str
    tone: str
    start: float
    end: float
    low: int
    high: int
    told: str


def memory_map(
    blocks: Sequence[Block],
    columns: Sequence[str],
    size: int,
    title: str,
    keys: Mapping[str, str],
    detail: str,
) -> Markup:
    """Bytes upwards, steps to the right: which block lies where when. `columns`: the group of each step."""
    y, n = charts.axis(0, max(size, 1), exact=True), max(len(columns), 1)
    drawn, names = [], []
    for b in blocks:
        left, right = 100 * b.start / n, 100 * b.end / n
        bottom, top = y.at(b.low), y.at(b.high)
        place = (left, 100 - top, right - left, top - bottom)
        box = dict(zip(("x", "y", "width", "height"), (f"{v:.3f}%" for v in place), strict=True))
        drawn.append(element("rect", {"class": f"block b-{b.tone}", **box}, element("title", None, b.told)))
        if (top - bottom) / 100 >= _NAMED:
            style = ";".join(
                f"{k}:{v:.3f}%" for k, v in zip(("left", "top", "width", "height"), place, strict=True)
            )
            names.append(div("blockname", element("span", None, b.label), style=style))
    picture = div("over", charts.svg("plot map", title, *charts.grid(y), *drawn, detail=detail), *names)
    each = -(-n // _MOST_LABELS)
    numbers = [
        element("span", {"style": f"left:{100 * (i + 0.5) / n:.3f}%"}, i + 1) for i in range(0, n, each)
    ]
    parts = [
        *(charts.levels(y), picture),
        *(div("lane-name", ""), _groups(columns)),
        *(div("unit", "step"), div("ticks mid", *numbers)),
    ]
    wide = f"min-width:{min(3.7 + 1.05 * n, 60):g}rem"
    used = {b.tone for b in blocks}
    keyed = legend([(element("i", {"class": f"swatch b-{t}"}, ""), k) for t, k in keys.items() if t in used])
    return charts.figure(title, keyed, html.scroll(div("plotgrid", *parts, style=wide), title))


def _groups(columns: Sequence[str]) -> Markup:
    """A band that names runs of equal columns."""
    runs: list[tuple[str, int]] = []
    for name in columns:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return div(
        "band",
        *(
            element("span", {"style": f"flex:{n} 1 0", "title": f"{name}: {n} steps"}, name)
            for name, n in runs
        ),
    )


def view(report: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of one entry program, a line of the report's `timeline`."""
    tensors = {t["tensor"]: t for t in report["tensors"]}
    steps, size = line["steps"], report["memory"]["arena"]
    each = [(tensors[a["tensor"]], *span) for a in line["arena"] for span in a["spans"]]
    ended, begun = _halves([(t["offset"], t["offset"] + t["bytes"], *span) for t, *span in each])
    blocks, lives = [], []
    for i, (t, first, last) in enumerate(each):
        low, high = t["offset"], t["offset"] + t["bytes"]
        where = f"{low:,} to {high - 1:,}"
        when = f"step {first + 1}" if first == last else f"steps {first + 1} to {last + 1}"
        told = f"{t['tensor']}: bytes {where}, {when}"
        start, end = first + 0.5 * (i in begun), last + 1.0 - 0.5 * (i in ended)
        blocks.append(Block(t["tensor"], TONES[t["kind"]], start, end, low, high, told))
        lives.append([html.keyed(TONES[t["kind"]], t["tensor"]), t["dtype"], where, f"{t['bytes']:,}", when])
    most = next((p for p in report["peaks"] if p["program"] == line["program"]), None)
    columns = [s["program"] for s in steps]
    detail = "; ".join(b.told for b in blocks)
    title = f"Arena during {line['program']}: {size:,} bytes over {len(steps)} steps"
    return {
        "program": line["program"],
        "steps": len(steps),
        "most": most,
        "why": _why(most["tensors"]) if most else "",
        "map": memory_map(blocks, columns, size, title, MEANS, detail),
        "lives": html.table(["tensor", "type", "bytes of the arena", "size", "lives"], lives, left=3),
        "table": _steps(steps),
    }


def _halves(spans: Sequence[tuple[int, int, int, int]]) -> tuple[set[int], set[int]]:
    """Numbers of spans (low, high, first, last) of which one ends and one begins in the middle of a step: the
    operand and the result of a step that writes over what it reads share its column."""
    ended, begun = set(), set()
    for i, (low, high, first, last) in enumerate(spans):
        for j, (other_low, other_high, begins, ends) in enumerate(spans):
            if (
                last == begins
                and low < other_high
                and other_low < high
                and (first, last, i) < (begins, ends, j)
            ):
                ended.add(i)
                begun.add(j)
    return ended, begun


def _why(tensors: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [[t["tensor"], t["dtype"], f"{t['bytes']:,}", maker(t), why(t)] for t in tensors]
    return html.table(["tensor", "type", "size", "made by", "why it lies there"], rows, left=2)


def _steps(steps: Sequence[Mapping[str, Any]]) -> Markup:
    rows = []
    for i, s in enumerate(steps, 1):
        times = f"×{s['times']:,}" if s["times"] > 1 else ""
        macs = f"{s['macs']:,}" if s["macs"] else ""
        rows.append([i, s["program"], s["node"], s["kernel"], times, macs, f"{s['bytes']:,}"])
    return html.table(
        ["step", "program", "layer", "kernel", "times", "MACs", "arena bytes alive"], rows, left=4
    )
