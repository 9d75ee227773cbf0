"""Layers of which some rows learn ([sparse]): a layer that learns beside one that does not, joined again.

Rows are those of the weight matrix: units of a dense layer, filters of a convolution. The part that learns
keeps the layer's name, so rules, rates and feedback go on as they were. Pointwise layers behind it are
written twice, so that a rule which injects errors behind an activation finds one there. What reads the
values has its columns put into the order in which they now come; where that is not possible, they are put
back into the order that they had.

Where a rule file gives a share, the rows that learning itself moves most are chosen: by the sum of squares of
what a step changes, over calibration samples under right and wrong labels. Under backpropagation that is the
diagonal of the Fisher information, by which Kwon and others, TinyTrain, 2024, choose channels. Learning few
of them is the sparse update of Lin, Zhu, Chen and others, On-device training under 256KB memory, 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.format import Format, Scaled
from ..ir.graph import Graph, Node, Tensor
from ..ir.inputs import listed
from ..ir.rewrite import Wires, called, fresh
from ..ops import joining, layer, picking
from ..rules import Rule
from ..spec import RuleSpec
from ..words import nearest, short
from .calibrate import Runs
from .float_run import spread
from .schedule import build
from .stride import SAMPLES, TURNS, learning_layers, motions

Index = NDArray[np.intp]


def thinned(
    graph: Graph, spec: RuleSpec, learned: Collection[str], moved: Callable[[], Mapping[str, NDArray[Any]]]
) -> tuple[Graph, dict[str, tuple[int, ...]]]:
    """`graph` with the layers of `spec.sparse` in two parts each, and the rows of these that learn.

    learned: the layers that learn; moved: how much learning moves each row of theirs, [rows]
    """
    chosen = dict(spec.sparse)
    if spec.init:
        what = f'is there, and init is "{spec.init}": the rows that do not learn would keep what was trained'
        raise CompileError("sparse", what, "leave one of them out")
    for name in chosen:
        if name not in learned:
            hint = f"{nearest(name, list(learned))}those that learn are {listed(list(learned))}"
            raise CompileError("sparse", f'no layer "{short(name)}" learns', hint)
    if timed := [n.name for n in graph.nodes if n.name in chosen and layer(n.op).timed]:
        what = f"{listed(timed)} {'runs' if len(timed) == 1 else 'run'} over time: its rows learn together"
        raise CompileError("sparse", what, "leave it out")
    moved = cache(moved)  # one answer is of all layers
    whole = [n for n in graph.nodes if n.name in chosen]
    rows = {n.name: _rows(graph, spec, n, moved) for n in whole}
    for node in whole:  # whose inputs another one's parts may have renamed
        graph = _parted(graph, next(n for n in graph.nodes if n.name == node.name), rows[node.name])
    return graph, {name: tuple(some) for name, some in rows.items()}


def rows_moved(
    graph: Graph, spec: RuleSpec, rule: Rule, learned: tuple[str, ...], data: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """How much a learning step changes each row of the hidden layers that learn: the root mean square over
    samples of what it adds to the row's weights, at the layer's rate. data: calibration, normalised."""
    plain = replace(
        spec,
        sparse=(),
        guard=None,
        store=None,
        replay=None,
        schedule=None,
        accumulate=None,
        momentum=None,
        freeze=None,
        anomaly=None,
        decay=None,
    )
    abstract = build(graph, plain, rule, learned, data)
    pairs = {forward.node: (forward, update) for forward, update in learning_layers(abstract)}
    runs, sums = Runs(abstract, data), dict[str, NDArray[np.float64]]()
    taught = runs.taught[spread(len(runs.taught), SAMPLES)] if len(runs.taught) else runs.taught
    for _, machine in runs.teaching(taught, TURNS):
        for name, (forward, update) in pairs.items():
            for delta in motions(machine, forward, update):
                each = np.square(delta["w"]).reshape(len(delta["b"].ravel()), -1).sum(axis=1)
                sums[name] = sums.get(name, 0.0) + each
    return {name: np.sqrt(total / max(1, len(taught))) for name, total in sums.items()}


def _rows(
    graph: Graph, spec: RuleSpec, node: Node, moved: Callable[[], Mapping[str, NDArray[Any]]]
) -> list[int]:
    """The rows that learn, in order."""
    share = dict(spec.sparse)[node.name]
    where, rows = f"sparse.{node.name}", graph.tensors[node.inputs[2]].size
    if node.attrs.get("groups", 1) != 1:
        what = "is a convolution in groups, of which each filter reads channels of its own"
        raise CompileError(where, what, "let all of it learn, or nothing of it")
    if rows != graph.tensors[node.output].shape[-1]:
        what = "has weights of its own at every position, which are rows of no one filter"
        raise CompileError(where, what, "let all of it learn, or list a convolution under untied")
    if makes_scores(graph, node):
        rows_are = "outputs" if spec.numbers else "classes"
        raise CompileError(
            where, f"makes the scores, and its rows are {rows_are}", "leave it out of [sparse]"
        )
    if isinstance(share, tuple):
        if share[-1] >= rows or len(share) == rows:
            what = f"has {rows} rows, 0 to {rows - 1}"
            wrong = "all of them are listed" if len(share) == rows else f"{share[-1]} is none"
            raise CompileError(where, f"{what}, and {wrong}", "list some of them, or drop the line")
        return list(share)
    count = max(1, min(rows - 1, round(share * rows)))
    if rows < 2:
        raise CompileError(where, "has one row", "leave it out of [sparse]")
    sizes = moved().get(node.name)
    if sizes is None:
        what = f"is the share {share:g}, and this rule has no step that moves each row by itself"
        raise CompileError(where, what, "list the rows that learn, as [0, 1, 2]")
    each = np.square(sizes).reshape(-1, rows).sum(axis=0)  # of an untied convolution: over its positions
    return sorted(np.argsort(-each, kind="stable")[:count].tolist())


def makes_scores(graph: Graph, node: Node) -> bool:
    """Whether the rows of a layer are those of the scores: as many, and no layer with weights behind it."""
    reached = {node.output}
    for n in graph.nodes:
        if not reached.isdisjoint(n.inputs):
            if layer(n.op).weighted:
                return False
            reached.add(n.output)
    return graph.tensors[node.output].shape[-1] == graph.tensors[graph.output].size


def _runs(rows: Sequence[int]) -> str:
    """Numbers that rise, as "0-3, 7"."""
    parts: list[list[int]] = []
    for row in rows:
        if parts and row == parts[-1][-1] + 1:
            parts[-1].append(row)
        else:
            parts.append([row])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


def _ends(wires: Wires, node: Node) -> list[Node]:
    """The pointwise layers behind a node, which are written twice."""
    tail: list[Node] = []
    at, channels = node.output, wires.shape(node.output)[-1]
    while (after := wires.only_reader(at)) is not None:
        found = layer(after.op)
        if not found.pointwise or found.rearranges or not _divides(wires.graph, after, at, channels):
            break
        tail.append(after)
        at = after.output
    return tail


def _divides(graph: Graph, node: Node, at: str, channels: int) -> bool:
    """Whether a pointwise node, of one activation, can be written for some channels alone."""
    rest = [graph.tensors[i] for i in node.inputs if i != at]
    sizes = {1, channels, math.prod(graph.tensors[at].shape)}
    return all(t.value is not None and t.size in sizes and _one(t.format) for t in rest)


def _one(held: Format | None) -> bool:
    """Whether numbers that a file holds share one scale."""
    return held is None or not isinstance(held.meaning, Scaled) or len(held.meaning.scale) == 1


def _parted(graph: Graph, node: Node, rows: list[int]) -> Graph:
    """`graph` with a layer in two parts: `rows`, which keep its name, and the others."""
    total = graph.tensors[node.inputs[2]].size
    rest = [r for r in range(total) if r not in set(rows)]
    first, second = (rows, rest) if rows[0] == 0 or rest[0] != 0 else (rest, rows)
    tail = _ends(Wires(graph), node)
    made: list[Node] = []
    ends: dict[bool, str] = {}
    for part in (first, second):
        learns = part is rows
        at = node.inputs[0]
        for n in (node, *tail):
            graph, at = _written(graph, n, np.array(part), at, made, keeps=learns, weighted=n is node)
        ends[learns] = at
    old = tail[-1].output if tail else node.output
    shape, order = graph.tensors[old].shape, np.array([*first, *second])
    joined = fresh(graph, f"{node.name}_joined")
    graph = replace(
        graph, tensors={**graph.tensors, joined: Tensor(joined, shape, format=graph.tensors[old].format)}
    )
    inputs = (ends[first is rows], ends[second is rows])
    made.append(Node(joining(), joined, inputs, joined, source=called(node)))
    names = {node.name, *(n.name for n in tail)}
    place = max(i for i, n in enumerate(graph.nodes) if n.name in names)
    kept = [n for n in graph.nodes[: place + 1] if n.name not in names]
    graph = replace(graph, nodes=(*kept, *made, *graph.nodes[place + 1 :]))
    what = "filters" if len(shape) > 1 else "rows"
    note = f"{called(node)}: {len(rows)} of its {total} {what} learn: {_runs(rows)}"
    graph = replace(graph, notes=(*graph.notes, note))
    return _reordered(graph, old, joined, order)


def _written(
    graph: Graph, node: Node, part: Index, at: str, made: list[Node], keeps: bool, weighted: bool
) -> tuple[Graph, str]:
    """Adds to `made` what `node` does of `at` for some channels; the graph with its tensors, its output."""
    channels = graph.tensors[node.output].shape[-1]
    ending = "rows" if keeps else "frozen"
    tensors, inputs = dict(graph.tensors), [at]
    for name in (
        node.inputs[1:] if weighted else [i for i in node.inputs if graph.tensors[i].value is not None]
    ):
        new = fresh(replace(graph, tensors=tensors), f"{name}_{ending}")
        tensors[new] = _some(graph.tensors[name], new, part, channels, weighted)
        inputs.append(new)
    out = fresh(replace(graph, tensors=tensors), f"{node.output}_{ending}")
    shape = (*graph.tensors[node.output].shape[:-1], len(part))
    tensors[out] = Tensor(out, shape, format=graph.tensors[node.output].format)
    name = node.name if keeps else fresh(graph, f"{node.name}_frozen")
    made.append(replace(node, name=name, inputs=tuple(inputs), output=out))
    return replace(graph, tensors=tensors), out


def _some(tensor: Tensor, name: str, part: Index, channels: int, weighted: bool) -> Tensor:
    """A constant for some channels: rows of weights and biases; of a pointwise layer's, one for each channel
    or for each value."""
    value, held = tensor.value, tensor.format
    assert value is not None
    if weighted:
        value = value[part]
        if held is not None and not _one(held):
            assert isinstance(held.meaning, Scaled)
            scale, zero = held.meaning.scale, held.meaning.zero
            zero = zero if len(zero) == 1 else tuple(zero[i] for i in part)
            held = replace(held, meaning=Scaled(tuple(scale[i] for i in part), zero))
    elif value.size > 1:
        value = value.reshape(-1, channels)[:, part].reshape(-1)
    return Tensor(name, value.shape, value, format=held)


def _reordered(graph: Graph, old: str, joined: str, order: Index) -> Graph:
    """Whoever read `old` reads `joined`, whose channels come in another order."""
    if np.array_equal(order, np.arange(len(order))):
        return _renamed(graph, old, joined)
    found = _columns(Wires(_renamed(graph, old, joined)), joined, order)
    if found is not None:
        name, value = found
        tensors = {**graph.tensors, name: replace(graph.tensors[name], value=value)}
        return _renamed(replace(graph, tensors=tensors), old, joined)
    shape = graph.tensors[old].shape
    places = tuple(int(p) for p in np.argsort(order))
    op, attrs = picking(len(shape) - 1, places)
    node = Node(op, fresh(graph, f"{joined}_order"), (joined,), old, attrs)
    after = next(i for i, n in enumerate(graph.nodes) if n.output == joined) + 1
    return replace(graph, nodes=(*graph.nodes[:after], node, *graph.nodes[after:]))


def _renamed(graph: Graph, old: str, joined: str) -> Graph:
    nodes = (replace(n, inputs=tuple(joined if i == old else i for i in n.inputs)) for n in graph.nodes)
    tensors = {k: t for k, t in graph.tensors.items() if k != old}
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _columns(wires: Wires, at: str, order: Index) -> tuple[str, NDArray[np.float64]] | None:
    """The weights of the one layer that reads these channels, for the new order, and their name; None where
    something else reads them."""
    shape = wires.shape(at)
    index = np.arange(math.prod(shape)).reshape(shape)[..., order]
    while True:
        node = wires.only_reader(at)
        if node is None or node.inputs.count(at) != 1:
            return None
        found, shape = layer(node.op), wires.shape(node.output)
        if found.weighted:
            break
        if found.rearranges:
            before = np.arange(index.size).reshape(wires.shape(at))
            places, now = (found.moved(node, [v], shape, -1) for v in (before, index))
            assert places is not None and now is not None
            index = np.argsort(places.ravel())[now]
        elif found.channelwise and _by_channel(index):
            index = np.arange(math.prod(shape)).reshape(shape)[..., _channels(index)]
        else:
            return None
        at = node.output
    if node.attrs.get("groups", 1) != 1 or not _by_channel(index):
        return None
    weight = wires.graph.tensors[node.inputs[1]].value
    assert weight is not None
    taps = weight.reshape(len(weight), -1, index.shape[-1])
    return node.inputs[1], taps[..., _channels(index)].reshape(weight.shape)


def _channels(index: Index) -> Index:
    """The order of the channels at the first place."""
    first: Index = index.reshape(-1, index.shape[-1])[0]
    return first


def _by_channel(index: Index) -> bool:
    """Whether all places have their channels in the same order, and none has another one's."""
    flat = index.reshape(-1, index.shape[-1])
    base = np.arange(len(flat))[:, None] * index.shape[-1]
    return bool(np.array_equal(flat, flat[:1] + base))
