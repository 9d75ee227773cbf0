"""A scale and offset that a network applies to its input goes into the input's quantiser.

Folded into the first layer's weights it would be the same function of real numbers, but not of integers: the
input's one scale would be that of the raw features, and what is small among them would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node, Tensor
from ..ir.quantiser import FAR, LEAST, LIMIT, Quantiser
from ..ir.rewrite import Wires, called, fresh, with_values
from ..ops import layer, layers, scaling
from ..ops._folding import Pair

OTHER, BORDER = -1, -2  # places of what does not come from the input: another tensor's, padding's
ALIKE = 2.0  # scales within this factor leave a raw input as good as a normalised one
Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Way:
    """How an input reaches an affine node.

    nodes:  what moves it on the way, by name
    places: for each element that the affine sees, the input's element that it is, OTHER or BORDER
    """

    input: str
    nodes: frozenset[str]
    places: Places


def scalings(wires: Wires) -> tuple[Node, ...]:
    """The nodes that compute scale * x + shift."""
    known = layers()
    return tuple(n for n in wires.graph.nodes if known[n.op].scales)


def lift_affine(wires: Wires, nodes: Sequence[Node] | None = None) -> Graph | None:
    """quantise(x) behind which stands s * x + t becomes quantise((x - o) * s), through whatever only moves x.

    Other readers of the raw input get it back by the inverse, which layers with weights take in.
    nodes: the affine nodes that are tried, all if None
    """
    graph = wires.graph
    known = layers()
    if not any(known[n.op].weighted for n in graph.nodes):  # without weights nothing would remain
        return None
    for name in graph.inputs:
        moved = _moved(graph, name)
        for node in scalings(wires) if nodes is None else nodes:
            if node.inputs[0] not in moved or graph.output in moved:
                continue
            way = _Way(name, _behind(wires, name, node.inputs[0], moved), moved[node.inputs[0]].reshape(-1))
            if (new := _lifted(wires, node, way)) is not None:
                return new
    return None


def _moved(graph: Graph, name: str) -> dict[str, Places]:
    """The tensors that hold elements of input `name` unchanged, and where each comes from."""
    shape = graph.tensors[name].shape
    out: dict[str, Places] = {name: np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)}
    for node in graph.nodes:
        known = [out.get(i) for i in node.inputs]
        if all(k is None for k in known):
            continue
        shapes = [graph.tensors[i].shape for i in node.inputs]
        parts = [np.full(s, OTHER) if k is None else k for k, s in zip(known, shapes, strict=True)]
        to = graph.tensors[node.output].shape
        moved = layer(node.op).moved(node, parts, to, BORDER)
        if moved is not None:
            out[node.output] = moved
    return out


def _behind(wires: Wires, name: str, tensor: str, moved: dict[str, Places]) -> frozenset[str]:
    """The nodes between input `name` and a tensor that holds its elements."""
    nodes: set[str] = set()
    todo = [tensor]
    while todo:
        node = wires.maker(todo.pop())
        if node is not None and node.name not in nodes and node.output in moved:
            nodes.add(node.name)
            todo += [i for i in node.inputs if i in moved]
    return frozenset(nodes)


def _lifted(wires: Wires, node: Node, way: _Way) -> Graph | None:
    """The graph with what `node` does to the input in the input's quantiser; None where that cannot be."""
    graph, size = wires.graph, wires.graph.tensors[way.input].size
    given = graph.quantisers.get(way.input)
    offset, factor = (v.astype(np.float64) for v in (given or Quantiser.power(0)).each(size))
    taken = _taken(wires.constants(node), way.places, size, factor)
    if taken is None:
        return None
    (scale, shift), rest = taken
    others = _others(wires, node, way)
    if others and (given or not _worth_undoing(wires, others, (scale, shift))):
        return None
    new = factor * scale
    alive = new != 0
    offset = np.where(alive, offset - np.divide(shift, new, out=np.zeros(size), where=alive), 0.0)
    if np.any(np.abs(new[alive]) > LIMIT) or np.any(np.abs(new[alive]) < 1 / LIMIT):
        return None
    if np.any(np.abs(offset) > FAR):
        return None
    offset[np.abs(offset) < LEAST] = 0.0
    tensors = dict(graph.tensors)
    for twin in _twins(wires, node):
        tensors |= with_values(twin, *rest)
    note = f"input {way.input}: its quantiser took in {called(node)}"
    lifted = replace(
        graph,
        tensors=tensors,
        notes=(*graph.notes, note),
        quantisers={**graph.quantisers, way.input: Quantiser.of(offset, new)},
    )
    return _undone(lifted, way, others, (scale, shift)) if others else lifted


def _taken(pair: Pair, places: Places, size: int, factor: np.ndarray) -> tuple[Pair, Pair] | None:
    """(scale and shift [size] that go into the quantiser, those that the affine keeps); None if none can.

    What is multiplied with 0 becomes 0, and its constant stays behind. A border of zeros can take a factor,
    not a summand.
    """
    inside = places >= 0
    at, padded = places[inside], bool(np.any(places == BORDER))
    scale, shift = np.ones(size), np.zeros(size)
    scale[at], shift[at] = pair[0][inside], pair[1][inside]
    if np.any(scale[at] != pair[0][inside]) or np.any(shift[at] != pair[1][inside]):
        return None  # an element stands twice, and is not treated alike
    gone = factor == 0.0
    scale[gone], shift[gone] = 1.0, 0.0
    shift[(scale == 0.0) | padded] = 0.0
    if np.all(scale == 1.0) and np.all(shift == 0.0):
        return None
    kept = np.array(pair[0]), np.array(pair[1])
    live = inside.copy()
    live[inside] = ~gone[at]
    kept[0][live | (places == BORDER)] = 1.0
    if not padded:
        stays = scale[places[live]] == 0.0
        kept[1][live] = np.where(stays, pair[1][live], 0.0)
    return (scale, shift), kept


def _twins(wires: Wires, node: Node) -> list[Node]:
    """`node`, and what does the same to the same tensor."""
    pair = wires.constants(node)
    return [
        n
        for n in scalings(wires)
        if n.inputs[0] == node.inputs[0]
        and all(np.array_equal(a, b) for a, b in zip(wires.constants(n), pair, strict=True))
    ]


def _others(wires: Wires, node: Node, way: _Way) -> dict[str, Node]:
    """Who else reads the input, or what only moves it on its way to `node`, by name."""
    makers = [n for n in wires.graph.nodes if n.name in way.nodes]
    own = {*way.nodes, *(n.name for n in _twins(wires, node))}
    on_the_way = (way.input, *(n.output for n in makers))
    return {n.name: n for tensor in on_the_way for n in wires.readers(tensor) if n.name not in own}


def _worth_undoing(wires: Wires, others: dict[str, Node], pair: Pair) -> bool:
    """Whether the raw input can be had from the normalised one, and is no worse then."""
    sizes = np.abs(pair[0])
    if np.min(sizes) < 1 / LIMIT:
        return False
    return bool(np.max(sizes) > ALIKE * np.min(sizes)) or all(
        _takes_in(wires, n, bool(np.any(pair[1]))) for n in others.values()
    )


def _takes_in(wires: Wires, node: Node, shifted: bool) -> bool:
    if layer(node.op).joins:
        readers: Sequence[Node] = wires.readers(node.output)
        return bool(readers) and all(layer(r.op).fully for r in readers)
    return layer(node.op).takes_in(node, shifted)


def _undone(graph: Graph, way: _Way, others: dict[str, Node], pair: Pair) -> Graph:
    """`others` read the raw input: an affine node gives it back, and copies of `way.nodes` move it."""
    size, shape = graph.tensors[way.input].size, graph.tensors[way.input].shape
    back = 1.0 / pair[0], -pair[1] / pair[0]
    raw = {way.input: fresh(graph, f"{way.input}_raw")}
    tensors = {**graph.tensors, raw[way.input]: Tensor(raw[way.input], shape)}
    operands = []
    for what, value in zip(("scale", "shift"), back, strict=True):
        name = fresh(replace(graph, tensors=tensors), f"{raw[way.input]}_{what}")
        tensors[name] = Tensor(name, (size,), value)
        operands.append(name)
    undo = Node(scaling(), raw[way.input], (way.input, *operands), raw[way.input], {}, f"raw {way.input}")
    nodes: list[Node] = [undo]
    for node in graph.nodes:
        inputs = tuple(raw.get(i, i) for i in node.inputs)
        if node.name in others:
            node = replace(node, inputs=inputs)
        nodes.append(node)
        if node.name in way.nodes:
            name = fresh(replace(graph, tensors=tensors), f"{node.name}_raw")
            raw[node.output] = name
            tensors[name] = Tensor(name, graph.tensors[node.output].shape)
            nodes.append(replace(node, name=name, inputs=inputs, output=name))
    return replace(graph, nodes=tuple(nodes), tensors=tensors)
