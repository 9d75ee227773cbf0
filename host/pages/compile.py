"""The page of a compilation, from report.json alone: what fits where, who lives when, what numbers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.gen.spec import rule_text
from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Mark, Row, percent
from synapcc.host.pages.html import Part

from ..run.culprit import USUAL
from . import arena, numbers
from .facts import kept_text, under
from .tones import MEANS, TONES

Report = Mapping[str, Any]

_REGIONS = MEANS | {
    "arena": "arena",
    "code": "code, at least",
    "link": "link and firmware, at least",
    "stack": "stack",
    "small": "tables, counters, all else",
}
_LOW_AGREEMENT, _MUCH_CLIPPED = 0.98, 0.01
"""From where on a figure of the calibration is pointed at."""


def compile_html(report: Report) -> str:
    """The page; `report` is what host.pages.facts.measure gives."""
    return html.render(
        "compile.html.j2",
        {
            "r": report,
            "cards": _cards(report),
            "warnings": warnings(report),
            "sampled": sampled(report),
            "fullest": max(report["proofs"], key=lambda p: p["used"], default=None),
            "macs": {p["program"]: p["macs"] for p in report["programs"]},
            "board": _board(report),
            "kept": kept_text(report["keep"]) if report.get("keep") else "",
            "strips": _strips(report),
            "tensors": _tensors(report),
            "layers": _layers(report),
            "maps": [arena.view(report, line) for line in report["timeline"]],
            "ranges": numbers.ranges(report),
            "errors": numbers.errors(report),
            "sums": numbers.sums(report),
            "learning": numbers.learning(report),
            "work": [_work(line) for line in report["timeline"][:2]],
            "costs": _costs(report),
            "ram": _ram(report["memory"]),
            "small_ram": _ram(report["infer_only"]) if "infer_only" in report else 0,
            "rule": rule_text(report["rule"]),
        },
    )


def warnings(report: Report) -> list[str]:
    """What of the calibration deserves a look, a sentence each."""
    out = [f"{w}." for w in report["warnings"]]
    agree = report["calibration"]["same_class_as_float"]
    named = any(USUAL in w for w in report["warnings"])  # a warning names the layer
    if agree is not None and agree < _LOW_AGREEMENT and not named:
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


def sampled(report: Mapping[str, Any]) -> str:
    """Which samples the formats were chosen from, in words; "" where a file brings them all."""
    calibration = report["calibration"]
    if not calibration["samples"]:
        return ""
    words = f"{calibration['samples']:,} of {calibration['given']:,} calibration samples"
    if calibration["samples"] == calibration["given"]:
        words = f"{calibration['samples']:,} calibration samples"
    if calibration["labels"]:
        some = calibration["taught"] < calibration["samples"]
        of = f"{calibration['taught']:,} of them" if some else "all of them"
        words += f" (for the teaching signals {of}{under(report)})"
    aside = len(calibration["outliers"])
    return f"{words}, {aside} of them set aside as outliers," if aside else words


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
        cards.append(_card("RAM", f"{_ram(memory):,}", "bytes of state and arena", None))
    for p in report["programs"][:2]:
        cards.append(_card(p["program"], f"{p['macs']:,}", "multiply-accumulates at most", None))
    agree = report["calibration"]["same_class_as_float"]
    if agree is not None:
        seen = f"of {report['calibration']['samples']:,} samples: the class of the float network"
        cards.append(_card("Integer = float", percent(agree), seen, agree))
    if file := report["file"]:
        seen = "of the samples: an answer of the model file, before anything is learned"
        cards.append(_card("Network = file", percent(file["same_class"]), seen, file["same_class"]))
    return cards


def _ram(memory: Mapping[str, int]) -> int:
    """Bytes of RAM of the library alone."""
    return sum(memory[k] for k in ("state", "arena", "infer_arena", "run"))


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
                ("arena", ram["arena"] + ram["infer_arena"]),
                ("link", ram["firmware"] + ram["run"]),
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
    if memory["infer_arena"]:
        ram.append(Part("arena of infer", "arena", memory["infer_arena"]))
    ram.append(Part("what runs", "small", memory["run"]))
    if budget:
        flash.append(Part("code", "code", budget["flash"]["code"]))
        ram.append(Part("link", "link", budget["ram"]["firmware"]))
        ram.append(Part("stack", "stack", budget["ram"]["stack"]))
    out = []
    for name, parts in (("Flash", flash), ("RAM", ram)):
        parts.sort(key=lambda p: -p.bytes)
        title = f"{name}: {sum(p.bytes for p in parts):,} bytes, to scale"
        out.append(html.strip(parts, title, _REGIONS))
    return Markup("").join(out)


def _part(t: Mapping[str, Any], size: str) -> Part:
    return Part(t["tensor"], TONES[t["kind"]], t[size])


def _tensors(report: Report) -> Markup:
    rows = [
        [
            html.keyed(TONES[t["kind"]], t["tensor"]),
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
    return html.table(
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
    keys = {tone: MEANS[tone] for kind, tone in TONES.items() if any(x["bytes"][kind] for x in found)}
    scale = charts.axis(0, most, "bytes", exact=True)
    head = ["layer", "op", "output", *TONES, "flash", "RAM"]
    return charts.rows(lines, scale, "Bytes by layer", keys) + html.fold(
        "The same in figures", html.table(head, table, left=3)
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


# ---- work ---------------------------------------------------------------------------------------------

_WORK = {"c1": "forward", "c2": "feedback", "c3": "update"}


def _work(line: Mapping[str, Any]) -> Markup:
    """Multiply-accumulates of an entry program by layer."""
    nodes: dict[str, dict[str, int]] = {}
    for s in line["steps"]:
        if s["macs"] and not s["other"]:
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
        [
            *(p["program"], f"{p['macs']:,}", f"{p['reads']:,}", f"{p['writes']:,}", f"{p['slices']:,}"),
            numbers.slice_text(p),
        ]
        for p in report["programs"]
    ]
    head = ["program", "MACs at most", "weight bytes read", "weight bytes written", "slices at most"]
    return html.table([*head, "longest slice"], rows)
