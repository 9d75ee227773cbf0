"""The page of a benchmark, from the JSON of `synapcc bench`: where the instructions go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Mark, Row, percent, plain

_Json = Mapping[str, Any]

_PHASES = {"infer": "one inference", "learn": "one learning step", "push": "one push of samples"}
_ALONE = {"infer": "one pass forward", "learn": "learning from one sample", "push": "one push of samples"}
"""What a phase is called where a network ran, and where a kernel ran alone."""
_UNITS = ("instructions", "cycles")
_FIGURES = {
    "instructions": "instructions",
    "cycles": "cycles",
    "macs": "multiply-accumulates",
    "milliseconds": "ms",
    "microjoule": "µJ",
}
_MEMORY = {"flash": "Flash", "ram": "RAM without the stack", "stack": "Stack at worst"}
_FACTS = ("spec", "model", "board", "core", "device", "kernels", "toolchain", "counted", "data", "digest")
_TONES = {"c1": "forward", "c2": "feedback", "c3": "update", "grey": "all else"}
_CLASSES = {"load": "c1", "store": "c6", "multiply": "c2", "branch": "c5", "other": "grey"}
_SHOWN = 24  # ops in a chart, the largest; the table has all


def bench_html(result: _Json) -> str:
    """The page. Figures that a device cannot tell are None or missing, and left out."""
    unit = _unit(result)
    phases = [p for p in _PHASES if any(o["phase"] == p for o in result["ops"])]
    return html.render(
        "bench.html.j2",
        {
            "r": result,
            "unit": unit,
            "what": result.get("spec") or result.get("model") or "",
            "leads": [_lead(result, p, unit) for p in phases],
            "memory": [(title, result[k]) for k, title in _MEMORY.items() if result.get(k) is not None],
            "phases": [_phase(result, p, unit) for p in phases],
            "kinds": _kinds(result, phases),
            "totals": _totals(result["total"]),
            "facts": _facts(result),
        },
    )


def _unit(result: _Json) -> str:
    """What the bars show: instructions where the device counts them, else cycles."""
    return next((u for u in _UNITS if all(o.get(u) is not None for o in result["ops"])), "macs")


def _name(result: _Json, phase: str) -> str:
    return (_ALONE if result.get("spec") else _PHASES)[phase]


def _of(result: _Json, phase: str) -> list[_Json]:
    return [o for o in result["ops"] if o["phase"] == phase]


def _total(result: _Json, phase: str, unit: str) -> float:
    """What the whole program took, which is more than its ops: calls and conditions are between them."""
    total: float = result["total"].get(phase, {}).get(unit) or sum(o[unit] for o in _of(result, phase))
    return total


def _lead(result: _Json, phase: str, unit: str) -> dict[str, Any]:
    ops, total = _of(result, phase), _total(result, phase, unit)
    figures = result["total"].get(phase, {})
    top, macs = max(ops, key=lambda o: o[unit]), sum(o["macs"] for o in ops)
    worst = (figures.get("worst") or {}).get(unit)
    return {
        "what": _name(result, phase),
        "total": plain(total),
        "worst": plain(worst) if worst else "",
        "per_mac": f"{total / macs:.2f}" if macs and unit != "macs" else "",
        "most": f"{top['kernel']} of {top['node']}",
        "share": charts.share(top[unit], total),
        "rest": [
            f"{_shown(figures[k])} {name}"
            for k, name in _FIGURES.items()
            if k != unit and figures.get(k) is not None
        ],
    }


def _shown(v: float) -> str:
    return plain(v) if v == int(v) else f"{v:.4g}"


def _phase(result: _Json, phase: str, unit: str) -> dict[str, Any]:
    """Bars of the ops of a phase in the order they run, and the table."""
    ops, total = _of(result, phase), _total(result, phase, unit)
    least = sorted((o[unit] for o in ops), reverse=True)[:_SHOWN][-1]
    lines, most = [], 1.0
    for o in ops:
        if o[unit] >= least:
            worst = (o.get("worst") or {}).get(unit)
            marks = [Mark("bar", _tone(o), 0, o[unit])] + (
                [Mark("stroke", "ink", worst)] if worst and worst > 1.01 * o[unit] else []
            )
            told = f"{o['node']} {o['kernel']}: {plain(o[unit])} {unit}"
            told += f", at worst {plain(worst)}" if worst else ""
            lines.append(
                Row(
                    f"{o['node']} {o['kernel']}",
                    marks,
                    f"{plain(o[unit])}, {charts.share(o[unit], total)}",
                    told,
                )
            )
            most = max(most, o[unit], worst or 0)
    keys = {tone: what for tone, what in _TONES.items() if any(_tone(o) == tone for o in ops)}
    title = f"{unit.capitalize()} of {_name(result, phase)}, in the order they run"
    return {
        "name": _name(result, phase),
        "chart": charts.rows(lines, charts.axis(0, most, unit, exact=True, count=4), title, keys),
        "worst": any(o.get("worst") for o in ops),
        "hidden": len(ops) - len(lines),
        "between": plain(total - sum(o[unit] for o in ops)),
        "table": _table(ops),
    }


def _tone(op: _Json) -> str:
    if not op["macs"]:
        return "grey"
    if op["kernel"].endswith(".update"):
        return "c3"
    return "c1" if op["phase"] == "infer" or op["kernel"].endswith(".forward") else "c2"


def _table(ops: Sequence[_Json]) -> Markup:
    rows = []
    for o in ops:
        cells = [plain(o[u]) if o.get(u) is not None else "–" for u in _UNITS]
        each = [f"{o[u] / o['macs']:.2f}" if o["macs"] and o.get(u) is not None else "" for u in _UNITS]
        worst = [(o.get("worst") or {}).get(u) for u in _UNITS]
        hardest = [plain(v) if v is not None else "" for v in worst]
        rows.append(
            [o["node"], o["op"], o["kernel"], o.get("runs", 1), plain(o["macs"]), *cells, *each, *hardest]
        )
    head = ["layer", "op", "kernel", "runs", "MACs", *_UNITS, "instructions / MAC", "cycles / MAC"]
    return html.table([*head, "instructions at worst", "cycles at worst"], rows, left=3)


def _kinds(result: _Json, phases: Sequence[str]) -> Markup:
    """What kinds of instructions ran, where the device tells."""
    lines = []
    for phase in phases:
        found = [o["classes"] for o in _of(result, phase) if o.get("classes")]
        sums = {k: sum(c.get(k, 0) for c in found) for k in _CLASSES}
        total = sum(sums.values())
        if total:
            marks = charts.stacked([(_CLASSES[k], n / total) for k, n in sums.items()])
            told = ", ".join(f"{k} {percent(n / total)}" for k, n in sums.items())
            name = _name(result, phase)
            lines.append(Row(name, marks, plain(total), f"{name}: {told}"))
    if not lines:
        return Markup("")
    scale = charts.axis(0, 1, "of the ops' instructions", percent, exact=True, count=4)
    keys = {tone: kind for kind, tone in _CLASSES.items()}
    told = html.table(
        ["program", *_CLASSES],
        [
            [
                p,
                *(
                    plain(sum(o["classes"].get(k, 0) for o in _of(result, p) if o.get("classes")))
                    for k in _CLASSES
                ),
            ]
            for p in phases
        ],
    )
    return charts.rows(lines, scale, "Kinds of instructions", keys) + html.fold("The same in figures", told)


def _totals(total: Mapping[str, _Json]) -> Markup:
    """The figures of every entry program, a column each."""
    columns = sorted(total, key=lambda p: (p not in _PHASES, p))
    rows = []
    for k, name in _FIGURES.items():
        if any(total[p].get(k) is not None for p in columns):
            rows.append([name, *(_shown(v) if (v := total[p].get(k)) is not None else "–" for p in columns)])
    for part, what in (
        ("min", "least of the samples"),
        ("worst", "at worst"),
        ("between", "between the ops"),
    ):
        for u in _UNITS:
            found = [(total[p].get(part) or {}).get(u) for p in columns]
            if any(v is not None for v in found):
                rows.append([f"{u}, {what}", *(plain(v) if v is not None else "–" for v in found)])
    return html.table(["in all", *columns], rows)


def _facts(result: _Json) -> Markup:
    """On what it was counted, and how."""
    rows = [[k, result[k]] for k in _FACTS if result.get(k)]
    if result.get("clock_hz"):
        rows.append(["clock", f"{result['clock_hz'] / 1e6:g} MHz"])
    if power := result.get("power"):
        told = f"{power['microamp_per_mhz']:g} µA/MHz at {power['volt']:g} V ({power['source']})"
        rows.append(["current", told])
    return html.table(["", ""], rows, left=2, wrap=True)
