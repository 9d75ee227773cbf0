"""Backpropagation, the oracle of all rules, against numeric derivatives."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.program import Abstract
from synapcc.gen.ops import layer
from synapcc.gen.rules import rules
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.schedule import build

Arrays = dict[str, np.ndarray]
LABEL, STEP = 1, 1e-5


def loss(abstract: Abstract, state: Arrays, inputs: Arrays) -> float:
    """Softmax cross-entropy of LABEL."""
    machine = RealMachine(abstract.values, abstract.programs, 1)
    for name, value in state.items():
        machine.state[name][0] = value
    machine.load(inputs)
    machine.run("forward")
    z = machine.arena[abstract.logits][0].astype(np.float64)
    return float(np.log(np.exp(z - z.max()).sum()) - (z[LABEL] - z.max()))


def check(graph: Graph, rng: np.random.Generator, elements: int) -> int:
    """Compares changes of learned values at rate 1 with numeric derivatives; how many were not zero."""
    dense = tuple(n.name for n in verify(graph).nodes if layer(n.op).weighted)
    inputs = {i: rng.normal(size=(1, graph.tensors[i].size)) for i in graph.inputs}
    abstract = build(graph, RuleSpec("bp", rate=0), rules()["bp"], dense, inputs | {"label": np.zeros(1)})
    machine = RealMachine(abstract.values, abstract.programs, 1)
    start = {k: v[0].copy() for k, v in machine.state.items() if abstract.values[k].learned}
    machine.load(inputs | {"label": np.array([[LABEL]])})
    machine.run("adapt")
    moved = 0
    for name, before in start.items():
        change = (before - machine.state[name][0]).ravel()
        for at in rng.integers(0, before.size, elements):
            sides = []
            for step in (STEP, -STEP):
                state = {k: v.copy() for k, v in start.items()}
                state[name].ravel()[at] += step
                sides.append(loss(abstract, state, inputs))
            numeric = (sides[0] - sides[1]) / (2 * STEP)
            assert abs(numeric - change[at]) < 1e-4 * max(1.0, abs(numeric)), f"{graph.name}: {name}[{at}]"
            moved += abs(numeric) > 1e-6
    return moved
