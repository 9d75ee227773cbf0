"""Gives every position of a convolution weights of its own, where a rule file lists it as untied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import fresh
from ..ops._window import Window
from ..words import nearest, short

LARGEST = 1 << 24  # weights of one untied layer; no microcontroller holds as many


def untie(graph: Graph, names: Sequence[str]) -> Graph:
    """`graph` with the named conv2d nodes replaced by local2d, which start from the tied weights."""
    convs = [n.name for n in graph.nodes if n.op == "conv2d"]
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
        g = Window.of(node, graph.tensors[node.inputs[0]].shape)
        weight, bias = (graph.tensors[i] for i in node.inputs[1:])
        if g.positions * weight.size > LARGEST:
            what = f"{g.positions} positions of {weight.size} weights each are too many to untie"
            raise CompileError(node.name, what, "leave it tied, or use a larger stride")
        pair = [fresh(graph, f"{node.name}_untied_{what}") for what in ("weight", "bias")]
        assert weight.value is not None and bias.value is not None
        for key, value in zip(pair, (weight.value, bias.value), strict=True):
            repeated = np.tile(value, (g.positions,) + (1,) * (value.ndim - 1))
            tensors[key] = Tensor(key, repeated.shape, repeated)
        nodes.append(replace(node, op="local2d", inputs=(node.inputs[0], *pair)))
    return replace(graph, nodes=tuple(nodes), tensors=tensors)
