"""What the layers that learn start from where a rule file says `init`: nothing that a model file trained.

All weights are uniform, biases zero.

he       within sqrt(6 / inputs): He, Zhang, Ren, Sun, Delving deep into rectifiers, 2015
glorot   within sqrt(6 / (inputs + outputs)): Glorot, Bengio, Understanding the difficulty of training deep
         feedforward neural networks, 2010
uniform  within sqrt(1 / inputs): LeCun, Bottou, Orr, Mueller, Efficient backprop, 1998, as libraries start
zero     all zero, which feedback through matrices of its own can leave: Song, Lee, Kim, PocketNN, 2022
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Graph, Tensor
from ..ops import layer
from ..spec import RuleSpec
from .calibrate import Runs
from .float_run import RealMachine, spread
from .head import classifier

FIRST = 2**31  # of the generator's numbers for weights: feedback matrices have the low ones
TRIED = 32  # samples that a start at zero is taught: what one layer learns reaches the next with the next one
LIMITS: Mapping[str, Callable[[int, int], float]] = {
    "he": lambda inputs, outputs: math.sqrt(6 / inputs),
    "glorot": lambda inputs, outputs: math.sqrt(6 / (inputs + outputs)),
    "uniform": lambda inputs, outputs: math.sqrt(1 / inputs),
    "zero": lambda inputs, outputs: 0.0,
}


def started(graph: Graph, spec: RuleSpec, learned: Collection[str]) -> Graph:
    """`graph` with new weights of the layers that learn, as the rule file asks, but those that [head] makes.

    CompileError where a model file brought integers: their formats are for what it had learned; and where
    [head] keeps rows that were trained for features that are gone then.
    """
    if any(t.format for t in graph.tensors.values()):
        what = f'is "{spec.init}", and the number formats of the model file are those of what it had learned'
        raise CompileError("init", what, "take the network in float, or leave init out")
    new = classifier(graph) if spec.head else None
    tensors = dict(graph.tensors)
    nodes = [n for n in graph.nodes if n.name in learned and n != new]
    if nodes and spec.head and spec.head.keeps and not spec.head.append:
        what = f'is "{spec.init}", and [head] keeps rows that read what {nodes[-1].name} had learned'
        raise CompileError("init", what, "let all rows be new, as classes = 5, or leave init out")
    for i, node in enumerate(nodes):
        w, b = (tensors[name] for name in node.inputs[1:])
        rows, columns = w.shape
        limit = LIMITS[spec.init](
            columns, layer(node.op).fan_out(node, [tensors[n].shape for n in node.inputs])
        )
        drawn = numeric.feedback_matrix(spec.seed, FIRST + i, rows, columns, False)
        for t, value in ((w, drawn.astype(np.float64) * (limit / 127)), (b, np.zeros(b.shape))):
            tensors[t.name] = Tensor(t.name, t.shape, value)
    names = ", ".join(n.name for n in nodes)
    note = f"{names} start from {spec.init}, seed {spec.seed}: nothing that was trained is left in them"
    return replace(graph, tensors=tensors, notes=(*graph.notes, note) if nodes else graph.notes)


def refuse_deaf(runs: Runs) -> None:
    """Raises CompileError for a layer that starts at zero and whose weights no calibration sample changes.

    What changes is asked of learning itself, in real numbers, whatever steps a rule learns by: up to TRIED
    samples one after the other, under right and wrong labels, so that what one layer learns reaches the next.
    """
    abstract = runs.abstract
    silent = {
        step.args["w"]: step.node
        for _, step in abstract.in_order()
        if {"x", "w", "b", "y"} <= step.args.keys() and abstract.values[step.args["w"]].learned
    }
    machine = RealMachine(abstract.values, abstract.programs, 1)
    first = {name: machine.state[name].copy() for name in silent}
    with np.errstate(all="ignore"):
        for i, sample in enumerate(spread(len(runs), TRIED)):
            if not silent:
                return
            rows = np.array([sample])
            machine.load({n: x[rows] for n, x in runs.inputs.items()})
            machine.run("infer")
            machine.load(runs.wanted(rows, machine, i % max(1, runs.turns)))
            machine.run("adapt")
            silent = {n: node for n, node in silent.items() if np.array_equal(machine.state[n], first[n])}
    for node in silent.values():
        what = "hears nothing and would never change: signals do not pass weights that are zero, nor a ReLU"
        hint = 'take init = "he" or "glorot", or fixed feedback and activations that are linear around 0'
        raise CompileError(node, what, hint)
