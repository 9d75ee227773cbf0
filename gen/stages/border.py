"""Where a network whose integers are a file's meets layers that learn.

What a file holds in integers of its own stays as it is, byte for byte, but a layer that learns: its numbers
become ours, powers of two that calibration chooses. At the border between both a value is *rescaled*, by a
table of 256 entries. What has its input's number format follows its input.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..ir.format import Format
from ..ir.graph import Attr, Graph, Node, Tensor
from ..ir.rewrite import Wires, fresh, without
from ..ops import layer, rescaling


def adopt(graph: Graph, learned: Collection[str]) -> Graph:
    """`graph` with the layers `learned`, and the scores if there are any, in numbers of ours."""
    if learned:
        graph = without_head(graph)
    given = {t.name: t.format for t in graph.tensors.values() if t.format}
    if not given:
        return graph
    if learned:
        graph = _rescaled(_freed(graph, learned), given)
    return _limits_taken_in(graph, learned)


def without_head(graph: Graph) -> Graph:
    """`graph` without a softmax at its very end, whose inputs are the scores then."""
    views: list[Node] = []
    node = graph.producer(graph.output)
    while node is not None and layer(node.op).rearranges:
        views.append(node)
        node = graph.producer(node.inputs[0])
    if node is None or not layer(node.op).head or len(graph.consumers(node.output)) > 1:
        return graph
    if graph.tensors[node.output].shape[-1] != graph.tensors[graph.output].size:
        return graph  # several rows: not one score a class
    x = graph.tensors[node.inputs[0]]
    tensors = {n: t for n, t in graph.tensors.items() if n != node.output}
    for view in views:
        tensors[view.output] = replace(tensors[view.output], format=x.format)
    nodes = tuple(
        replace(n, inputs=tuple(x.name if i == node.output else i for i in n.inputs))
        for n in graph.nodes
        if n is not node
    )
    output = x.name if graph.output == node.output else graph.output
    return replace(graph, nodes=nodes, tensors=tensors, output=output, head=layer(node.op).head)


def _freed(graph: Graph, learned: Collection[str]) -> Graph:
    """The layers that learn, and what follows them, without the file's formats."""
    tensors, nodes = dict(graph.tensors), []
    for node in graph.nodes:
        found = layer(node.op)
        data = node.inputs[: len(node.inputs) - found.constants]
        if node.name in learned or (found.follows and any(tensors[i].format is None for i in data)):
            own = (*node.inputs[len(data) :], node.output)
            tensors |= {name: replace(tensors[name], format=None) for name in own}
            node = replace(node, attrs={k: v for k, v in node.attrs.items() if k != "rounds"})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _rescaled(graph: Graph, given: dict[str, Format]) -> Graph:
    """Between what is in the file's numbers and what is in ours, a node that brings one to the other."""
    tensors, nodes = dict(graph.tensors), list[Node]()
    made: dict[tuple[str, bool], str] = {}

    def brought(name: str, ours: bool) -> str:
        """The tensor that has the values of `name` in our numbers, or in the file's."""
        t = tensors[name]
        if (t.format is None) == ours or t.value is not None:
            return name
        if (name, ours) not in made:
            new = fresh(replace(graph, tensors=tensors), f"{name}_rescaled")
            tensors[new] = Tensor(new, t.shape, format=None if ours else given[name])
            attrs: dict[str, Attr] = {"fn": "identity", "alpha": 0.0, "beta": 0.0}
            nodes.append(Node(rescaling(), new, (name,), new, attrs, f"the number format of {name}"))
            made[name, ours] = new
        return made[name, ours]

    for node in graph.nodes:
        ours = tensors[node.output].format is None
        inputs = tuple(brought(i, ours) for i in node.inputs)
        nodes.append(replace(node, inputs=inputs))
    output = brought(graph.output, True)
    return replace(graph, nodes=tuple(nodes), tensors=tensors, output=output)


def _limits_taken_in(graph: Graph, learned: Collection[str]) -> Graph:
    """Where a layer in the file's numbers is only read by one that holds it within limits, these become those
    of its output; not where signals pass, which need to know what was held."""
    taught = {n.output for n in graph.nodes if n.name in learned}
    for node in graph.nodes:
        if taught & {*node.inputs}:
            taught.add(node.output)
    for node in graph.nodes:
        wires = Wires(graph)
        x = node.inputs[0]
        maker = wires.maker(x)
        held = layer(node.op).limits(node, graph.tensors[node.output].format)
        alone = maker is not None and wires.only_reader(x) is not None
        if held is None or not alone or x in taught or not layer(maker.op).holds:  # type: ignore[union-attr]
            continue
        graph = without(graph, node)
        graph = replace(graph, tensors={**graph.tensors, x: replace(graph.tensors[x], format=held)})
    return graph
