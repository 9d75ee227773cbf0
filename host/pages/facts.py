"""What a compilation is worth: scales, headroom, limits, proven ranges, and what calibration saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from synapcc.gen.compile import Compiled
from synapcc.gen.emit.keep import keep_facts
from synapcc.gen.emit.role import of_role
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Call, Item, Repeat, Step, root
from synapcc.gen.ir.roles import ROLES
from synapcc.gen.ops.counter import turns
from synapcc.gen.spec import FAST, MSE
from synapcc.gen.stages.answers import Answers

from ..run import culprit
from ..run.agreement import agreement, as_the_file, strays
from ..run.inputs import MUCH, Clipping, clipped_text, quantise_inputs
from ..terminal.text import table
from .footprint import budget, memory, network, tensors
from .numbers import slice_text
from .peak import peak_text, peaks
from .timeline import cost, timeline

__all__ = ["costs", "learned", "measure", "memory", "program_text", "ranges", "summary"]

_Table = tuple[list[str], list[list[str]]]
"""A head and its rows."""


def measure(compiled: Compiled) -> dict[str, Any]:
    """The report of a compilation, ready for JSON, computed from the Plan and the calibration data."""
    seen = compiled.quantised.sampled.given > 0
    agree, layers = agreement(compiled) if seen else (None, [])
    file = as_the_file(compiled) if seen else None
    strayed = strays(file, compiled.spec.weights) if file else ""
    plan, part = compiled.plan, of_role(compiled.plan, compiled.role)
    kept = compiled.spec.keep if part is plan else None
    lost = culprit.warning(compiled, culprit.expected(compiled, agree)) if agree is not None else ""
    clipping = _clipping(compiled, seen)
    found = [*(line for line in (lost, strayed) if line), *_beyond_the_file(compiled, clipping)]
    agree = None if culprit.kind(compiled) is Answers.NUMBERS else agree
    return {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "rule": compiled.spec.to_dict(),
        "learned": list(compiled.learned),
        "notes": list(compiled.graph.notes),
        "warnings": [*compiled.warnings, *found],
        "board": compiled.board.name if compiled.board else None,
        "kernels": compiled.kernel_set,
        "quantise": compiled.quantise,
        "memory": memory(plan, compiled.kernel_set),
        **({} if part is plan else {"infer_only": memory(part, compiled.kernel_set)}),
        "keep": keep_facts(plan, kept, compiled.board, compiled.heard) if kept else None,
        "budget": budget(part, compiled.board, compiled.kernel_set),
        "network": network(compiled),
        "tensors": tensors(plan, compiled.kernel_set),
        "ranges": ranges(compiled) if seen else [],
        "timeline": [timeline(plan, entry) for entry in plan.entries],
        "peaks": peaks(plan),
        "file": file,
        "layers": layers,
        "learning": learned(compiled),
        "proofs": _proofs(compiled),
        "programs": costs(plan),
        "calibration": calibration(compiled) | {"same_class_as_float": agree, "clipped": clipping.shares},
    }


def _clipping(compiled: Compiled, seen: bool) -> Clipping:
    """What the inputs' formats clip of the calibration data, if there are any."""
    clipping = Clipping(compiled.plan)
    if seen:
        quantise_inputs(compiled.plan, compiled.calibration, clipping=clipping)
    return clipping


def _beyond_the_file(compiled: Compiled, clipping: Clipping) -> list[str]:
    """A line for each input whose numbers a model file brings, where these clip much of the data."""
    return [
        f"{100 * share:.3g} % of the values of input {name} lie beyond {clipping.reach(name)}, which is all "
        "that the model file holds, and were clipped; likely these are other units, or another scaling"
        for name, share in clipping.shares.items()
        if share > MUCH and compiled.graph.tensors[name].format is not None
    ]


def calibration(compiled: Compiled) -> dict[str, Any]:
    """Which of the calibration samples the number formats were chosen from.

    samples:  how many were run, evenly spread over those `given`; 0 where a file brings all formats
    taught:   for the teaching signals, how many of them, each with `labels` labels; 0 without learning
    outliers: which were set aside, as indices of those given; no format reaches for them
    """
    sampled = compiled.quantised.sampled
    return {
        "given": sampled.given,
        "samples": len(sampled.chosen),
        "taught": sampled.taught,
        "labels": sampled.labels,
        "outliers": sampled.chosen[sampled.aside].tolist(),
    }


def ranges(compiled: Compiled) -> list[dict[str, Any]]:
    """What calibration saw of every activation, logit and teaching signal, beside what its format holds.

    In real units. `clipped`: the share of values that the format cannot hold; `aside`: in how many samples
    the format ignores values as outliers; `shares`: the tensor whose range decided the format, where that is
    another (a clip behind a layer cuts what does not matter).
    """
    seen = compiled.quantised.seen
    named = [name for _, step in compiled.abstract.in_order() for name in step.args.values()]
    out = []
    for name in dict.fromkeys([*compiled.abstract.inputs, *named]):
        if name in seen and name in compiled.plan:
            t, of = compiled.plan[name], root(compiled.abstract.values, name)
            out.append(
                {
                    "tensor": name,
                    "role": t.role,
                    "dtype": t.dtype,
                    "q": str(t.meaning),
                    "seen": [seen[name].lo, seen[name].hi],
                    "holds": t.meaning.real([t.lo, t.hi]).tolist(),
                    "clipped": seen[name].clipped,
                    "aside": seen[name].aside,
                    "shares": of if of != name else "",
                }
            )
    return out


def learned(compiled: Compiled) -> list[dict[str, Any]]:
    """Format, limit and headroom of every learned tensor, and of every teaching signal."""
    out = []
    for t in compiled.plan.tensors:
        if t.learned:
            top = float(np.max(np.abs(t.array().astype(np.float64)), initial=0.0))
            out.append(
                {
                    "tensor": t.name,
                    "dtype": t.dtype,
                    "q": str(t.meaning),
                    "scale": t.meaning.step,
                    "limit": t.hi,
                    "headroom": t.hi / top if top else None,
                    "bytes": t.nbytes,
                }
            )
        elif ROLES[t.role].kind == "teaching":
            out.append(
                {
                    "tensor": t.name,
                    "dtype": t.dtype,
                    "q": str(t.meaning),
                    "scale": t.meaning.step,
                    "limit": t.hi,
                    "headroom": None,
                    "bytes": t.nbytes,
                }
            )
    return out


def _proofs(compiled: Compiled) -> list[dict[str, Any]]:
    return [
        {
            "node": p.step.node,
            "kernel": p.step.kernel,
            "sum": a.what,
            "lo": a.lo,
            "hi": a.hi,
            "bits": a.bits,
            "used": max(abs(a.lo), abs(a.hi)) / 2.0 ** (a.bits - 1),
        }
        for p in compiled.proofs
        for a in p.accumulators
    ]


def costs(plan: Plan) -> list[dict[str, Any]]:
    """Multiply-accumulates and weight bytes by step, and by entry program when every condition holds.

    slices: how many steps a run has at most; longest_slice: the step with the most work, which is how long a
    product waits at most that runs the program in slices
    """
    out = []
    for entry in plan.entries:
        steps = [_step_cost(plan, s) for s in _steps(plan, entry)]
        longest = max(steps, key=lambda s: (s["macs"], s["reads"] + s["writes"]), default=None)
        rest = {"slices": _count(plan, entry), "longest_slice": longest, "steps": steps}
        out.append({"program": entry, **_total(plan, entry), **rest})
    return out


def _count(plan: Plan, program: str) -> int:
    """How many steps a run has when every condition holds, of programs that take turns the longest."""

    def steps(item: Item) -> int:
        if isinstance(item, Step):
            return 1
        return (item.times if isinstance(item, Repeat) else 1) * _count(plan, item.program)

    return sum(max(map(steps, items)) for items in turns(plan.programs, program))


def _step_cost(plan: Plan, step: Step) -> dict[str, Any]:
    work = cost(plan, step)
    return {
        "node": step.node,
        "kernel": step.kernel,
        "macs": work.macs,
        "reads": work.reads,
        "writes": work.writes,
    }


def _steps(plan: Plan, program: str) -> list[Step]:
    out: list[Step] = []
    for item in plan.programs[program].items:
        for step in [item] if isinstance(item, Step) else _steps(plan, item.program):
            if step not in out:
                out.append(step)
    return out


def _total(plan: Plan, program: str) -> dict[str, int]:
    """The work of a run when every condition holds, of programs that take turns the most."""
    total = {"macs": 0, "reads": 0, "writes": 0}
    for items in turns(plan.programs, program):
        parts = [_item_cost(plan, item) for item in items]
        total = {k: total[k] + max(part[k] for part in parts) for k in total}
    return total


def _item_cost(plan: Plan, item: Item) -> dict[str, int]:
    if isinstance(item, Step):
        work = _step_cost(plan, item)
        return {k: work[k] for k in ("macs", "reads", "writes")}
    times = item.times if isinstance(item, Repeat) else 1
    return {k: v * times for k, v in _total(plan, item.program).items()}


def summary(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    rule = report["rule"]
    how = f"rule {rule['rule']}, weights {rule['weights']}, kernels {report['kernels']}"
    how += "" if report["quantise"] == FAST else f", quantised {report['quantise']}"
    cal = report["calibration"]
    lines = [f"{report['model']}  {how}, plan {report['digest'][:12]}"]
    lines += [f"  note: {n}" for n in report["notes"]]
    lines += [f"  warning: {w}" for w in report["warnings"]]
    lines.append(_memory_line(report["memory"]))
    if "infer_only" in report:
        lines.append(_memory_line(report["infer_only"]).replace("  ", "  of this library, infer only: ", 1))
    if report.get("keep"):
        lines.append(f"  kept in flash: {kept_text(report['keep'])}")
    elif report["rule"].get("keep"):
        lines.append("  kept in flash: nothing, [keep] is of a library that learns")
    if cal["samples"]:
        agree = cal["same_class_as_float"]  # none of a network that gives numbers
        same = "" if agree is None else f"{100 * agree:.1f} % the class of the float network, "
        lines.append(f"  calibration: {_samples(cal, report)}, {same}clipped {clipped_text(cal['clipped'])}")
    else:
        lines.append("  calibration: none, all number formats are the file's")
    if report["file"]:
        lines.append(f"  before it learns: {faithful(report['file'])}")
    layers = [_layer_rows] if report["layers"] else []
    learning = [_learning_rows] if report["learning"] else []
    for rows in (*layers, *learning, _proof_rows, _program_rows):
        lines += ["", *table(*rows(report))]
    return "\n".join([*lines, "", *peak_text(report["peaks"])])


def _memory_line(m: Mapping[str, Any]) -> str:
    return (
        f"  flash {m['constants'] + m['initial_state']} B of tensors; "
        f"RAM {m['state']} B state ({m['of_which_samples']} B of samples) + {m['arena']} B arena"
        + (f" ({m['of_which_history']} B of states of a window)" if m.get("of_which_history") else "")
        + (f" + {m['infer_arena']} B arena of infer" if m["infer_arena"] else "")
        + f" + {m['run']} B of what runs"
    )


def _headroom(x: Mapping[str, Any]) -> str:
    return f"{x['headroom']:.2f}" if x["headroom"] else ""


def _layer_rows(report: Mapping[str, Any]) -> _Table:
    head = ["layer", "Q", "headroom", "range", "at limits", "rms error", "rms"]
    return head, [
        [
            x["layer"],
            x["q"],
            _headroom(x),
            f"{x['range'][0]} .. {x['range'][1]}",
            f"{100 * x['saturated']:.2f} %",
            f"{x['rms_error']:.4f}",
            f"{x['rms']:.4f}",
        ]
        for x in report["layers"]
    ]


def _learning_rows(report: Mapping[str, Any]) -> _Table:
    head = ["learned tensor or signal", "type", "Q", "limit", "headroom", "bytes"]
    return head, [
        [x["tensor"], x["dtype"], x["q"], str(x["limit"]), _headroom(x), str(x["bytes"])]
        for x in report["learning"]
    ]


def _proof_rows(report: Mapping[str, Any]) -> _Table:
    head = ["layer", "kernel", "proven sum", "range", "used"]
    return head, [
        [
            x["node"],
            x["kernel"],
            x["sum"],
            f"{x['lo']} .. {x['hi']}",
            f"{100 * x['used']:.1f} % of {x['bits']} bits",
        ]
        for x in report["proofs"]
    ]


def _program_rows(report: Mapping[str, Any]) -> _Table:
    head = ["program", "MACs at most", "weights read", "weights written", "slices at most", "longest slice"]
    return head, [
        [p["program"], str(p["macs"]), str(p["reads"]), str(p["writes"]), str(p["slices"]), slice_text(p)]
        for p in report["programs"]
    ]


def kept_text(keep: Mapping[str, Any]) -> str:
    """What a save keeps and costs, in words."""
    samples = "with" if keep["samples"] else "without"
    words = f"{keep['kept']:,} of {keep['state']:,} bytes of state, {samples} the wearer's samples"
    words += f"; {keep['manifest']:,} more say what these are" if keep["migrate"] else ""
    words += f"; a save writes {keep['written']:,} bytes"
    if not keep["block"]:
        return f"{words}; the board file does not say what its flash can take"
    words += f" in {keep['blocks_a_save']} of {keep['blocks']} blocks of {keep['block']:,} bytes"
    least = f"{keep['cycles']:,} erases of each are {keep['saves']:,} saves at least"
    apart = f"one every {span_text(keep['interval_s'])} for ten years"
    return f"{words}. {least}: {apart}, or one an hour for {keep['years']:,.1f} years"


def span_text(seconds: float) -> str:
    """A time in the unit in which it is at least 1."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def faithful(file: Mapping[str, Any]) -> str:
    """How often the network answers as its model file, in words."""
    words = f"{100 * file['same_class']:.1f} % of the answers are the model file's"
    if file["tied"]:
        words += f" ({100 * file['tied']:.1f} % where that scores two classes alike)"
    return words


def under(report: Mapping[str, Any]) -> str:
    """With what each calibration sample was taught, in words; "" where that is the sample itself."""
    loss, turns = report["rule"]["loss"], report["calibration"]["labels"]
    if loss["kind"] == MSE and loss["target"] == "input":
        return ""
    what = "target" if loss["kind"] == MSE else "label"
    return f" under {turns} {what}s each" if turns > 1 else f" under one {what} each"


def _samples(cal: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """How many samples were run, and how many were taught from."""
    some = f"{cal['samples']} of {cal['given']}" if cal["samples"] < cal["given"] else f"{cal['samples']}"
    if not cal["labels"]:
        return f"{some} samples"
    taught = f" of {cal['taught']}" if cal["taught"] < cal["samples"] else ""
    return f"{some} samples, teaching signals{taught}{under(report)}"


def program_text(plan: Plan) -> str:
    """Programs, step by step."""
    lines = []
    for p in plan.programs.values():
        lines.append(f"{p.name}{' (entry)' if p.name in plan.entries else ''}: {p.doc}")
        for item in p.items:
            if isinstance(item, Step):
                operands = ", ".join(f"{r}={n}" for r, n in item.args.items())
                attrs = " ".join(f"{k}={v}" for k, v in item.attrs.items())
                lines.append(f"    {item.kernel:<20} {item.node:<12} {operands}  {attrs}".rstrip())
            elif isinstance(item, Call):
                lines.append(f"    call {item.program}")
            elif isinstance(item, Repeat):
                lines.append(f"    repeat {item.times} {item.program}")
            else:
                lines.append(f"    when {item.flag} {item.program}")
    return "\n".join(lines)
