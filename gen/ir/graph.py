"""The float network as the importers deliver it: immutable, checked, free of file formats.

Shapes never contain the batch dimension. Weights of `dense` are [outputs, inputs], row-major.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import CompileError
from .format import Format
from .inputs import Input
from .quantiser import Quantiser

Attr = int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named float tensor; `value` is given for constants (float64, shape `shape`).

    `source` is what the model file calls an input, where that is another name. `format` is how it is held in
    integers where the model file says so: a constant's value is then exactly what its integers stand for.
    """

    name: str
    shape: tuple[int, ...]
    value: np.ndarray | None = None
    source: str = ""
    format: Format | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One layer: `op` is the stem of a file in gen/ops, `source` is what the model file calls it."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    source: str = ""

    def whole(self, name: str) -> int:
        """Attribute `name`, a whole number; CompileError where it is none."""
        value = self.attrs.get(name)
        if not isinstance(value, int):
            raise self._wrong(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        """Attribute `name`, a number; CompileError where it is none."""
        value = self.attrs.get(name)
        if not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        return float(value)

    def wholes(self, name: str) -> tuple[int, ...]:
        """Attribute `name`, whole numbers; CompileError where it is something else."""
        value = self.attrs.get(name)
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise self._wrong(name, "whole numbers")
        return tuple(int(v) for v in value)

    def _wrong(self, name: str, wanted: str) -> CompileError:
        what = f"its attribute {name} is {self.attrs.get(name)!r}, not {wanted}"
        return CompileError(self.name, what, "report this model: an importer is wrong")


@dataclass(frozen=True, slots=True)
class Graph:
    """A network in topological order with one output.

    `head` is what stood behind the output in the file and does not change the class: "none", "softmax" or
    "sigmoid".
    `quantisers` are of inputs that the network normalises: their tensors hold (x - offset) * scale of what a
    caller gives as x.
    `notes` are things a user should know about the import (what was folded into what), one line each.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    head: str = "none"
    notes: tuple[str, ...] = ()
    quantisers: Mapping[str, Quantiser] = field(default_factory=dict)

    @property
    def interface(self) -> tuple[Input, ...]:
        """What a caller fills."""
        tensors = (self.tensors[name] for name in self.inputs)
        return tuple(Input(t.name, t.shape, t.source or t.name) for t in tensors)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if tensor in n.inputs)

    def producer(self, tensor: str) -> Node | None:
        return next((n for n in self.nodes if n.output == tensor), None)
