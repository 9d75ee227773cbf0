"""Layers that run over time and learn: which rules teach them, and what of a rule file they do not hear."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.inputs import listed
from ..ops import layer
from ..rules import Rule, rules
from ..spec import RuleSpec


def refuse_timed(graph: Graph, spec: RuleSpec, rule: Rule | None, learned: Collection[str]) -> None:
    """CompileError where a layer that runs over time would learn in a way that there is none of."""
    timed = [n.name for n in graph.nodes if n.name in learned and layer(n.op).timed]
    if not timed:
        return
    which = f"{listed(timed)} {'runs' if len(timed) == 1 else 'run'} over time"
    if rule is None or not rule.direct:
        known = ", ".join(name for name, other in rules().items() if other.direct)
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
