"""The ops that importers write and recognise, whatever the file format: a method or function for each.

Spatial tensors are channels-last [H, W, C], `dense` works on flat vectors, pointwise ops on any shape. A
reshape in a model file needs no node: the importer keeps the shape that the file sees, and the builder writes
a `reshape` only where an op needs another shape than the tensor has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..ir.graph import Attr, Graph, Node
from ..ops.bilinear import ONE
from ..ops.choice import FREE as FREE
from ..ops.interpolate import ONE as INTERPOLATION_ONE
from ..ops.masked import CHOSEN as CHOSEN
from ..ops.recurrent import EARLY as EARLY
from ..ops.table import CUBE as CUBE
from ..ops.table import FUNCTIONS as FUNCTIONS
from ..ops.table import LEAST as LEAST
from ..ops.table import MOST as MOST
from ..ops.table import NAMES as NAMES
from ..ops.table import ROOT_2_PI as ROOT_2_PI
from ._build import GraphBuilder, Shape, Sliding

BILINEAR_ONE = ONE  # of places of `bilinear`, Q10


class LayerBuilder(GraphBuilder):
    """Writes layers. `hints` are names that a layer may have, `source` is what the model file calls it."""

    def __init__(self) -> None:
        super().__init__()
        self._views: dict[tuple[str, Shape], str] = {}
        self._transposes: dict[tuple[str, Shape], str] = {}

    def dense(self, x: str, weight: np.ndarray, bias: np.ndarray, hints: Sequence[str], source: str) -> str:
        """weight [outputs, inputs] times x, plus bias [outputs]."""
        self.work(weight.size, weight.size, source)
        constants = {"weight": weight, "bias": bias}
        return self.add("dense", [self.flat(x)], (weight.shape[0],), hints, source, None, constants)

    def conv2d(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        window: Sliding,
        groups: int,
        hints: Sequence[str],
        source: str,
    ) -> str:
        """x [H, W, C] under weight [O, kh, kw, C / groups], plus bias [O]."""
        height, width, channels = self.shape(x)
        out = (*window.output((height, width)), weight.shape[0])
        seen = out[0] * out[1] * math.prod(window.kernel) * channels
        self.work(seen, out[0] * out[1] * weight.size, source)
        constants = {"weight": weight.reshape(weight.shape[0], -1), "bias": bias}
        attrs: dict[str, Attr] = {**_geometry(window), "dilation": window.dilation, "groups": groups}
        return self.add("conv2d", [x], out, hints, source, attrs, constants, "conv")

    def recurrent(
        self,
        x: str,
        cell: str,
        every: int,
        constants: Mapping[str, np.ndarray],
        hints: Sequence[str],
        source: str,
    ) -> str:
        """The hidden states of a cell over the window x [steps, inputs], or the last one; constants: weight,
        bias, recurrent_weight, recurrent_bias, as gen/ops/recurrent.py has them."""
        steps, weights = self.shape(x)[0], (constants["weight"], constants["recurrent_weight"])
        units = weights[1].shape[1]
        self.work(steps * units, steps * sum(w.size for w in weights), source)
        attrs: dict[str, Attr] = {"cell": cell, "all": every}
        shape = (steps, units) if every else (units,)
        called = cell.removesuffix("_early")
        return self.add("recurrent", [x], shape, hints, source, attrs, constants, called)

    def maxpool2d(self, x: str, window: Sliding, hints: Sequence[str], source: str) -> str:
        """The largest value of each window of x [H, W, C]; padding never wins."""
        return self._pool("maxpool2d", x, window, {}, hints, source)

    def avgpool2d(
        self,
        x: str,
        window: Sliding,
        count_padding: bool,
        hints: Sequence[str],
        source: str,
        total: bool = False,
    ) -> str:
        """The mean of each window of x [H, W, C], over padded places too where `count_padding`; the sum, of a
        file's integers, where `total`."""
        attrs = {"count_padding": int(count_padding)} | ({"total": 1} if total else {})
        return self._pool("avgpool2d", x, window, attrs, hints, source)

    def pad(
        self, x: str, padding: tuple[int, int, int, int], value: float, hints: Sequence[str], source: str
    ) -> str:
        """x [H, W, C] with `value` around it: (top, left, bottom, right)."""
        height, width, channels = self.shape(x)
        shape = (height + padding[0] + padding[2], width + padding[1] + padding[3], channels)
        return self.add("pad", [x], shape, hints, source, {"padding": padding, "value": value})

    def affine(self, x: str, scale: np.ndarray, shift: np.ndarray, hints: Sequence[str], source: str) -> str:
        """scale * x + shift, each [size of x] in the order of the tensor."""
        constants = {"scale": scale, "shift": shift}
        return self.add("affine", [x], self.shape(x), hints, source, None, constants)

    def clip(self, x: str, lo: float, hi: float, hints: Sequence[str], source: str) -> str:
        """x limited to lo .. hi, either of which may be infinite."""
        return self.add("clip", [x], self.shape(x), hints, source, {"lo": lo, "hi": hi})

    def table(
        self,
        x: str,
        fn: str,
        hints: Sequence[str],
        source: str,
        alpha: float = 0.0,
        beta: float = 0.0,
        exact: bool = False,
    ) -> str:
        """The unary function `fn` of each value. exact: gen/ops/pointwise16.py."""
        attrs: dict[str, Attr] = {"fn": fn, "alpha": alpha, "beta": beta}
        if exact:
            attrs["exact"] = 1
        return self.add("table", [x], self.shape(x), hints, source, attrs, called=fn)

    def lookup(
        self,
        x: str,
        values: np.ndarray,
        first: float,
        step: float,
        hints: Sequence[str],
        source: str,
    ) -> str:
        """A function given by its real values [256] at first, first + step, …: all of a file's int8 x."""
        attrs: dict[str, Attr] = {"first": first, "step": step}
        return self.add("lookup", [x], self.shape(x), hints, source, attrs, {"values": values})

    def prelu(self, x: str, slope: np.ndarray, hints: Sequence[str], source: str) -> str:
        """x, times its slope where it is negative: [size of x] in the order of the tensor."""
        rows = slope.reshape(-1, self.shape(x)[-1])
        constants = {"slope": rows[0] if np.all(rows == rows[0]) else slope}
        return self.add("prelu", [x], self.shape(x), hints, source, None, constants)

    def softmax(self, x: str, size: int, log: bool, beta: float, hints: Sequence[str], source: str) -> str:
        """The softmax of beta x, or its logarithm, over each `size` values that lie side by side."""
        rows = math.prod(self.shape(x)) // size
        shape = (rows, size) if rows > 1 else (size,)
        attrs: dict[str, Attr] = {"log": int(log), "beta": beta}
        return self.add("softmax", [self.view(x, shape)], shape, hints, source, attrs)

    def sum(self, a: str, b: str, hints: Sequence[str], source: str, minus: bool = False) -> str:
        """a + b, or a - b where `minus`; each is stretched along axes where it has one element."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        return self.add("add", [a, b], shape, hints, source, {"subtract": 1} if minus else {})

    def product(self, a: str, b: str, hints: Sequence[str], source: str) -> str:
        """a * b, stretched as in a sum."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        self.work(0, math.prod(shape), source)
        return self.add("mul", [a, b], shape, hints, source)

    def quotient(self, a: str, b: str, hints: Sequence[str], source: str) -> str:
        """a / b in a file's integers, stretched as in a sum."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        self.work(0, math.prod(shape), source)
        return self.add("div", [a, b], shape, hints, source)

    def squared_difference(self, a: str, b: str, hints: Sequence[str], source: str) -> str:
        """(a - b)^2 in a file's integers, stretched as in a sum."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        self.work(0, math.prod(shape), source)
        return self.add("squared_difference", [a, b], shape, hints, source)

    def choice(
        self, given: Sequence[str], shape: Shape, attrs: Mapping[str, Attr], hints: Sequence[str], source: str
    ) -> str:
        """left < right ? yes : no in a file's integers; see gen/ops/choice.py."""
        return self.add("choice", given, shape, hints, source, attrs)

    def masked(
        self,
        given: Sequence[str],
        mask: np.ndarray,
        attrs: Mapping[str, Attr],
        hints: Sequence[str],
        source: str,
    ) -> str:
        """mask ? yes : no in a file's integers, in the mask's shape; see gen/ops/masked.py."""
        return self.add("masked", given, mask.shape, hints, source, attrs, {"mask": mask})

    def plus(self, x: str, c: np.ndarray, hints: Sequence[str], source: str, minus: bool, first: bool) -> str:
        """x + c, or x - c where `minus`, or c - x where `first` too."""
        attrs: dict[str, Attr] = {"subtract": 1} if minus else {}
        shape = np.broadcast_shapes(self.shape(x), c.shape)
        attrs |= {"first": 1} if first else {}
        return self.add("add_constant", [x], shape, hints, source, attrs, {"constant": c}, "add")

    def times(self, x: str, c: np.ndarray, hints: Sequence[str], source: str) -> str:
        """x * c, each stretched along axes where it has one element."""
        shape = np.broadcast_shapes(self.shape(x), c.shape)
        self.work(0, math.prod(shape), source)
        return self.add("mul_constant", [x], shape, hints, source, None, {"constant": c}, "mul")

    def concat(self, parts: Sequence[str], hints: Sequence[str], source: str) -> str:
        """The parts joined along their last axis."""
        shape = (*self.shape(parts[0])[:-1], sum(self.shape(p)[-1] for p in parts))
        return self.add("concat", parts, shape, hints, source)

    def gather(self, x: str, axis: int, places: Sequence[int], hints: Sequence[str], source: str) -> str:
        """The values of x at these places of an axis."""
        shape = self.shape(x)
        attrs: dict[str, Attr] = {"axis": axis, "indices": tuple(int(p) for p in places)}
        return self.add("gather", [x], (*shape[:axis], len(places), *shape[axis + 1 :]), hints, source, attrs)

    def interpolate(self, x: str, axis: int, places: np.ndarray, hints: Sequence[str], source: str) -> str:
        """Values of x between its own along an axis; places beyond the ends are the ends'."""
        shape = self.shape(x)
        places = np.clip(places, 0, shape[axis] - 1)
        q = tuple(int(p) for p in np.floor(places * INTERPOLATION_ONE + 0.5))
        attrs: dict[str, Attr] = {"axis": axis, "places": q}
        made = (*shape[:axis], len(q), *shape[axis + 1 :])
        self.work(0, 2 * math.prod(made), source)
        return self.add("interpolate", [x], made, hints, source, attrs)

    def bilinear(
        self, x: str, rows: Sequence[int], columns: Sequence[int], hints: Sequence[str], source: str
    ) -> str:
        """A map resized in a file's integers; rows, columns: places among its own in Q10."""
        made = (len(rows), len(columns), self.shape(x)[2])
        self.work(0, 4 * math.prod(made), source)
        attrs: dict[str, Attr] = {"rows": tuple(rows), "columns": tuple(columns)}
        return self.add("bilinear", [x], made, hints, source, attrs)

    def normalise(
        self, x: str, axis: int, kind: str, epsilon: float, hints: Sequence[str], source: str
    ) -> str:
        """x over a measure of its values along an axis (gen/ops/normalise.py)."""
        attrs: dict[str, Attr] = {"axis": axis, "kind": kind, "epsilon": epsilon}
        self.work(0, 2 * math.prod(self.shape(x)), source)
        return self.add("normalise", [x], self.shape(x), hints, source, attrs)

    def unit_length(self, x: str, hints: Sequence[str], source: str) -> str:
        """x over its length along the last axis, in a file's integers."""
        self.work(0, 2 * math.prod(self.shape(x)), source)
        return self.add("unit_length", [x], self.shape(x), hints, source)

    def matmul(self, left: str, right: str, turned: Sequence[int], hints: Sequence[str], source: str) -> str:
        """left right, as many matrices side by side; turned: whether those of each lie turned."""
        rows, inner = self.shape(left)[1:][:: -1 if turned[0] else 1]
        columns = self.shape(right)[1 if turned[1] else 2]
        shape = (self.shape(left)[0], rows, columns)
        self.work(0, math.prod(shape) * inner, source)
        attrs: dict[str, Attr] = {"turned": tuple(turned), "scale": 1.0}
        return self.add("matmul", [left, right], shape, hints, source, attrs)

    def dilate(self, x: str, stride: tuple[int, int], source: str) -> str:
        """A map with rows and columns of zero between its own, which then lie `stride` apart."""
        if stride == (1, 1):
            return x
        height, width, channels = self.shape(x)
        shape = ((height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1, channels)
        return self.add("dilate", [x], shape, [], source, {"stride": stride})

    def transpose(self, x: str, order: Sequence[int], source: str) -> str:
        """x with its axes in another order."""
        key = (x, tuple(order))
        if key not in self._transposes:
            shape = tuple(self.shape(x)[i] for i in order)
            attrs: dict[str, Attr] = {"order": tuple(order)}
            self._transposes[key] = self.add("transpose", [x], shape, [], f"order for {source}", attrs)
            if held := self.held(x):
                self.hold(self._transposes[key], held)
        return self._transposes[key]

    def flat(self, x: str) -> str:
        """x as a vector."""
        return self.view(x, (math.prod(self.shape(x)),))

    def view(self, x: str, shape: Shape) -> str:
        """x in another shape."""
        root = self._viewed.get(x, x)
        if self.shape(root) == shape:
            return root
        if (root, shape) not in self._views:
            name = self.add("reshape", [root], shape, [], f'shape of "{root}"', {"shape": shape})
            if held := self.held(root):
                self.hold(name, held)
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
        op: str,
        x: str,
        window: Sliding,
        attrs: Mapping[str, Attr],
        hints: Sequence[str],
        source: str,
    ) -> str:
        height, width, channels = self.shape(x)
        out = (*window.output((height, width)), channels)
        seen = math.prod(out) * math.prod(window.kernel)
        self.work(seen, seen, source)
        return self.add(
            op, [x], out, hints, source, {**_geometry(window), **attrs}, called=op.removesuffix("2d")
        )


def _geometry(window: Sliding) -> dict[str, Attr]:
    return {"kernel": window.kernel, "stride": window.stride, "padding": window.padding}


def function_of(node: Node) -> str:
    """The function that a node applies to each value, by its name; "" if it does something else."""
    return str(node.attrs["fn"]) if node.op == "table" else ""


def terms_of(node: Node) -> tuple[str, ...]:
    """The two tensors that a node adds; none if it does something else."""
    return node.inputs if node.op == "add" and not node.attrs.get("subtract") else ()


def factors_of(node: Node) -> tuple[str, ...]:
    """The two tensors that a node multiplies; none if it does something else."""
    return node.inputs if node.op == "mul" else ()


def limits_of(node: Node) -> tuple[float, float] | None:
    """Between which numbers a node holds each value; None if it does something else."""
    if node.op != "clip":
        return None
    lo, hi = (float(v) for v in (node.attrs["lo"], node.attrs["hi"]) if isinstance(v, int | float))
    return lo, hi
