"""Who lives where when: the steps of an entry program as they run, and when each arena tensor holds content.

The rules are those by which gen.stages.memory placed the tensors; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Call, Repeat, Step
from synapcc.gen.ops import Cost, kernel, replaced
from synapcc.gen.ops.counter import turns

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """One step as it runs: how often, and the arena tensors that hold something while it does."""

    program: str
    step: Step
    times: int
    alive: Names


def moments(plan: Plan, entry: str) -> list[Moment]:
    """The steps of an entry program in order, every condition taken, the body of a repetition once."""
    names = frozenset(t.name for t in plan.space("arena"))
    _, trace = _Walk(plan, names).program(entry, names & {plan.logits, "verdict"}, 1)
    return trace


class _Walk:
    def __init__(self, plan: Plan, names: Names) -> None:
        self.plan, self.names = plan, names

    def program(self, name: str, live: Names, times: int) -> tuple[Names, list[Moment]]:
        """(what must hold content before the program, its moments) if `live` must after it."""
        parts: list[list[Moment]] = []
        for item in reversed(self.plan.programs[name].items):
            if isinstance(item, Step):
                live, alive = self._step(item, live)
                part = [Moment(name, item, times, alive)]
            elif isinstance(item, Call):
                live, part = self.program(item.program, live, times)
            elif isinstance(item, Repeat):
                again, _ = self.program(item.program, live, times)
                before, part = self.program(item.program, live | again, times * item.times)
                live = live | before
            else:
                before, part = self.program(item.program, live, times)
                live = live | before | ({item.flag} & self.names)
            parts.append(part)
        return live, [m for part in reversed(parts) for m in part]

    def _step(self, step: Step, after: Names) -> tuple[Names, Names]:
        """What must hold content before the step, and what holds any while it runs."""
        operands = self.names & frozenset(step.args.values())
        written = operands.intersection(replaced(step).values())
        return (after - written) | (operands - written), operands | after


def timeline(plan: Plan, entry: str) -> dict[str, Any]:
    """An entry program ready for JSON: its steps, and for each arena tensor the spans [first, last] of steps
    during which it holds content. `bytes` of a step counts what is alive, bytes that two share once; it is
    `other` where a run takes it in place of one that stands before it."""
    trace = moments(plan, entry)
    others = {
        item.program
        for name in plan.programs
        for taken in turns(plan.programs, name)
        for item in taken[1:]
        if not isinstance(item, Step)
    }
    steps = [
        {
            "program": m.program,
            "node": m.step.node,
            "kernel": m.step.kernel,
            "times": m.times,
            "other": m.program in others,
            "macs": cost(plan, m.step).macs,
            "bytes": covered(plan, m.alive),
        }
        for m in trace
    ]
    arena = []
    for t in sorted(plan.space("arena"), key=lambda t: (t.offset, t.name)):
        if spans := _spans(i for i, m in enumerate(trace) if t.name in m.alive):
            arena.append({"tensor": t.name, "spans": spans})
    return {"program": entry, "steps": steps, "arena": arena}


def cost(plan: Plan, step: Step) -> Cost:
    """The work of one step."""
    return kernel(step.kernel).cost({role: plan[n].shape for role, n in step.args.items()}, step.attrs)


def covered(plan: Plan, names: Iterable[str]) -> int:
    """Bytes of the arena in which these tensors lie; those that two share count once."""
    total = end = 0
    for t in sorted((plan[n] for n in names), key=lambda t: t.offset):
        total += max(0, t.offset + t.nbytes - max(end, t.offset))
        end = max(end, t.offset + t.nbytes)
    return total


def _spans(places: Iterable[int]) -> list[list[int]]:
    """Rising numbers as runs [first, last]."""
    spans: list[list[int]] = []
    for i in places:
        if spans and spans[-1][1] == i - 1:
            spans[-1][1] = i
        else:
            spans.append([i, i])
    return spans
