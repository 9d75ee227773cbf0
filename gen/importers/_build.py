"""What every importer does with layers once it understands them: it writes them down as a canonical Graph.

`dense`, `affine` and `concat` work on flat vectors, `clip` on any shape. So a reshape in a model file needs
no node: the importer keeps the shape that the file sees, and the builder writes a `reshape` only where an op
needs another shape than the tensor has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph import Attr, Graph, Node, Tensor
from ._names import Names


class Builder:
    """Collects nodes in topological order."""

    def __init__(self) -> None:
        self.names = Names()
        self.notes: list[str] = []
        self._inputs: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        self._nodes: list[Node] = []
        self._flat: dict[str, str] = {}

    def input(self, name: str, shape: tuple[int, ...]) -> str:
        """A new input; returns the name that it got."""
        name = self.names.take([name], "input")
        self._tensors[name] = Tensor(name, shape)
        self._inputs.append(name)
        return name

    def dense(self, x: str, weight: np.ndarray, bias: np.ndarray, hints: Sequence[str], source: str) -> str:
        """weight [outputs, inputs] times x, plus bias [outputs]."""
        name = self.names.take(hints, "dense")
        constants = (self._constant(f"{name}_weight", weight), self._constant(f"{name}_bias", bias))
        return self._node("dense", name, (self.flat(x), *constants), (weight.shape[0],), {}, source)

    def affine(self, x: str, scale: np.ndarray, shift: np.ndarray, hints: Sequence[str], source: str) -> str:
        """scale * x + shift, each [size of x]."""
        name = self.names.take(hints, "affine")
        constants = (self._constant(f"{name}_scale", scale), self._constant(f"{name}_shift", shift))
        return self._node("affine", name, (self.flat(x), *constants), scale.shape, {}, source)

    def clip(self, x: str, lo: float, hi: float, hints: Sequence[str], source: str) -> str:
        """x limited to lo .. hi, either of which may be infinite."""
        name = self.names.take(hints, "clip")
        return self._node("clip", name, (x,), self._tensors[x].shape, {"lo": lo, "hi": hi}, source)

    def concat(self, parts: Sequence[str], hints: Sequence[str], source: str) -> str:
        """The flat parts, one behind the other."""
        name = self.names.take(hints, "concat")
        size = sum(self._tensors[p].size for p in parts)
        return self._node("concat", name, tuple(self.flat(p) for p in parts), (size,), {}, source)

    def flat(self, x: str) -> str:
        """x as a vector."""
        shape = self._tensors[x].shape
        if len(shape) == 1:
            return x
        if x not in self._flat:
            size = (math.prod(shape),)
            name = self.names.take([], "reshape")
            self._flat[x] = self._node("reshape", name, (x,), size, {"shape": size}, f'shape of "{x}"')
        return self._flat[x]

    def finish(self, name: str, output: str, head: str) -> Graph:
        """The graph so far, as the importer understood it: neither simplified nor verified."""
        output = self.flat(output)
        inputs, tensors = tuple(self._inputs), dict(self._tensors)
        return Graph(name, inputs, output, tensors, tuple(self._nodes), head, tuple(self.notes))

    def _constant(self, name: str, value: np.ndarray) -> str:
        name = self.names.take([name], "constant")
        value = np.array(value, dtype=np.float64, order="C")
        value.setflags(write=False)
        self._tensors[name] = Tensor(name, value.shape, value)
        return name

    def _node(
        self,
        op: str,
        name: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        attrs: dict[str, Attr],
        source: str,
    ) -> str:
        self._nodes.append(Node(op, name, inputs, name, attrs, source))
        self._tensors[name] = Tensor(name, shape)
        return name
