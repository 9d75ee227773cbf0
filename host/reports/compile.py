"""The page of a compilation, from report.json alone: what fits where, who lives when, what numbers hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.host import charts, page
from synapcc.host.charts import Block, Mark, Row, percent
from synapcc.host.page import Part

Report = Mapping[str, Any]

TONES = {
    "weights": "weight",
    "feedback": "feedback",
    "samples": "store",
    "activations": "arena",
    "teaching": "teach",
    "other": "small",
}
_MEANS = {
    "weight": "weights and biases",
    "feedback": "feedback matrices",
    "store": "stored samples",
    "arena": "activations",
    "teach": "teaching signals",
    "small": "tables, counters, all else",
}
_REGIONS = _MEANS | {
    "arena": "arena",
    "code": "code, at least",
    "link": "link and firmware, at least",
    "stack": "stack",
    "small": "tables, counters, all else",
}
_SUMS_SHOWN = 12
_LOW_AGREEMENT, _MUCH_CLIPPED = 0.98, 0.01
"""From where on a figure of the calibration is pointed at."""


def compile_html(report: Report) -> str:
    """The page; `report` is what host.report.measure gives."""
    return page.render(
        "compile.html.j2",
        {
            "r": report,
            "cards": _cards(report),
            "warnings": warnings(report),
            "fullest": max(report["proofs"], key=lambda p: p["used"], default=None),
            "macs": {p["program"]: p["macs"] for p in report["programs"]},
            "board": _board(report),
            "strips": _strips(report),
            "tensors": _tensors(report),
            "layers": _layers(report),
            "maps": [_map(report, line) for line in report["timeline"]],
            "ranges": _ranges(report),
            "errors": _errors(report),
            "sums": _sums(report),
            "learning": _learning(report),
            "work": [_work(line) for line in report["timeline"][:2]],
            "costs": _costs(report),
            # JSON sorts its keys: no page may depend on an order that a file would not keep.
            "rule": sorted(report["rule"].items(), key=lambda item: (item[0] != "rule", item[0])),
        },
    )


def warnings(report: Report) -> list[str]:
    """What of the calibration deserves a look, a sentence each."""
    out = []
    agree = report["calibration"]["same_class_as_float"]
    if agree < _LOW_AGREEMENT:
        out.append(
            f"Only {percent(agree)} of the calibration samples get the class of the float network. "
            "Look at the layer with the largest error below, and at the range of the inputs."
        )
    for x in report["ranges"]:
        if x["clipped"] > _MUCH_CLIPPED and not x["shares"]:
            out.append(
                f"{x['tensor']}: {percent(x['clipped'])} of the values seen are beyond what {x['q']} holds."
            )
    return out


def _cards(report: Report) -> list[dict[str, Any]]:
    memory, cards = report["memory"], []
    if report["budget"]:
        for name, title in (("flash", "Flash"), ("ram", "RAM")):
            b = report["budget"][name]
            cards.append(
                _card(title, f"{b['needs']:,}", f"bytes at least, of {b['size']:,}", b["needs"] / b["size"])
            )
    else:
        flash = memory["constants"] + memory["initial_state"]
        cards.append(_card("Flash", f"{flash:,}", "bytes of tensors", None))
        cards.append(_card("RAM", f"{memory['state'] + memory['arena']:,}", "bytes of state and arena", None))
    for p in report["programs"][:2]:
        cards.append(_card(p["program"], f"{p['macs']:,}", "multiply-accumulates at most", None))
    agree = report["calibration"]["same_class_as_float"]
    seen = f"of {report['calibration']['samples']:,} samples: the class of the float network"
    cards.append(_card("Integer = float", percent(agree), seen, agree))
    return cards


def _card(title: str, figure: str, what: str, share: float | None) -> dict[str, Any]:
    return {"title": title, "figure": figure, "what": what, "share": share}


# ---- memory -------------------------------------------------------------------------------------------


def _board(report: Report) -> Markup:
    """Flash and RAM as shares of the board's."""
    if not report["budget"]:
        return Markup("")
    flash, ram = report["budget"]["flash"], report["budget"]["ram"]
    lines = []
    for name, b, parts in (
        ("flash", flash, [("weight", flash["tensors"]), ("code", flash["code"])]),
        (
            "RAM",
            ram,
            [
                ("weight", ram["state"]),
                ("arena", ram["arena"]),
                ("link", ram["firmware"]),
                ("stack", ram["stack"]),
            ],
        ),
    ):
        marks = charts.stacked([(tone, size / b["size"]) for tone, size in parts])
        used = f"{b['needs']:,} B, {percent(b['needs'] / b['size'])}"
        lines.append(
            Row(name, [Mark("track", "free", 0, 1), *marks], used, f"{name}: {used} of {b['size']:,} B")
        )
    keys = {
        "weight": "tensors that last",
        "arena": "arena",
        "code": "code, at least",
        "link": "link, inputs, outputs",
        "stack": "stack",
    }
    scale = charts.axis(0, 1, "of the board", percent, exact=True)
    return charts.rows(lines, scale, f"What {report['board']} has, and what is taken of it", keys)


def _strips(report: Report) -> Markup:
    """Flash and RAM in use, piece by piece, to scale."""
    budget, memory = report["budget"], report["memory"]
    flash = [_part(t, "in_flash") for t in report["tensors"] if t["in_flash"]]
    ram = [_part(t, "bytes") for t in report["tensors"] if t["space"] == "state"]
    ram.append(Part("arena", "arena", memory["arena"]))
    if budget:
        flash.append(Part("code", "code", budget["flash"]["code"]))
        ram.append(Part("link", "link", budget["ram"]["firmware"]))
        ram.append(Part("stack", "stack", budget["ram"]["stack"]))
    out = []
    for name, parts in (("Flash", flash), ("RAM", ram)):
        parts.sort(key=lambda p: -p.bytes)
        title = f"{name}: {sum(p.bytes for p in parts):,} bytes, to scale"
        out.append(page.strip(parts, title, _REGIONS))
    return Markup("").join(out)


def _part(t: Mapping[str, Any], size: str) -> Part:
    return Part(t["tensor"], TONES[t["kind"]], t[size])


def _tensors(report: Report) -> Markup:
    rows = [
        [
            page.keyed(TONES[t["kind"]], t["tensor"]),
            t["node"],
            t["note"] or t["role"],
            f"{t['dtype']} {'×'.join(map(str, t['shape']))}",
            t["q"],
            f"{t['bytes']:,}",
            {"const": "flash", "state": "RAM", "arena": "arena"}[t["space"]],
            "" if t["space"] == "const" else f"{t['offset']:,}",
        ]
        for t in report["tensors"]
    ]
    return page.table(
        ["tensor", "layer", "what it is", "type", "format", "bytes", "lies in", "offset"], rows, left=5
    )


def _layers(report: Report) -> Markup:
    """Bytes by layer: a bar each, and the table."""
    found = _gathered(report["network"])
    lines, table = [], []
    for x in found:
        total = sum(x["bytes"].values())
        name = f"{x['node']}, learns" if x["learned"] else x["node"]
        told = ", ".join(f"{kind} {x['bytes'][kind]:,}" for kind in TONES if x["bytes"][kind])
        marks = charts.stacked([(tone, x["bytes"][kind]) for kind, tone in TONES.items()])
        lines.append(Row(name, marks, f"{total:,} B", f"{x['node']}: {told}"))
        shape = "×".join(map(str, x["shape"]))
        cells = [f"{x['bytes'][k]:,}" if x["bytes"][k] else "" for k in TONES]
        table.append([x["node"], x["op"], shape, *cells, f"{x['flash']:,}", f"{x['ram']:,}"])
    most = max((sum(x["bytes"].values()) for x in found), default=1)
    keys = {tone: _MEANS[tone] for kind, tone in TONES.items() if any(x["bytes"][kind] for x in found)}
    scale = charts.axis(0, most, "bytes", exact=True)
    head = ["layer", "op", "output", *TONES, "flash", "RAM"]
    return charts.rows(lines, scale, "Bytes by layer", keys) + page.fold(
        "The same in figures", page.table(head, table, left=3)
    )


def _gathered(network: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The layers and the stored samples; what else there is (counters, inputs, the loss) as one."""
    kept = [x for x in network if x["op"] or x["bytes"]["samples"]]
    rest = [x for x in network if x not in kept]
    if rest:
        bytes_ = {k: sum(x["bytes"][k] for x in rest) for k in TONES}
        places = {k: sum(x[k] for x in rest) for k in ("flash", "ram")}
        kept.append({"node": "all else", "op": "", "shape": [], "learned": False, "bytes": bytes_, **places})
    return [x for x in kept if any(x["bytes"].values())]


# ---- the arena over time ------------------------------------------------------------------------------


def _map(report: Report, line: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {t["tensor"]: t for t in report["tensors"]}
    steps, size = line["steps"], report["memory"]["arena"]
    ends = {(tensors[a["tensor"]]["offset"], s[1]) for a in line["arena"] for s in a["spans"]}
    blocks, lives = [], []
    for a in line["arena"]:
        t = tensors[a["tensor"]]
        where = f"{t['offset']:,} to {t['offset'] + t['bytes'] - 1:,}"
        for first, last in a["spans"]:
            when = f"step {first + 1}" if first == last else f"steps {first + 1} to {last + 1}"
            told = f"{t['tensor']}: bytes {where}, {when}"
            start, end = _halves(t["offset"], first, last, ends, line["arena"], tensors)
            blocks.append(
                Block(t["tensor"], TONES[t["kind"]], start, end, t["offset"], t["offset"] + t["bytes"], told)
            )
            lives.append(
                [page.keyed(TONES[t["kind"]], t["tensor"]), t["dtype"], where, f"{t['bytes']:,}", when]
            )
    fullest = max(range(len(steps)), key=lambda i: steps[i]["bytes"], default=None)
    columns = [s["program"] for s in steps]
    detail = "; ".join(b.told for b in blocks)
    title = f"Arena during {line['program']}: {size:,} bytes over {len(steps)} steps"
    return {
        "program": line["program"],
        "steps": len(steps),
        "fullest": fullest,
        "most": steps[fullest] if fullest is not None else None,
        "map": charts.memory_map(blocks, columns, size, title, _MEANS, detail),
        "lives": page.table(["tensor", "type", "bytes of the arena", "size", "lives"], lives, left=3),
        "table": _steps(steps),
    }


def _halves(
    offset: int,
    first: int,
    last: int,
    ends: set[tuple[int, int]],
    arena: Sequence[Mapping[str, Any]],
    tensors: Mapping[str, Mapping[str, Any]],
) -> tuple[float, float]:
    """Where a span is drawn. A step that works in place is shared: half of its column for each."""
    starts = {(tensors[a["tensor"]]["offset"], s[0]) for a in arena for s in a["spans"] if s[1] > s[0]}
    start = first + 0.5 if last > first and (offset, first) in ends else float(first)
    end = last + 0.5 if (offset, last) in starts and last > first else last + 1.0
    return start, end


def _steps(steps: Sequence[Mapping[str, Any]]) -> Markup:
    rows = []
    for i, s in enumerate(steps, 1):
        times = f"×{s['times']:,}" if s["times"] > 1 else ""
        macs = f"{s['macs']:,}" if s["macs"] else ""
        rows.append([i, s["program"], s["node"], s["kernel"], times, macs, f"{s['bytes']:,}"])
    return page.table(
        ["step", "program", "layer", "kernel", "times", "MACs", "arena bytes alive"], rows, left=4
    )


# ---- numbers ------------------------------------------------------------------------------------------


def _ranges(report: Report) -> Markup:
    """Each tensor's range in calibration against what its format holds."""
    lines, table = [], []
    for x in report["ranges"]:
        (lo, hi), (least, most) = x["seen"], x["holds"]
        reach = max(-least, most)
        marks = [Mark("track", "free", least / reach, most / reach)]
        marks.append(Mark("bar", _role_tone(x["role"]), lo / reach, hi / reach))
        marks += [Mark("stroke", "wrong", at) for at, out in ((-1, lo < least), (1, hi > most)) if out]
        value = f"{x['q']}, as {x['shares']}" if x["shares"] else f"{x['q']}, {percent(max(-lo, hi) / reach)}"
        told = f"{x['tensor']}: seen {lo:.4g} to {hi:.4g}, {x['q']} holds {least:.4g} to {most:.4g}"
        lines.append(Row(x["tensor"], marks, value, told))
        cells = [f"{v:.4g}" for v in (lo, hi, least, most)]
        table.append(
            [x["tensor"], x["role"], x["dtype"], x["q"], *cells, f"{100 * x['clipped']:.3f} %", x["shares"]]
        )
    scale = charts.Axis(-1, 1, (-1, -0.5, 0, 0.5, 1), "of the format", percent)
    keys = {
        "arena": "activations and scores",
        "teach": "teaching signals and errors",
        "free": "what the format holds",
    }
    chart = charts.rows(lines, scale, "Range in calibration, as a share of what the format holds", keys)
    head = ["tensor", "role", "type", "format", "seen from", "to", "holds from", "to", "clipped", "format of"]
    return chart + page.fold("The same in figures", page.table(head, table, left=4))


def _role_tone(role: str) -> str:
    return "teach" if role in ("teach", "error") else "arena"


def _errors(report: Report) -> Markup:
    rows = [
        [
            x["layer"],
            x["q"],
            f"{x['scale']:g}",
            f"{x['headroom']:.2f}" if x["headroom"] else "",
            f"{100 * x['saturated']:.2f} %",
            f"{x['rms_error']:.4f}",
            f"{x['rms']:.4f}",
            percent(x["rms_error"] / x["rms"]) if x["rms"] else "",
        ]
        for x in report["layers"]
    ]
    head = ["layer", "format", "one unit is", "headroom", "at limits", "rms error", "rms", "error / rms"]
    return page.table(head, rows)


def _sums(report: Report) -> Markup:
    """The proven sums, the fullest first, in bits of their register."""
    found = sorted(report["proofs"], key=lambda p: -p["used"])
    lines = []
    for p in found[:_SUMS_SHOWN]:
        need = bits(p)
        marks = [Mark("track", "free", 0, p["bits"]), Mark("bar", "c1", 0, need)]
        name = f"{p['node']} {p['kernel']}: {p['sum']}"
        value = f"{need:.1f} of {p['bits']} bits"
        told = f"{name}: proven within {p['lo']:,} to {p['hi']:,}, {percent(p['used'])} of {p['bits']} bits"
        lines.append(Row(name, marks, value, told))
    widest = max((p["bits"] for p in found), default=32)
    scale = charts.Axis(0, widest, tuple(range(0, widest + 1, 8)), "bits")
    rest = len(found) - len(lines)
    title = f"The {len(lines)} fullest of {len(found)} proven sums" if rest else "Proven sums"
    rows = [
        [
            p["node"],
            p["kernel"],
            p["sum"],
            f"{p['lo']:,}",
            f"{p['hi']:,}",
            p["bits"],
            f"{100 * p['used']:.1f} %",
            f"{p['bits'] - bits(p):.1f}",
        ]
        for p in found
    ]
    head = ["layer", "kernel", "sum", "at least", "at most", "register bits", "used", "bits free"]
    return charts.rows(lines, scale, title) + page.fold("All sums in figures", page.table(head, rows, left=3))


def bits(proof: Mapping[str, Any]) -> float:
    """Bits, the sign's included, that a proven sum may take of its register."""
    return math.log2(max(abs(proof["lo"]), abs(proof["hi"]), 1)) + 1


def _learning(report: Report) -> Markup:
    rows = []
    for x in report["learning"]:
        frac = int(x["q"][1:])
        headroom = f"{x['headroom']:.2f}" if x["headroom"] else ""
        limit = f"±{x['limit'] * 2.0**-frac:.4g}"
        rows.append([x["tensor"], x["dtype"], x["q"], f"{x['limit']:,}", limit, headroom, f"{x['bytes']:,}"])
    head = ["learned tensor or signal", "type", "format", "limit", "in real units", "headroom", "bytes"]
    return page.table(head, rows, left=3)


# ---- work ---------------------------------------------------------------------------------------------

_WORK = {"c1": "forward", "c2": "feedback", "c3": "update"}


def _work(line: Mapping[str, Any]) -> Markup:
    """Multiply-accumulates of an entry program by layer."""
    nodes: dict[str, dict[str, int]] = {}
    for s in line["steps"]:
        if s["macs"]:
            tone = "c1" if s["program"] == "forward" else "c3" if s["kernel"].endswith(".update") else "c2"
            part = nodes.setdefault(s["node"], dict.fromkeys(_WORK, 0))
            part[tone] += s["macs"] * s["times"]
    if not nodes:
        return Markup("")
    lines = []
    for node, part in nodes.items():
        told = ", ".join(f"{_WORK[tone]} {n:,}" for tone, n in part.items() if n)
        lines.append(
            Row(node, charts.stacked(list(part.items())), f"{sum(part.values()):,}", f"{node}: {told}")
        )
    scale = charts.axis(0, max(sum(part.values()) for part in nodes.values()), "MACs", exact=True)
    used = {tone: name for tone, name in _WORK.items() if any(part[tone] for part in nodes.values())}
    return charts.rows(lines, scale, f"Multiply-accumulates of {line['program']} by layer", used)


def _costs(report: Report) -> Markup:
    rows = [
        [p["program"], f"{p['macs']:,}", f"{p['reads']:,}", f"{p['writes']:,}"] for p in report["programs"]
    ]
    return page.table(["program", "MACs at most", "weight bytes read", "weight bytes written"], rows)
