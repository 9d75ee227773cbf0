"""What every importer does with layers once it understands them: it writes them down as a canonical Graph.

Spatial tensors are channels-last [H, W, C], `dense` works on flat vectors, pointwise ops on any shape. A
reshape in a model file needs no node: the importer keeps the shape that the file sees, and the builder writes
a `reshape` only where an op needs another shape than the tensor has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from ..ir.graph import Attr, Graph, Node, Tensor
from ._names import Names

# Larger than any network for a chip; they bound what a lying file makes us allocate and compute.
MAX_ELEMENTS = 1 << 22  # of one constant
MAX_ACTIVATION = 1 << 19  # of one activation: half a megabyte even as int8
MAX_TOTAL = 1 << 22  # of all constants and activations together
MAX_LAYERS = 1000
MAX_MACS = 1 << 27  # of one inference: seconds on a chip
MAX_WINDOWS = 1 << 22  # values of all windows side by side: what calibration works on
SMALLER = "use a smaller network"

Pair = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over a map: (height, width) pairs, and padding (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output(self, size: Pair) -> Pair:
        """Height and width of what a map of `size` becomes; below 1 where the kernel does not fit."""
        top, left, bottom, right = self.padding
        padded = (size[0] + top + bottom, size[1] + left + right)
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        h, w = ((n - r) // s + 1 for n, r, s in zip(padded, reach, self.stride, strict=True))
        return h, w


class Builder:
    """Collects nodes in topological order."""

    def __init__(self) -> None:
        self.names = Names()
        self.notes: list[str] = []
        self._inputs: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        self._nodes: dict[str, Node] = {}
        self._viewed: dict[str, str] = {}
        self._views: dict[tuple[str, Shape], str] = {}
        self._transposes: dict[tuple[str, Shape], str] = {}
        self._elements = self._macs = self._seen = 0

    def shape(self, tensor: str) -> Shape:
        return self._tensors[tensor].shape

    def producer(self, tensor: str) -> Node | None:
        """The node that computes the values of `tensor`, in whatever shape; None for an input."""
        return self._nodes.get(self._viewed.get(tensor, tensor))

    def constants(self, node: Node) -> list[np.ndarray]:
        """The constant operands of `node`."""
        values = (self._tensors[i].value for i in node.inputs)
        return [v for v in values if v is not None]

    def input(self, name: str, shape: Shape, source: str) -> str:
        """A new input; returns the name that it got. source: what the model file calls it."""
        name = self.names.take([name], "input")
        self._tensor(name, shape, None, source)
        self._tensors[name] = Tensor(name, shape, source=source)
        self._inputs.append(name)
        return name

    def dense(self, x: str, weight: np.ndarray, bias: np.ndarray, hints: Sequence[str], source: str) -> str:
        """weight [outputs, inputs] times x, plus bias [outputs]."""
        name = self.names.take(hints, "dense")
        self._work(weight.size, weight.size, source)
        constants = self._weights(name, weight, bias, source)
        return self._node("dense", name, (self.flat(x), *constants), (weight.shape[0],), {}, source)

    def conv2d(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        window: Window,
        groups: int,
        hints: Sequence[str],
        source: str,
    ) -> str:
        """x [H, W, C] under weight [O, kh, kw, C / groups], plus bias [O]."""
        name = self.names.take(hints, "conv")
        height, width, channels = self.shape(x)
        out = (*window.output((height, width)), weight.shape[0])
        seen = out[0] * out[1] * math.prod(window.kernel) * channels
        self._work(seen, out[0] * out[1] * weight.size, source)
        constants = self._weights(name, weight.reshape(weight.shape[0], -1), bias, source)
        attrs: dict[str, Attr] = {**_geometry(window), "dilation": window.dilation, "groups": groups}
        return self._node("conv2d", name, (x, *constants), out, attrs, source)

    def maxpool2d(self, x: str, window: Window, hints: Sequence[str], source: str) -> str:
        """The largest value of each window of x [H, W, C]; padding never wins."""
        return self._pool("maxpool", x, window, {}, hints, source)

    def avgpool2d(
        self, x: str, window: Window, count_padding: bool, hints: Sequence[str], source: str
    ) -> str:
        """The mean of each window of x [H, W, C], over padded places too where `count_padding`."""
        return self._pool("avgpool", x, window, {"count_padding": int(count_padding)}, hints, source)

    def pad(
        self, x: str, padding: tuple[int, int, int, int], value: float, hints: Sequence[str], source: str
    ) -> str:
        """x [H, W, C] with `value` around it: (top, left, bottom, right)."""
        name = self.names.take(hints, "pad")
        height, width, channels = self.shape(x)
        shape = (height + padding[0] + padding[2], width + padding[1] + padding[3], channels)
        return self._node("pad", name, (x,), shape, {"padding": padding, "value": value}, source)

    def affine(self, x: str, scale: np.ndarray, shift: np.ndarray, hints: Sequence[str], source: str) -> str:
        """scale * x + shift, each [size of x] in the order of the tensor."""
        name = self.names.take(hints, "affine")
        constants = (
            self._constant(f"{name}_scale", scale, source),
            self._constant(f"{name}_shift", shift, source),
        )
        return self._node("affine", name, (x, *constants), self.shape(x), {}, source)

    def clip(self, x: str, lo: float, hi: float, hints: Sequence[str], source: str) -> str:
        """x limited to lo .. hi, either of which may be infinite."""
        name = self.names.take(hints, "clip")
        return self._node("clip", name, (x,), self.shape(x), {"lo": lo, "hi": hi}, source)

    def table(
        self, x: str, fn: str, hints: Sequence[str], source: str, alpha: float = 0.0, beta: float = 0.0
    ) -> str:
        """The unary function `fn` of each value."""
        name = self.names.take(hints, fn)
        attrs: dict[str, Attr] = {"fn": fn, "alpha": alpha, "beta": beta}
        return self._node("table", name, (x,), self.shape(x), attrs, source)

    def add(self, a: str, b: str, hints: Sequence[str], source: str) -> str:
        """a + b, of one shape."""
        name = self.names.take(hints, "add")
        return self._node("add", name, (a, b), self.shape(a), {}, source)

    def concat(self, parts: Sequence[str], hints: Sequence[str], source: str) -> str:
        """The parts joined along their last axis."""
        name = self.names.take(hints, "concat")
        shape = (*self.shape(parts[0])[:-1], sum(self.shape(p)[-1] for p in parts))
        return self._node("concat", name, tuple(parts), shape, {}, source)

    def transpose(self, x: str, order: Sequence[int], source: str) -> str:
        """x with its axes in another order."""
        key = (x, tuple(order))
        if key not in self._transposes:
            name = self.names.take([], "transpose")
            shape = tuple(self.shape(x)[i] for i in order)
            attrs: dict[str, Attr] = {"order": tuple(order)}
            self._transposes[key] = self._node("transpose", name, (x,), shape, attrs, f"order for {source}")
        return self._transposes[key]

    def flat(self, x: str) -> str:
        """x as a vector."""
        return self.view(x, (self._tensors[x].size,))

    def view(self, x: str, shape: Shape) -> str:
        """x in another shape."""
        root = self._viewed.get(x, x)
        if self.shape(root) == shape:
            return root
        if (root, shape) not in self._views:
            name = self.names.take([], "reshape")
            self._node("reshape", name, (root,), shape, {"shape": shape}, f'shape of "{root}"')
            self._views[root, shape] = name
            self._viewed[name] = root
        return self._views[root, shape]

    def finish(self, name: str, output: str, head: str) -> Graph:
        """The graph so far, as the importer understood it: neither simplified nor verified."""
        output = self.flat(output)
        inputs, tensors = tuple(self._inputs), dict(self._tensors)
        return Graph(name, inputs, output, tensors, tuple(self._nodes.values()), head, tuple(self.notes))

    def _pool(
        self,
        kind: str,
        x: str,
        window: Window,
        attrs: Mapping[str, Attr],
        hints: Sequence[str],
        source: str,
    ) -> str:
        name = self.names.take(hints, kind)
        height, width, channels = self.shape(x)
        out = (*window.output((height, width)), channels)
        seen = math.prod(out) * math.prod(window.kernel)
        self._work(seen, seen, source)
        return self._node(f"{kind}2d", name, (x,), out, {**_geometry(window), **attrs}, source)

    def _work(self, seen: int, macs: int, source: str) -> None:
        self._macs, self._seen = self._macs + macs, self._seen + seen
        if self._seen > MAX_WINDOWS:
            what = f"with it all windows of the network hold {self._seen} values, the most is {MAX_WINDOWS}"
            raise CompileError(source, what, SMALLER)
        if self._macs > MAX_MACS:
            what = f"with it one inference takes {self._macs} multiplications, the most is {MAX_MACS}"
            raise CompileError(source, what, SMALLER)

    def _weights(self, name: str, weight: np.ndarray, bias: np.ndarray, source: str) -> tuple[str, str]:
        return (
            self._constant(f"{name}_weight", weight, source),
            self._constant(f"{name}_bias", bias, source),
        )

    def _constant(self, name: str, value: np.ndarray, source: str) -> str:
        name = self.names.take([name], "constant")
        value = np.array(value, dtype=np.float64, order="C")
        value.setflags(write=False)
        self._tensor(name, value.shape, value, source)
        return name

    def _tensor(self, name: str, shape: Shape, value: np.ndarray | None, source: str) -> None:
        size, most = math.prod(shape), MAX_ACTIVATION if value is None else MAX_ELEMENTS
        self._elements += size
        if size > most or self._elements > MAX_TOTAL:
            what = f"makes {size} values ({self._elements} in all), the most is {most} ({MAX_TOTAL})"
            raise CompileError(source, what, SMALLER)
        self._tensors[name] = Tensor(name, shape, value)

    def _node(
        self,
        op: str,
        name: str,
        inputs: tuple[str, ...],
        shape: Shape,
        attrs: Mapping[str, Attr],
        source: str,
    ) -> str:
        self._tensor(name, shape, None, source)
        if len(self._nodes) == MAX_LAYERS:
            raise CompileError(source, f"is layer {MAX_LAYERS + 1}, the most is {MAX_LAYERS}", SMALLER)
        self._nodes[name] = Node(op, name, inputs, name, attrs, source)
        return name


def _geometry(window: Window) -> dict[str, Attr]:
    return {"kernel": window.kernel, "stride": window.stride, "padding": window.padding}
