"""The page of a verification, from the JSON of `synapcc verify`: what was compared, and what differed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from synapcc.gen.ir.plan import LEARNING, Plan
from synapcc.gen.target.boards import Board
from synapcc.host.pages import charts, html
from synapcc.host.pages.charts import Line, Row, percent, plain
from synapcc.host.pages.footprint import KINDS, kinds
from synapcc.host.run.inputs import clipped_text
from synapcc.host.run.verify import Verdict

from .tones import TONES

_Json = Mapping[str, Any]

_POINTS = 120  # of the chart of times, at most
_COUNTS = {
    "learns": "learning steps that the firmware ran",
    "infers": "inferences that it ran",
    "repeats": "requests that came twice and were answered from memory",
    "refusals": "requests refused",
    "bad_frames": "frames that came damaged",
    "link_errors": "errors of the receiver",
    "stack_used": "bytes of stack used at most",
    "stack_watched": "bytes of stack watched",
    "learned": "samples learned from, as the state counts them",
    "saturated": "updates that met the limit of a learned value",
}


def evidence(
    plan: Plan,
    board: Board,
    device: str,
    verdict: Verdict,
    seconds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A verification ready for JSON: the verdict, and on what.

    seconds: of each learning step of this run, on both sides and the link, those of one exchange alike; no
             two runs have the same
    """
    kind = kinds(plan)
    state = dict.fromkeys(KINDS, 0)
    for t in plan.space("state"):
        state[kind[t.name]] += t.nbytes
    return verdict.to_dict() | {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "entries": list(plan.entries),
        "board": board.name,
        "core": board.core.cpu,
        "device": device,
        "classes": plan.scores,
        "state": {k: n for k, n in state.items() if n},
        **({} if seconds is None else {"seconds": [round(s, 6) for s in seconds]}),
    }


def verify_html(result: _Json) -> str:
    """The page; `result` is what `evidence` gives."""
    compared = states(result)
    padding = result["state_bytes"] - sum(result["state"].values())
    return html.render(
        "verify.html.j2",
        {
            "r": result,
            "bad": result["difference"],
            "compared": compared * result["state_bytes"],
            "scores": result["inferences"] * (8 + 2 * result["classes"]),
            "course": _course(result),
            "tensors": _tensors(result, compared),
            "padding": padding,
            "times": _times(result.get("seconds", ()), result["resumed"] + 1),
            "facts": _facts(result),
        },
    )


def _facts(result: _Json) -> Markup:
    """On what it ran, and what the firmware counted; a stack that cannot be seen is left out."""
    rows = [[k, result[k]] for k in ("board", "core", "device")]
    stats = result["stats"]
    told = [k for k in _COUNTS if stats["stack_watched"] or not k.startswith("stack")]
    rows += [[_COUNTS[k], plain(stats[k])] for k in told]
    if "clipped" in result:
        rows.append(["input values that quantisation clipped", clipped_text(result["clipped"])])
    rows += [
        [f"updates of {x['layer']} that met a limit", f"{plain(x['saturated'])}, {percent(x['share'])}"]
        for x in result["saturation"]
    ]
    return html.table(["", ""], rows, left=2, wrap=True)


def states(result: _Json) -> int:
    """How often the whole persistent state was compared: after every step and program, and once read back."""
    others = sum(p not in LEARNING for p in result["programs"])
    count: int = result["steps"] + others + (0 if result["difference"] else 1)
    return count


def _course(result: _Json) -> Markup:
    """What was done in turn, and what came of it."""
    half, others = result["inferences"] // 2, [p for p in result["programs"] if p not in LEARNING]
    bad = result["difference"]
    learning = next((p for p in result["programs"] if p in LEARNING), "learn")
    parts = [
        (0, "infer", "inferences", f"{half:,}" if half else "", "class, margin and scores"),
        (
            1,
            learning,
            "learning steps",
            f"{result['steps']:,}",
            "checksum of all persistent bytes after each, SHA-256 now and then",
        ),
        *((2, p, f"program {p}", "1", "checksum of all persistent bytes") for p in others),
        (3, "infer", "inferences again", f"{half:,}" if half else "", "class, margin and scores"),
        (4, "read back", "read back", "1", f"{result['state_bytes']:,} bytes, one by one"),
    ]
    failed = _failed(result)
    rows = []
    for at, program, what, times, how in parts:
        if bad and at == failed and program == bad["program"]:
            state = html.element("span", {"class": "no"}, "✗\u00a0differs")
        elif bad and at >= failed:
            state = html.element(
                "span", {"class": "soft"}, "not\u00a0reached" if at > failed else "✓\u00a0equal"
            )
        else:
            state = html.element("span", {"class": "ok"}, "✓\u00a0equal")
        rows.append([state, what, times, how])
    return html.table(["", "in turn", "times", "compared"], rows, left=4, wrap=True)


def _failed(result: _Json) -> int:
    """Which part of the course a difference belongs to."""
    bad = result["difference"]
    if not bad:
        return 5
    if bad["program"] == "infer":
        return 3 if bad["step"] else 0
    return 1 if bad["program"] in LEARNING else 4 if bad["program"] == "read back" else 2


def _tensors(result: _Json, compared: int) -> Markup:
    """Persistent bytes by what they are for, and how many were compared in all."""
    lines, rows = [], []
    for kind in (k for k in KINDS if k in result["state"]):
        size = result["state"][kind]
        lines.append(Row(kind, charts.stacked([(TONES[kind], size)]), f"{size:,} B"))
        rows.append([kind, f"{size:,}", f"{compared:,}", f"{size * compared:,}"])
    if not lines:
        return Markup("")
    scale = charts.axis(0, max(result["state"].values()), "bytes", exact=True, count=4)
    head = ["persistent tensors", "bytes", "times compared", "bytes compared"]
    chart = charts.rows(lines, scale, "Persistent bytes by what they are for")
    return chart + html.table(head, rows)


def _times(seconds: Sequence[float], first: int) -> Markup:
    """Time of a learning step over the run, medians of neighbours where there are many steps."""
    if len(seconds) < 2:
        return Markup("")
    each = -(-len(seconds) // _POINTS)
    points = [
        (i + first, 1000 * statistics.median(seconds[i : i + each])) for i in range(0, len(seconds), each)
    ]
    x = charts.axis(first, first + len(seconds) - 1, "step", exact=True)
    y = charts.axis(0, max(v for _, v in points), "", lambda v: f"{plain(v)} ms", count=4)
    label = "a learning step" if each == 1 else f"median of {each} learning steps"
    told = f"median {1000 * statistics.median(seconds):.3g} ms, longest {1000 * max(seconds):.3g} ms"
    return charts.chart([Line(label, "c1", points)], [], x, y, "Time, both sides and the link", told)
