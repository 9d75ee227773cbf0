"""Ranges, errors, limits and proofs of a compilation, as charts and tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from synapcc.gen.ir.roles import ROLES
from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Mark, Row, percent

_SUMS_SHOWN = 12


def ranges(report: Mapping[str, Any]) -> Markup:
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
            [
                *(x["tensor"], x["role"], x["dtype"], x["q"], *cells),
                *(f"{100 * x['clipped']:.3f} %", x["aside"] or "", x["shares"]),
            ]
        )
    scale = charts.Axis(-1, 1, (-1, -0.5, 0, 0.5, 1), "of the format", percent)
    keys = {
        "arena": "activations and scores",
        "teach": "teaching signals and errors",
        "free": "what the format holds",
    }
    chart = charts.rows(lines, scale, "Range in calibration, as a share of what the format holds", keys)
    head = ["tensor", "role", "type", "format", "seen from", "to", "holds from", "to", "clipped"]
    head += ["set aside", "format of"]
    return chart + html.fold("The same in figures", html.table(head, table, left=4))


def _role_tone(role: str) -> str:
    return "teach" if ROLES[role].kind == "teaching" else "arena"


def errors(report: Mapping[str, Any]) -> Markup:
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
    return html.table(head, rows)


def sums(report: Mapping[str, Any]) -> Markup:
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
    return charts.rows(lines, scale, title) + html.fold("All sums in figures", html.table(head, rows, left=3))


def bits(proof: Mapping[str, Any]) -> float:
    """Bits, the sign's included, that a proven sum may take of its register."""
    return math.log2(max(abs(proof["lo"]), abs(proof["hi"]), 1)) + 1


def learning(report: Mapping[str, Any]) -> Markup:
    rows = []
    for x in report["learning"]:
        headroom = f"{x['headroom']:.2f}" if x["headroom"] else ""
        limit = f"±{x['limit'] * x['scale']:.4g}"
        rows.append([x["tensor"], x["dtype"], x["q"], f"{x['limit']:,}", limit, headroom, f"{x['bytes']:,}"])
    head = ["learned tensor or signal", "type", "format", "limit", "in real units", "headroom", "bytes"]
    return html.table(head, rows, left=3)


def slice_text(program: Mapping[str, Any]) -> str:
    """The longest slice of an entry program, as a report tells it."""
    longest = program["longest_slice"]
    return f"{longest['macs']:,} MACs, {longest['kernel']} of {longest['node']}" if longest else ""
