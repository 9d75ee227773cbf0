"""Layers that run over time: which rules teach them, what of a rule file they do not hear, and what goes with
a state that lasts from window to window.

Such a state is moved by `forward`, from where the window before left it; calibration, where no state changes,
runs every window from zero. So an entry program may run one window alone, the one that it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.inputs import listed
from ..ir.program import Builder, Entry, Repeat, Step
from ..ir.roles import STREAM
from ..ops import layer
from ..rules import Rule, rules
from ..spec import RuleSpec

MOVE = "history.put"
"""The kernel by which `forward` leaves a state behind."""


def refuse_timed(graph: Graph, spec: RuleSpec, rule: Rule | None, learned: Collection[str]) -> None:
    """CompileError where a layer that runs over time would learn in a way that there is none of, or none is
    there, and its state is to be kept."""
    if spec.state and not any(layer(n.op).timed for n in graph.nodes):
        what = "is true, and the network has no recurrent layer that could remember anything"
        raise CompileError("state.keep", what, "leave [state] out")
    if spec.state and spec.mark:
        what = "labels windows that are over, and recurrent layers go on from the newest one"
        raise CompileError("mark", what, "leave [state] or [mark] out")
    timed = [n.name for n in graph.nodes if n.name in learned and layer(n.op).timed]
    if not timed:
        return
    which = f"{listed(timed)} {'runs' if len(timed) == 1 else 'run'} over time"
    if rule is None or not (rule.direct or rule.unrolls):
        known = ", ".join(name for name, other in rules().items() if other.direct or other.unrolls)
        what = f"{spec.rule if rule else 'an equation'} has no signal for steps of time, and {which}"
        raise CompileError("rule", what, f"take {known}, or leave these layers out of `layers`")
    asked = {
        "init": spec.init,
        "schedule": spec.schedule,
        "accumulate": spec.accumulate,
        "momentum": spec.momentum,
    }
    for key, value in asked.items():
        if value:
            what = f"does not reach layers that learn in steps of time, and {which}"
            raise CompileError(key, what, "leave it out, or these layers out of `layers`")


def refuse_twice(b: Builder, entries: Sequence[Entry], rule: str) -> None:
    """CompileError where an entry program moves a state that lasts more than once: by windows that are not
    the next one."""

    def moves(program: str) -> int:
        found = 0
        for item in b.programs[program].items:
            if isinstance(item, Step):
                found += item.kernel == MOVE and b.values[item.args["y"]].use == STREAM
            else:
                found += (item.times if isinstance(item, Repeat) else 1) * moves(item.program)
        return found

    states = sum(v.use == STREAM and v.role == "activation" and v.space == "state" for v in b.values.values())
    for entry in entries:
        if moves(entry.name) > states:
            what = f"is true, and {entry.name} runs windows beside the one it is given, or that one again"
            hint = "leave [store], [replay], [guard] and [pseudo] out"
            raise CompileError("state.keep", what, f"{hint}, and take another rule where {rule} does that")
