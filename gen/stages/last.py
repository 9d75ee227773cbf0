"""A layer of whose output only some places are read, as the last step of a window, gives just these."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import Wires, called, rewritten
from ..ops import layer, reshaping


def picked_alone(wires: Wires) -> Graph | None:
    """A layer that may give fewer places gives those that are read, where one way of moves leads there."""
    for node in wires.graph.nodes:
        shape = wires.shape(node.output)
        index, passed, at = np.arange(math.prod(shape)).reshape(shape), list[Node](), node.output
        while (reader := wires.only_reader(at)) is not None and len(reader.inputs) == 1:
            to = wires.shape(reader.output)
            moved = layer(reader.op).moved(reader, [index], to, -1)
            if moved is None or np.any(moved < 0):
                break
            index, at = moved, reader.output
            attrs = layer(node.op).picked(node, shape, index.reshape(-1))
            if attrs is None:
                passed.append(reader)
                continue
            op, view = reshaping(to)
            alone = replace(reader, op=op, inputs=(node.output,), attrs=view)
            nodes = {n.name: () for n in passed} | {node.name: (replace(node, attrs=attrs),)}
            size = (index.size,)
            note = f"{called(node)}: gives what {called(reader)} takes of it, and nothing else"
            kept = {node.output: Tensor(node.output, size)}
            return rewritten(wires.graph, {**nodes, reader.name: (alone,)}, kept, note)
    return None
