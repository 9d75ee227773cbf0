"""Where an entry program fills the arena most: what lies there then, and what each tensor is kept for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import changed, kernel, operands, replaced

from ..terminal.text import table
from .timeline import Moment, covered, moments


def peaks(plan: Plan) -> list[dict[str, Any]]:
    """The fullest step of each entry program that has any, ready for JSON; the first of equals.

    step:     its number in the program's `timeline`
    bytes:    bytes of the arena that hold content while it runs, those that two tensors share once
    of_infer: the same as a multiple of what `infer` holds at its own fullest step
    tensors:  what holds content, the largest first. `use`: what the step does with it ("reads", "writes",
              "changes", or "" where it only waits); `since`: the step that made it, null where the program's
              caller did, or an earlier round; `next`: the step that needs it next, null where the caller
              does, a condition or a later round; `answer`: whether a caller reads it
    """
    out: list[dict[str, Any]] = []
    for entry in plan.entries:
        trace = moments(plan, entry)
        sizes = [covered(plan, m.alive) for m in trace]
        if not trace:
            continue
        at = max(range(len(trace)), key=sizes.__getitem__)
        inference = out[0]["bytes"] if out else sizes[at]
        out.append(
            {
                "program": entry,
                **_named(trace, at),
                "bytes": sizes[at],
                "of_infer": sizes[at] / inference,
                "tensors": _tensors(plan, trace, at),
            }
        )
    return out


def _named(trace: Sequence[Moment], at: int) -> dict[str, Any]:
    return {"step": at, "kernel": trace[at].step.kernel, "node": trace[at].step.node}


def _tensors(plan: Plan, trace: Sequence[Moment], at: int) -> list[dict[str, Any]]:
    names = sorted(trace[at].alive, key=lambda n: (-plan[n].nbytes, plan[n].offset, n))
    return [
        {
            "tensor": name,
            "dtype": plan[name].dtype,
            "bytes": plan[name].nbytes,
            "use": _use(trace[at].step, name),
            "since": _since(trace, at, name),
            "next": _next(trace, at, name),
            "answer": name in (plan.logits, "verdict"),
        }
        for name in names
    ]


def _use(step: Step, name: str) -> str:
    if name in replaced(step).values():
        return "writes"
    if name in operands(step, kernel(step.kernel).reads).values():
        return "reads"
    return "changes" if name in step.args.values() else ""


def _since(trace: Sequence[Moment], at: int, name: str) -> dict[str, Any] | None:
    """The step with which the content that lives at `at` begins; None if no step of this order does."""
    first = at
    while name not in replaced(trace[first].step).values() and first and name in trace[first - 1].alive:
        first -= 1
    return _named(trace, first) if name in changed(trace[first].step).values() else None


def _next(trace: Sequence[Moment], at: int, name: str) -> dict[str, Any] | None:
    """The first step behind `at` that needs the content; None if there is none in this order."""
    for i in range(at + 1, len(trace)):
        if name not in trace[i].alive or name in replaced(trace[i].step).values():
            return None
        if name in trace[i].step.args.values():
            return _named(trace, i)
    return None


def peak_text(peaks: Sequence[Mapping[str, Any]]) -> list[str]:
    """`peaks` as a person reads it; programs that are fullest at the same step are told together."""
    told: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for p in peaks:
        told.setdefault((p["kernel"], p["node"], *(t["tensor"] for t in p["tensors"])), []).append(p)
    lines: list[str] = []
    for same in told.values():
        p = same[0]
        names = " and ".join(q["program"] for q in same)
        more = "" if p["program"] == "infer" else f", {p['of_infer']:.2f} times those of infer,"
        lines += [f"arena of {names}: {p['bytes']} B at most{more} at {p['kernel']} of {p['node']}"]
        rows = [[t["tensor"], t["dtype"], str(t["bytes"]), maker(t), why(t)] for t in p["tensors"]]
        lines += [*table(["tensor", "type", "bytes", "made by", "why it lies there"], rows), ""]
    return lines[:-1]


def maker(t: Mapping[str, Any]) -> str:
    """Since which step a tensor holds what it holds."""
    return f"{t['since']['kernel']} of {t['since']['node']}" if t["since"] else "who called"


_HERE = {"reads": "read here", "writes": "written here", "changes": "changed here"}


def why(t: Mapping[str, Any]) -> str:
    """Why a tensor lies in the arena at its program's fullest step."""
    after = ""
    if t["next"]:
        after = f"{t['next']['kernel']} of {t['next']['node']}"
    elif t["answer"]:
        after = "who called"
    if t["use"]:
        return _HERE[t["use"]] + (f", then kept for {after}" if after else "")
    return f"kept for {after or 'a condition or a later round'}"
