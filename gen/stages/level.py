"""What layers that learn read, brought to one length, for a rule that teaches each layer by its own size.

Such a layer would else find in the length of its input what the layer below was taught to say with it, and
had nothing to learn of its own: Hinton 2022, arXiv 2212.13345, section 3.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import Wires, called, fresh
from ..ops import layer, levelling, reshaping


def levelled(graph: Graph, learned: Collection[str]) -> Graph:
    """`graph` with a normalisation, to a mean square of 1, in front of each layer that learns but those that
    read no other one that does, and those that have a normalisation there already.

    CompileError where there are more values than are normalised together.
    """
    wires, heard = Wires(graph), set[str]()  # tensors that a layer in front of them changes by learning
    tensors, nodes, made, names = dict(graph.tensors), list[Node](), dict[str, str](), list[str]()
    for node in graph.nodes:
        x = node.inputs[0]
        if node.name in learned and x in heard and not _has_length(wires, x):
            if x not in made:
                made[x] = _put(graph, x, tensors, nodes)
            nodes.append(replace(node, inputs=(made[x], *node.inputs[1:])))
            names.append(called(node))
        else:
            nodes.append(node)
        if node.name in learned or not heard.isdisjoint(node.inputs):
            heard.add(node.output)
    if not made:
        return graph
    note = f"{', '.join(names)}: what is read is brought to one length first, a mean square of 1"
    return replace(graph, tensors=tensors, nodes=tuple(nodes), notes=(*graph.notes, note))


def _has_length(wires: Wires, tensor: str) -> bool:
    """Whether a normalisation makes a tensor, but for scales, offsets and order."""
    node = wires.maker(tensor)
    while node is not None and (layer(node.op).rearranges or layer(node.op).scales):
        node = wires.maker(node.inputs[0])
    return node is not None and layer(node.op).levelling() is not None


def _put(graph: Graph, x: str, tensors: dict[str, Tensor], nodes: list[Node]) -> str:
    """Adds the normalisation of all values of `x`, whatever its shape; the tensor that has them."""
    shape, flat, at = graph.tensors[x].shape, (graph.tensors[x].size,), x
    level = ("level", levelling(), flat)
    ways = [("flat", reshaping(flat), flat), level, ("shaped", reshaping(shape), shape)]
    for what, (op, attrs), to in ways if len(shape) > 1 else [level]:
        name = fresh(replace(graph, tensors=tensors, nodes=(*graph.nodes, *nodes)), f"{x}_{what}")
        tensors[name] = Tensor(name, to)
        nodes.append(Node(op, name, (at,), name, attrs))
        layer(op).shape(nodes[-1], [tensors[at].shape])
        at = name
    return at
