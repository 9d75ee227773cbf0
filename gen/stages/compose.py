"""What several layers make of each value of one tensor, as one table, where a signal is to pass it.

A file writes so what has no operator: torch.where of a comparison, thresholds, activations by hand. Layer by
layer a comparison is a mask, and no signal passes it but beside it. As one function it has a slope at each
value, which is rounded once, and nothing of it waits while learning. What passes no comparison stays as it
is, and so does all that lies in front of what learns.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import Wires, called, fresh, pruned
from ..ops import doing, layer, reshaping
from ..ops._parts import Applied, Part
from .pieces import pieces
from .recognise import recognised

MOST = 64  # layers of one function


def composed(graph: Graph, learned: Collection[str]) -> Graph:
    """`graph` with one node for what layers make of each value of one tensor that a layer of `learned` makes,
    or what lies behind it, where a step is among them and a signal may pass beside it."""
    found = _Functions(graph, learned)
    tensors, nodes, notes = dict(graph.tensors), list[Node](), list[str]()
    for node in graph.nodes:
        source = found.ends(node)
        parts = found.parts(node.output, source) if source else None
        if source is None or parts is None:
            nodes.append(node)
            continue
        shape = graph.tensors[node.output].shape
        if graph.tensors[source].shape != shape:
            source = _shaped(graph, source, shape, tensors, nodes)
        nodes.append(_node(node, source, parts))
        notes.append(f"{called(node)}: one table of what {len(parts)} layers make of each value")
    if not notes:
        return graph
    made = replace(graph, tensors=tensors, nodes=tuple(nodes), notes=(*graph.notes, *notes))
    return pruned(made)


def _node(end: Node, source: str, parts: list[Part]) -> Node:
    """What `parts` make of `source`: a function that has a name, if it is one."""
    known = recognised(pieces(parts))
    if known is not None and known[3] == 1.0:
        parts = [Part(Applied(*known[:3]), 0)]
    op, attrs = doing(parts)
    return Node(op, end.name, (source,), end.output, attrs, end.source)


def _shaped(
    graph: Graph, source: str, shape: tuple[int, ...], tensors: dict[str, Tensor], nodes: list[Node]
) -> str:
    """Adds the values of `source` in another shape; the tensor that has them."""
    op, attrs = reshaping(shape)
    name = fresh(replace(graph, tensors=tensors, nodes=(*graph.nodes, *nodes)), f"{source}_shaped")
    tensors[name] = Tensor(name, shape)
    nodes.append(Node(op, name, (source,), name, attrs))
    return name


class _Functions:
    """Finds of which tensor another one is a function, value by value.

    sources: by tensor; itself where it is of no other
    passed:  the tensors that a signal reaches their source from
    stepped: those with a step on the way
    """

    def __init__(self, graph: Graph, learned: Collection[str]) -> None:
        self.graph, self.wires = graph, Wires(graph)
        self.sources: dict[str, str] = {}
        self.passed, self.stepped, self.behind = set[str](), set[str](), set[str]()
        for node in graph.nodes:
            if node.name in learned or not self.behind.isdisjoint(node.inputs):
                self.behind.add(node.output)
            self._add(node)

    def _activations(self, node: Node) -> list[str]:
        return [i for i in node.inputs if self.graph.tensors[i].value is None]

    def _applied(self, node: Node) -> Applied | None:
        values = (self.graph.tensors[i].value for i in node.inputs)
        return layer(node.op).applied(node, [v for v in values if v is not None])

    def _add(self, node: Node) -> None:
        tensors, read = self.graph.tensors, self._activations(node)
        sizes = {tensors[i].size for i in (*read, node.output)}
        given = any(tensors[i].format is not None for i in (*read, node.output))
        sources = {self.sources.get(i, i) for i in read}
        self.sources[node.output] = node.output
        if len(sources) != 1 or len(sizes) != 1 or given or self._applied(node) is None:
            return
        (source,) = sources
        if source not in self.behind:
            return
        self.sources[node.output] = source
        step = layer(node.op).steps(node)
        if not step and any(i == source or i in self.passed for i in read):
            self.passed.add(node.output)
        if step or any(i in self.stepped for i in read):
            self.stepped.add(node.output)

    def ends(self, node: Node) -> str | None:
        """The tensor that what a node gives is a function of, where one node is to make it of that."""
        out = node.output
        if out not in self.stepped or out not in self.passed:
            return None
        readers, source = self.wires.readers(out), self.sources[out]
        inside = all(self.sources.get(r.output) == source for r in readers)
        return None if inside and readers and out != self.graph.output else source

    def parts(self, tensor: str, source: str) -> list[Part] | None:
        """What lies between, in order; None if that is too much."""
        numbers, parts, todo = {source: 0}, list[Part](), [tensor]
        while todo and len(parts) <= MOST:
            node = self.wires.maker(todo[-1])
            assert node is not None
            read = self._activations(node)
            if waits := [i for i in read if i not in numbers]:
                todo += waits
                continue
            out = todo.pop()
            if out in numbers:
                continue
            applied = self._applied(node)
            assert applied is not None
            parts.append(Part(applied, numbers[read[0]], numbers[read[-1]] if len(read) > 1 else 0))
            numbers[out] = len(parts)
        finite = all(math.isfinite(v) for p in parts if p.applied.name != "limits" for v in _numbers(p))
        return parts if len(parts) <= MOST and finite else None


def _numbers(part: Part) -> tuple[float, float]:
    return part.applied.alpha, part.applied.beta
