"""What a layer hears: a number for all that lies in front of it, so that what it has learned can be told
apart from what another layer of the same name learned.

Weights of the same name and shape mean the same only where their inputs do. So the number is of the whole
cone in front of a layer: inputs and how they are normalised, layers, their attributes and constants as the
model file has them. Formats, rates and rules are not in it, nor the layer's own constants, which it learns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.graph import Graph, Node

BYTES = 4
NONE: Mapping[str, tuple[int, ...]] = {}


@dataclass(frozen=True, slots=True)
class Heard:
    """key: of all in front of a layer; behind: the layers in front of it that learn, too."""

    key: int
    behind: tuple[str, ...] = ()


def heard(
    graph: Graph, learned: Collection[str], drawn: bool, rows: Mapping[str, tuple[int, ...]] = NONE
) -> dict[str, Heard]:
    """What each of the layers `learned` hears, by name.

    drawn: whether these start from numbers that were drawn, which say nothing of the network
    rows:  of layers that learn in part, which rows of the whole layer they are
    """
    said: dict[str, bytes] = {
        name: _digest("input", name, graph.tensors[name].shape, graph.quantisers.get(name))
        for name in graph.inputs
    }
    taught: dict[str, frozenset[str]] = {name: frozenset() for name in graph.inputs}
    found: dict[str, Heard] = {}
    for node in graph.nodes:
        made = [i for i in node.inputs if i in said]
        front = _digest(node.op, *_attributes(node), *(said[i] for i in made))
        before = frozenset[str]().union(*(taught[i] for i in made))
        learns = node.name in learned
        if learns:
            front = _digest(front, rows[node.name]) if node.name in rows else front
            found[node.name] = Heard(int.from_bytes(front[:BYTES], "little"), tuple(sorted(before)))
        own = [_constant(graph, i, drawn and learns) for i in node.inputs if i not in said]
        said[node.output] = _digest(front, graph.tensors[node.output].shape, *own)
        taught[node.output] = before | {node.name} if learns else before
    return found


def _constant(graph: Graph, name: str, shape_alone: bool) -> object:
    tensor = graph.tensors[name]
    if tensor.value is None or shape_alone:
        return tensor.shape
    return tensor.value


def _attributes(node: Node) -> list[object]:
    return [item for key in sorted(node.attrs) for item in (key, node.attrs[key])]


def _digest(*parts: object) -> bytes:
    """SHA-256 of numbers, texts and arrays."""
    out = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            out.update(f"{part.shape}{part.dtype}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            out.update(part if isinstance(part, bytes) else repr(part).encode())
        out.update(b"\0")
    return out.digest()


def to_json(found: Mapping[str, Heard]) -> dict[str, list[object]]:
    return {name: [h.key, list(h.behind)] for name, h in sorted(found.items())}


def from_json(document: Mapping[str, list[object]]) -> dict[str, Heard]:
    """The opposite of `to_json`. ValueError, TypeError or KeyError where it is something else."""
    out = {}
    for name, (key, behind) in document.items():
        if type(key) is not int or not isinstance(behind, list) or not all(type(b) is str for b in behind):
            raise ValueError(name)
        out[name] = Heard(key, tuple(behind))
    return out
