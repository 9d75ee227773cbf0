"""Gives every position of a convolution weights of its own, where a rule file lists it as untied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.format import Format, Scaled
from ..ir.graph import Graph, Node, Tensor
from ..ir.plan import Plan
from ..ir.rewrite import fresh
from ..ops import layer, layers
from ..words import nearest, short

LARGEST = 1 << 24  # weights of one untied layer; no microcontroller holds as many


def untie(graph: Graph, names: Sequence[str]) -> Graph:
    """`graph` with the named convolutions untied: each by its op for that, starting from the tied weights."""
    convs = [n.name for n in graph.nodes if layer(n.op).untied]
    for name in names:
        if name not in convs:
            listed = f"{nearest(name, convs)}it has {', '.join(convs)}" if convs else "it has none at all"
            raise CompileError("untied", f'the network has no convolution "{short(name)}"', listed)
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        if node.name not in names:
            nodes.append(node)
            continue
        positions = math.prod(graph.tensors[node.output].shape[:-1])
        weight, bias = (graph.tensors[i] for i in node.inputs[1:])
        if positions * weight.size > LARGEST:
            what = f"{positions} positions of {weight.size} weights each are too many to untie"
            raise CompileError(node.name, what, "leave it tied, or use a larger stride")
        pair = [fresh(graph, f"{node.name}_untied_{what}") for what in ("weight", "bias")]
        for key, value in zip(pair, (weight, bias), strict=True):
            assert value.value is not None
            repeated = np.tile(value.value, (positions,) + (1,) * (len(value.shape) - 1))
            tensors[key] = Tensor(key, repeated.shape, repeated, format=_repeated(value.format, positions))
        nodes.append(replace(node, op=layer(node.op).untied, inputs=(node.inputs[0], *pair)))
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _repeated(held: Format | None, positions: int) -> Format | None:
    """How a model file holds a constant whose rows are repeated for every position."""
    if held is None or not isinstance(held.meaning, Scaled) or len(held.meaning.scale) == 1:
        return held
    meaning = Scaled(held.meaning.scale * positions, held.meaning.zero * positions)
    return Format(held.dtype, meaning, held.lo, held.hi)


def untied(plan: Plan) -> list[str]:
    """The layers that were untied, from the ops that its inference runs."""
    kernels = {f"{found.untied}.forward" for found in layers().values() if found.untied}
    return [step.node for program, _, step in plan.ops() if program == "forward" and step.kernel in kernels]
