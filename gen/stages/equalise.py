"""Equalises channels across layers: rows of one layer are scaled, columns of its readers scaled back.

relu(s x) = s relu(x) for positive s, so a channel's scale moves from where it is made to where it is read
through whatever is homogeneous and keeps channels apart (Nagel, van Baalen, Blankevoort, Welling, Data-free
quantization through weight equalization and bias correction, 2019). In real numbers nothing changes; in
integers a channel that would have had few steps of its tensor's format gets more. An input that has a
quantiser of its own is equalised there. No scale crosses into a layer that learns: its rate would change.

A *set* is all elements of tensors that must have one scale: those of a channel, and what they pass through.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph, Node
from ..ir.quantiser import LIMIT, Quantiser
from ..ir.rewrite import Wires, rewritten, with_values
from ..ops import layer
from ..ops._folding import Pair
from .calibrate import Runs

BORDER = -1  # of an element that is no input's
MOST = 2.0**24  # scales are at most that, and at least its inverse

Real = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Strength:
    """How far channels are equalised.

    share: 1 gives every channel the whole range of its tensor; at 1/2 a channel keeps as many steps as the
           weights that read it
    exact: whether scales are powers of two: then real numbers keep every bit
    """

    share: float
    exact: bool = True


@dataclass
class _Sets:
    """Elements under construction: `count` numbers, and which of them belong together."""

    graph: Graph
    count: int = 0
    of: dict[str, Places] = field(default_factory=dict)
    pairs: list[Places] = field(default_factory=list)
    fixed: list[Places] = field(default_factory=list)

    def fresh(self, tensor: str) -> Places:
        shape = self.graph.tensors[tensor].shape
        size = math.prod(shape)
        self.of[tensor] = np.arange(self.count, self.count + size).reshape(shape)
        self.count += size
        return self.of[tensor]

    def join(self, a: Places, b: Places) -> None:
        """Elements of a and b, [n, k] or broadcast to it, have one scale."""
        self.pairs.append(np.stack(np.broadcast_arrays(a, b)).reshape(2, -1))

    def channels(self, places: Places) -> None:
        """All places of a channel have one scale."""
        rows = places.reshape(-1, places.shape[-1])
        self.join(rows[0], rows)

    def moved(self, tensor: str, places: Places) -> None:
        """`tensor` holds elements of others, and borders, which have any scale."""
        self.of[tensor] = places.copy()
        border = places == BORDER
        self.of[tensor][border] = np.arange(self.count, self.count + border.sum())
        self.count += int(border.sum())

    def fix(self, places: Places) -> None:
        self.fixed.append(places.ravel())

    def numbered(self) -> tuple[Places, int]:
        """(the set of each element, how many there are): connected components, the least number each."""
        label = np.arange(self.count)
        a, b = np.concatenate([np.zeros((2, 0), np.int64), *self.pairs], axis=1)
        while True:
            least = np.minimum(label[a], label[b])
            new = label.copy()
            np.minimum.at(new, label[a], least)
            np.minimum.at(new, label[b], least)
            while np.any(new[new] != new):
                new = new[new]
            new = new[label]
            if np.array_equal(new, label):
                break
            label = new
        names, of = np.unique(label, return_inverse=True)
        return of, len(names)


def extremes(graph: Graph, runs: Runs, usual: NDArray[np.intp]) -> dict[str, tuple[Real, Real]]:
    """The least and the largest value of every element of every activation that a step writes or that only
    moves such, [*shape] each, over the samples `usual`."""
    values = {n: n for n in graph.inputs} | {n.output: n.name for n in graph.nodes}
    held = {t: v for t, v in values.items() if v in runs.abstract.values}
    found = {t: (np.full(s := graph.tensors[t].size, np.inf), np.full(s, -np.inf)) for t in held}
    keep = np.zeros(len(runs), bool)
    keep[usual] = True
    for rows, machine in runs.forward():
        for tensor, value in held.items():
            x, (lo, hi) = machine.real(value)[keep[rows]], found[tensor]
            if len(x):
                found[tensor] = np.minimum(lo, np.min(x, axis=0)), np.maximum(hi, np.max(x, axis=0))
    shaped = {
        t: (lo.reshape(graph.tensors[t].shape), hi.reshape(graph.tensors[t].shape))
        for t, (lo, hi) in found.items()
    }
    for node in graph.nodes:
        if node.output not in shaped and all(i in shaped for i in node.inputs):  # a view
            to = graph.tensors[node.output].shape
            ends = [layer(node.op).moved(node, [shaped[i][k] for i in node.inputs], to, 0) for k in (0, 1)]
            if ends[0] is not None and ends[1] is not None:
                shaped[node.output] = ends[0], ends[1]
    return shaped


def tops(graph: Graph, runs: Runs, usual: NDArray[np.intp]) -> dict[str, Real]:
    """The largest magnitude of each of these elements, [*shape]."""
    seen = extremes(graph, runs, usual)
    return {t: np.maximum(np.abs(lo), np.abs(hi)) for t, (lo, hi) in seen.items()}


def equalised(
    graph: Graph, seen: Mapping[str, Real], learned: Collection[str], strength: Strength
) -> Graph | None:
    """`graph` with its channels equalised; None where that changes nothing.

    seen:    the largest magnitude of every element of every activation, [*shape]
    learned: layers whose constants stay as they are
    """
    wires = Wires(graph)
    sets = _gathered(wires, learned)
    of, count = sets.numbered()
    places = {t: of[p] for t, p in sets.of.items()}
    scale = _scales(wires, places, count, seen, strength)
    scale[of[np.concatenate([np.zeros(0, np.int64), *sets.fixed])]] = 1.0
    scale = np.clip(scale, 1 / MOST, MOST)
    if strength.exact:
        scale = 2.0 ** np.rint(np.log2(scale))
    return (
        None if np.all(scale == 1.0) else _applied(wires, {t: scale[p] for t, p in places.items()}, learned)
    )


def _gathered(wires: Wires, learned: Collection[str]) -> _Sets:
    """What belongs together, and what cannot be scaled."""
    graph, sets = wires.graph, _Sets(wires.graph)
    for name in graph.inputs:
        places = sets.fresh(name)
        quantiser = graph.quantisers.get(name)
        if quantiser is None:
            sets.fix(places)
        else:  # a scale of 0 stays, and one that is far from 1
            factor = np.abs(quantiser.each(places.size)[1].astype(np.float64))
            far = ~((factor > MOST / LIMIT) & (factor < LIMIT / MOST))
            sets.fix(places.ravel()[far])
    for node in graph.nodes:
        if layer(node.op).weighted:
            _weighted(wires, sets, node, node.name in learned)
        else:
            _between(graph, sets, node)
    sets.fix(sets.of[graph.output])
    return sets


def _weighted(wires: Wires, sets: _Sets, node: Node, learned: bool) -> None:
    x, y = sets.of[node.inputs[0]], sets.fresh(node.output)
    constants, shape = wires.constants(node), wires.shape(node.inputs[0])
    one = np.ones(math.prod(shape)), np.zeros(math.prod(shape))
    if not layer(node.op).fully:
        sets.channels(x)
    if learned or layer(node.op).before(node, constants, one, shape) is None:
        sets.fix(x)
    sets.channels(y.reshape(-1, len(constants[1])))
    if learned:
        sets.fix(y)


def _between(graph: Graph, sets: _Sets, node: Node) -> None:
    """A layer without weights: passes scales on, or lets none through."""
    known, to = layer(node.op), graph.tensors[node.output].shape
    inputs = node.inputs[: len(node.inputs) - known.constants]
    plain = all(graph.tensors[i].value is None for i in inputs)
    if plain and (moved := known.moved(node, [sets.of[i] for i in inputs], to, BORDER)) is not None:
        sets.moved(node.output, moved)
        return
    y = sets.fresh(node.output)
    shapes = {graph.tensors[i].shape for i in inputs}
    if plain and known.homogeneous(node) and shapes == {to}:
        for i in inputs:
            sets.join(sets.of[i], y)
    elif plain and known.homogeneous(node) and len(inputs) == 1 and shapes.pop()[-1] == to[-1]:
        x = sets.of[inputs[0]]
        sets.channels(x)
        sets.channels(y)
        sets.join(x.reshape(-1, to[-1])[0], y.reshape(-1, to[-1])[0])
    else:
        for i in inputs:
            if i in sets.of:
                sets.fix(sets.of[i])
        sets.fix(y)


def _scales(
    wires: Wires, places: Mapping[str, Places], count: int, seen: Mapping[str, Real], strength: Strength
) -> Real:
    """The scale of every set, [count]; 1 of those that are 0 throughout."""
    room = np.full(count, np.inf)
    for tensor, x in seen.items():
        top = float(np.max(x, initial=0.0))
        if tensor in places and top > 0 and not _cut(wires, tensor):
            each = np.zeros(count)
            np.maximum.at(each, places[tensor].ravel(), x.ravel())
            with np.errstate(divide="ignore"):
                room = np.minimum(room, top / each)
    share = np.where(np.isfinite(room), room, 1.0) ** strength.share
    return np.asarray(share * _read(wires, places, count) ** (1.0 - strength.share), np.float64)


def _cut(wires: Wires, tensor: str) -> bool:
    """Whether a tensor's own range decides no format: what reads it has its format, and less to hold."""
    readers = wires.readers(tensor)
    return tensor not in wires.graph.inputs and bool(readers) and all(layer(r.op).follows for r in readers)


def _read(wires: Wires, places: Mapping[str, Places], count: int) -> Real:
    """By set, the largest weight that reads it as a share of the largest of its row, [count]; 1 where no
    weight does."""
    largest = np.zeros(count)
    for node in wires.graph.nodes:
        if layer(node.op).weighted:
            where = places[node.inputs[0]]
            weight, columns = np.abs(wires.constants(node)[0]), _columns(wires, node, where)
            rows = np.max(weight, axis=1, keepdims=True)
            shares = np.divide(weight, rows, out=np.zeros_like(weight), where=rows > 0)
            if columns is not None:
                np.maximum.at(largest, columns.ravel(), shares.ravel())
    return np.where(largest > 0, largest, 1.0)


def _columns(wires: Wires, node: Node, where: Places) -> Places | None:
    """The set that each weight of a layer reads, [rows, columns]; None where it takes no scale in."""
    weight, bias = wires.constants(node)
    numbers = where.reshape(-1).astype(np.float64) + 1.0  # a scale is what `before` multiplies weights with
    pair = numbers, np.zeros_like(numbers)
    taken = layer(node.op).before(node, (np.ones_like(weight), bias), pair, wires.shape(node.inputs[0]))
    return None if taken is None else np.rint(taken[0]).astype(np.int64) - 1


def _applied(wires: Wires, scales: Mapping[str, Real], learned: Collection[str]) -> Graph | None:
    graph, changed = wires.graph, 0
    for node in graph.nodes:
        if not layer(node.op).weighted or node.name in learned:
            continue
        x, y = scales[node.inputs[0]].reshape(-1), scales[node.output].reshape(-1)
        if np.all(x == 1.0) and np.all(y == 1.0):
            continue
        constants: Pair | None = wires.constants(node)
        if np.any(x != 1.0):
            shape = wires.shape(node.inputs[0])
            constants = layer(node.op).before(node, wires.constants(node), (1.0 / x, np.zeros_like(x)), shape)
        assert constants is not None, node.name
        row = y[: len(constants[1])]
        scaled = constants[0] * row[:, None], constants[1] * row
        graph = rewritten(graph, {}, with_values(node, *scaled), "")
        changed += 1
    quantisers = {n: _quantiser(q, scales[n].reshape(-1)) for n, q in graph.quantisers.items()}
    note = f"channels of {changed} layers were equalised"
    return replace(graph, quantisers=quantisers, notes=(*graph.notes, note))


def _quantiser(quantiser: Quantiser, scale: Real) -> Quantiser:
    offset, factor = quantiser.each(len(scale))
    return Quantiser.of(offset, factor.astype(np.float64) * scale)
