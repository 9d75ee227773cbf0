"""Takes out of a channel what it never falls below: beside a large bias int8 has no bits left.

relu(z) - c = relu(z - c) wherever z >= c > 0. So a layer's bias loses c, and whoever reads the channel gets
W c into its own bias (Nagel, van Baalen, Blankevoort, Welling, Data-free quantization through weight
equalization and bias correction, 2019, 4.1.3). Where no ReLU stands between, the middle of what was seen is
taken out. Through views and pools that keep a shift; a layer with a border of zeros takes none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node
from ..ir.rewrite import Wires, rewritten, with_values
from ..ops import layer
from ..ops._folding import Pair

Real = NDArray[np.float64]
Extremes = Mapping[str, tuple[Real, Real]]


@dataclass(frozen=True)
class _Shift:
    """What a reader's input loses, [size of x]."""

    reader: Node
    shift: Real


def absorbed(graph: Graph, seen: Extremes, learned: Collection[str]) -> Graph | None:
    """`graph` with large biases moved on; None where there are none.

    seen:    the least and the largest value of every element of every activation, [*shape] each
    learned: layers whose constants stay as they are
    """
    changed = 0
    for name in [n.name for n in graph.nodes if layer(n.op).weighted and n.name not in learned]:
        wires = Wires(graph)
        node = next(n for n in graph.nodes if n.name == name)
        other = _moved(wires, node, seen, learned)
        if other is not None:
            graph, changed = other, changed + 1
    if not changed:
        return None
    return rewritten(graph, {}, {}, f"large biases of {changed} layers moved into the layers behind them")


def _moved(wires: Wires, node: Node, seen: Extremes, learned: Collection[str]) -> Graph | None:
    weight, bias = wires.constants(node)
    end, each = node.output, _taken(wires, node, len(bias), seen)
    if not np.any(each):
        return None
    if (relu := wires.only_reader(end)) and _rectifies(wires, relu):
        end = relu.output
    found: list[_Shift] = []
    shift = np.resize(each, wires.shape(end))  # rows of an untied layer are all its places
    if not _readers(wires, end, shift, found):
        return None
    tensors = with_values(node, weight, bias - each)
    for one in found:
        if one.reader.name in learned:
            return None
        constants: Pair = wires.constants(one.reader)
        pair = np.ones_like(one.shift), one.shift
        taken = layer(one.reader.op).before(one.reader, constants, pair, wires.shape(one.reader.inputs[0]))
        if taken is None:
            return None
        tensors |= with_values(one.reader, *taken)
    return rewritten(wires.graph, {}, tensors, "")


def _taken(wires: Wires, node: Node, rows: int, seen: Extremes) -> Real:
    """What the layer's rows lose, [rows]: 0 where that would gain less than half of the channel's reach."""
    relu = wires.only_reader(node.output)
    end = relu.output if relu and _rectifies(wires, relu) else node.output
    if end not in seen or node.output not in seen:
        return np.zeros(rows)
    lo, hi = (find(v.reshape(-1, rows), axis=0) for find, v in zip((np.min, np.max), seen[end], strict=True))
    if end == node.output:
        apart, middle = (hi - lo) / 2, (hi + lo) / 2
        return np.where(np.abs(middle) > apart, middle, 0.0)
    before = np.min(seen[node.output][0].reshape(-1, rows), axis=0)
    return np.where((before > 0) & (before == lo) & (lo > hi - lo), lo, 0.0)


def _rectifies(wires: Wires, node: Node) -> bool:
    """Whether a layer cuts off what is below 0, and scales of channels pass it: then x > 0 does as well."""
    known = layer(node.op)
    alike = wires.shape(node.output) == wires.shape(node.inputs[0])
    return alike and len(node.inputs) == 1 and known.homogeneous(node) and known.least(node) == 0.0


def _readers(wires: Wires, tensor: str, shift: Real, found: list[_Shift]) -> bool:
    """Collects the layers with weights that read `tensor`; whether all that reads it leads to such."""
    readers = wires.readers(tensor)
    if tensor == wires.graph.output or not readers:
        return False
    for node in readers:
        known = layer(node.op)
        if known.weighted:
            found.append(_Shift(node, shift.reshape(-1)))
            continue
        if len(node.inputs) != 1:
            return False
        to, channels = wires.shape(node.output), shift.reshape(-1, shift.shape[-1])
        moved = known.moved(node, [shift], to, 0)
        if moved is None and known.commutes(node, (np.ones(channels.shape[1]), channels[0])):
            moved = np.broadcast_to(channels[0], to) if np.all(channels == channels[0]) else None
        if moved is None or not _readers(wires, node.output, np.asarray(moved, np.float64), found):
            return False
    return True
