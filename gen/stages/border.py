"""Where a network whose integers are a file's meets layers that learn.

What a file holds in integers of its own stays as it is, byte for byte. A layer that learns reads and writes
these integers as well; only its weights become ours, powers of two, and with them its bias. What it says
differs from the file by the rounding of weights alone, and of its input where that has 16 bits: it reads the
upper eight. Scores are ours too where something learns: int16, with room for what they will become.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..ir.format import Format, Scaled
from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import Wires, fresh, without
from ..ops import layer, rescaling


def given_integers(graph: Graph) -> bool:
    """Whether the integers of the network are a file's."""
    return any(t.format for t in graph.tensors.values())


def adopt(graph: Graph, learned: Collection[str], classes: bool = True) -> Graph:
    """`graph` with the weights of the layers `learned`, and the scores where there are any, in ours.

    classes: whether the scores are of classes, and not the numbers that are learned
    """
    if learned and classes:
        graph = without_head(graph, learns=True)
    if not given_integers(graph):
        return graph
    if learned:
        graph = _scores(_freed(_narrowed(graph, learned), learned), learned)
    return _limits_taken_in(graph, learned)


def without_head(graph: Graph, learns: bool = False) -> Graph:
    """`graph` without a softmax at its very end, whose inputs are the scores then.

    learns: without the sigmoid of its one output as well, which is part of the loss then
    """
    views: list[Node] = []
    node = graph.producer(graph.output)
    while node is not None and layer(node.op).rearranges:
        views.append(node)
        node = graph.producer(node.inputs[0])
    kind = layer(node.op).ends(node) if node else ""
    if node is None or not kind or len(graph.consumers(node.output)) > 1:
        return graph
    if kind == "sigmoid" and not (learns and graph.tensors[graph.output].size == 1):
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
    return replace(graph, nodes=nodes, tensors=tensors, output=output, head=kind)


def _without_formats(graph: Graph, names: Sequence[str]) -> Graph:
    tensors = {name: replace(graph.tensors[name], format=None) for name in names}
    return replace(graph, tensors={**graph.tensors, **tensors})


def _narrowed(graph: Graph, learned: Collection[str]) -> Graph:
    """What layers that learn read in 16 bits brought into 8, of the same reach."""
    for node in graph.nodes:
        x = graph.tensors[node.inputs[0]]
        if node.name not in learned or x.format is None or x.format.dtype != "int16":
            continue
        assert isinstance(x.format.meaning, Scaled)
        new = fresh(graph, f"{x.name}_narrow")
        held = Format("int8", Scaled((x.format.meaning.scale[0] * 256.0,)), -128, 127)
        op, attrs = rescaling()
        rescaled = Node(op, new, (x.name,), new, attrs, f"eight bits of {x.name}")
        reading = replace(node, inputs=(new, *node.inputs[1:]))
        nodes = [m for n in graph.nodes for m in ((rescaled, reading) if n is node else (n,))]
        tensors = {**graph.tensors, new: Tensor(new, x.shape, format=held)}
        graph = replace(graph, nodes=tuple(nodes), tensors=tensors)
    return graph


def _freed(graph: Graph, learned: Collection[str]) -> Graph:
    """The constants of the layers that learn without the file's formats."""
    own = [
        name
        for node in graph.nodes
        if node.name in learned
        for name in node.inputs[len(node.inputs) - layer(node.op).constants :]
    ]
    return _without_formats(graph, own)


def _scores(graph: Graph, learned: Collection[str]) -> Graph:
    """The scores in numbers of ours: those of a layer that learns as it makes them, all others by a table."""
    wires, behind = Wires(graph), [graph.output]
    while (maker := wires.maker(behind[-1])) is not None and layer(maker.op).follows:
        if wires.only_reader(maker.inputs[0]) is None or len(maker.inputs) > 1:
            break
        behind.append(maker.inputs[0])
    if maker is not None and maker.name in learned:
        return _without_formats(graph, behind)
    if graph.tensors[graph.output].format is None:
        return graph
    new = fresh(graph, f"{graph.output}_scores")
    op, attrs = rescaling()
    node = Node(op, new, (graph.output,), new, attrs, f"the number format of {graph.output}")
    tensors = {**graph.tensors, new: Tensor(new, graph.tensors[graph.output].shape)}
    return replace(graph, nodes=(*graph.nodes, node), tensors=tensors, output=new)


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
