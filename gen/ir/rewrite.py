"""What passes need to look at a Graph and to rewrite it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, Tensor


class Wires:
    """A graph with who makes and who reads each tensor, looked up at once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._makers = {n.output: n for n in graph.nodes}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(node)

    def maker(self, tensor: str) -> Node | None:
        return self._makers.get(tensor)

    def readers(self, tensor: str) -> Sequence[Node]:
        return self._readers.get(tensor, ())

    def only_reader(self, tensor: str) -> Node | None:
        """The node that alone needs `tensor`."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor != self.graph.output else None

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape

    def constants(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """The two constant operands of a node: weight and bias, or scale and shift."""
        first, second = (self.graph.tensors[i].value for i in node.inputs[1:])
        assert first is not None and second is not None
        return first, second


def called(node: Node) -> str:
    """What a note calls a node."""
    return node.source or node.name


def with_values(node: Node, *values: np.ndarray) -> dict[str, Tensor]:
    """The constants of `node` with new values. Importers give every node constants of its own."""
    return {i: Tensor(i, v.shape, v) for i, v in zip(node.inputs[1:], values, strict=True)}


def fresh(graph: Graph, name: str) -> str:
    """`name`, with a number if the graph has it already."""
    taken: Collection[str] = {*graph.tensors, *(n.name for n in graph.nodes)}
    candidates = (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3)))
    return next(c for c in candidates if c not in taken)


def rewritten(
    graph: Graph, nodes: Mapping[str, tuple[Node, ...]], tensors: Mapping[str, Tensor], note: str
) -> Graph:
    """`graph` with the named nodes replaced in place, tensors replaced or added, and a note."""
    new = tuple(r for n in graph.nodes for r in nodes.get(n.name, (n,)))
    notes = (*graph.notes, note) if note else graph.notes
    return replace(graph, nodes=new, tensors={**graph.tensors, **tensors}, notes=notes)


def renamed(graph: Graph, old: str, new: str) -> Graph:
    """Whoever read `old` reads `new`."""
    nodes = tuple(replace(n, inputs=tuple(new if i == old else i for i in n.inputs)) for n in graph.nodes)
    return replace(graph, nodes=nodes, output=new if graph.output == old else graph.output)


def without(graph: Graph, node: Node, note: str = "") -> Graph:
    """`graph` without a node of one activation: whoever read its output reads its input."""
    return renamed(rewritten(graph, {node.name: ()}, {}, note), node.output, node.inputs[0])


def pruned(graph: Graph) -> Graph:
    """Without nodes and tensors that the output does not need. Inputs stay."""
    needed = {graph.output}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            nodes.append(node)
    needed.update(graph.inputs)
    tensors = {k: t for k, t in graph.tensors.items() if k in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), tensors=tensors)
