"""Layers of a quantised ONNX file whose inputs are in integers: what holds their constants and output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ...ir.format import Format, Scaled
from ...ir.graph import Node
from ...ops import layer
from ...ops._folding import per_channel
from ...ops._requantise import ONCE
from .._build import Sliding
from .._layers import LayerBuilder
from .file import OnnxNode
from .layers import Act, Const

FLOAT_SCALES = "put QuantizeLinear and DequantizeLinear around each operator, or export the float model"
STEPS = 127  # of the largest number of a constant that is held here
KEEPING = ("Add", "Conv", "Gemm", "MatMul", "Mul", "PRelu", "Sub")
"""Operators in whose layers a constant is as many steps as in the file; 1 / c, say, is no whole number."""
BIAS_TOP = 2**31 - 1
WHOLE = 1e-2  # what is lost of a weight's integers between float32 and here is less

Rows = NDArray[np.float64]


class Holder:
    """Holds single nodes. scales: by node, of the rows of its weight, or of its constant."""

    def __init__(self, builder: LayerBuilder) -> None:
        self.builder = builder
        self.scales: dict[str, Rows] = {}
        self.inner: set[str] = set()  # tensors that became integers on the way to what was quantised
        self.weights: list[str] = []  # nodes whose weights have scales, as the file calls them

    def weighs(self, y: Act, weight: Const, node: OnnxNode, left: bool = False) -> None:
        """Keeps the scales of a constant for the layer that `node` has just become. left: of a product W x"""
        made = self.builder.producer(y.tensor)
        if weight.steps is None or made is None or node.op not in KEEPING:
            return
        along = {
            "Conv": 0,
            "Gemm": 0 if node.integer("transB", 0) else 1,
            "MatMul": -2 if left else -1,
        }.get(node.op)
        if not layer(made.op).weighted or along is None:
            if np.all(weight.steps == weight.steps.flat[0]):
                self.scales[made.name] = weight.steps.reshape(-1)[:1]
            return
        self.scales[made.name] = self._rows(node, weight.steps, along)
        self.weights.append(node.source)

    @staticmethod
    def _rows(node: OnnxNode, steps: Rows, along: int) -> Rows:
        rows = np.moveaxis(steps, along, 0)
        rows = rows.reshape(len(rows), -1)
        if np.any(rows != rows[:, :1]):
            what = "its weight's scales differ along its inputs"
            raise node.error(what, "quantise weights per tensor, or per output channel")
        alpha = abs(node.real("alpha", 1.0)) if node.op == "Gemm" else 1.0
        return rows[:, 0] * alpha

    def _input(self, made: Node, i: int = 0) -> Scaled:
        """How input i of a node is held; CompileError where it is not."""
        given = self.builder.held(self.builder.data(made)[i])
        if given is None or not isinstance(given.meaning, Scaled):
            raise CompileError(
                made.source, "its output is quantised, and an input of it is not", FLOAT_SCALES
            )
        return given.meaning

    def _alone(self, made: Node) -> None:
        """CompileError where something else reads what is to become integers on the way."""
        x = self.builder.data(made)[0]
        if len(self.builder.readers(x)) > 1:
            what = "works on a value that is read in float32 as well"
            raise CompileError(made.source, what, FLOAT_SCALES)

    def _weighted(self, source: str, made: Node, held: Format | None) -> str:
        """A layer whose input and weight are the file's integers; its bias is rounded to their products."""
        if held is None and not self._quantised(made):
            return made.output
        x, scales = self._input(made), self.scales.get(made.name)
        if scales is None:
            what = "its input is quantised, its weight float32"
            raise CompileError(
                made.source, what, "quantise weights to int8 as well, or export the float model"
            )
        _, weight, bias = made.inputs
        one = bool(np.all(scales == scales[0]))
        meaning = Scaled(
            tuple(scales[:1].tolist() if one else scales.tolist()), (0,) * (1 if one else len(scales))
        )
        values = self.builder.value(weight)
        whole = _whole(made, values, scales[:, None])
        steps = Scaled(tuple(x.scale[0] * s for s in meaning.scale), meaning.zero)
        sums = steps.units(self.builder.value(bias))
        if np.abs(sums).max(initial=0) > BIAS_TOP:
            what = f"its bias is up to {np.abs(sums).max():.3g} steps of the products, beyond int32"
            raise CompileError(made.source, what, "quantise the model again, with larger scales")
        self.builder.revalued(weight, meaning.real(whole))
        self.builder.revalued(bias, steps.real(sums))
        formats = Format("int8", meaning, -128, 127), Format("int32", steps, -BIAS_TOP - 1, BIAS_TOP)
        self.builder.hold(made.output, held, formats, ONCE)
        return made.output

    def _quantised(self, made: Node) -> bool:
        """Whether any of a layer's operands is in integers."""
        return any(self.builder.held(i) is not None for i in self.builder.data(made))

    def _floating(self, x: str) -> Node | None:
        """What computes x, if nothing has made it integers."""
        return None if self.builder.held(x) is not None else self.builder.producer(x)

    def _taken_in(self, made: Node, before: Node, scale: Rows, shift: Rows) -> None:
        """s (W x + b) + t = (s W) x + (s b + t), the scales of the rows times s."""
        _, weight, bias = before.inputs
        rows = self.builder.value(bias)
        each = per_channel((scale, shift), len(rows))
        if each is None or not np.all(each[0]):
            what = "scales or offsets differ within a channel, or are 0, where its input is not quantised"
            raise CompileError(made.source, what, FLOAT_SCALES)
        self.builder.revalued(weight, self.builder.value(weight) * each[0][:, None])
        self.builder.revalued(bias, rows * each[0] + each[1])
        if before.name in self.scales:
            self.scales[before.name] = np.broadcast_to(self.scales[before.name], rows.shape) * np.abs(each[0])

    def _constant(self, made: Node, x: str, scale: Rows, shift: Rows) -> str:
        """scale * x + shift of what is held, in the place of an affine; not yet held itself.

        A convolution that sees one place of one channel, whose weights are 127 steps each; or, where the file
        holds the constant in integers or it differs from place to place, x * c, x + c or c - x.
        """
        x = self.builder.root(x)
        shape = self.builder.shape(x)
        pair = [_narrowed(v.reshape(shape)) for v in (scale, shift)]
        axes = [i for i in range(len(shape)) if any(v.shape[i] > 1 for v in pair)]
        if made.name not in self.scales and len(axes) < 2:
            return self._by_channel(made, x, axes[0] if axes else -1, pair)
        if not np.any(shift):
            y = self.builder.times(x, _narrowed(scale.reshape(shape)), [], made.source)
        elif np.all(scale == scale[0]) and abs(scale[0]) == 1.0:
            turned = bool(scale[0] < 0)
            y = self.builder.plus(x, _narrowed(shift.reshape(shape)), [], made.source, turned, turned)
        else:
            what = "multiplies and adds with no QuantizeLinear between"
            raise CompileError(made.source, what, FLOAT_SCALES)
        if made.name in self.scales:
            self.scales[self._node(y).name] = self.scales[made.name]
        return y

    def _by_channel(self, made: Node, x: str, axis: int, pair: Sequence[Rows]) -> str:
        """A scale and an offset for each place of an axis, or one of all where it is -1."""
        shape, n = self.builder.shape(x), max(v.size for v in pair)
        scale, shift = (np.broadcast_to(v.reshape(-1), n) for v in pair)
        outer, inner = (
            math.prod(part) for part in ((shape[:axis], shape[axis + 1 :]) if axis >= 0 else (shape, ()))
        )
        turned = inner > 1
        seen = self.builder.view(x, (outer, n, inner) if turned else (1, outer, n))
        if turned:
            seen = self.builder.view(
                self.builder.transpose(seen, (0, 2, 1), made.source), (1, outer * inner, n)
            )
        y = self.builder.conv2d(seen, scale.reshape(n, 1, 1, 1), shift, Sliding((1, 1)), n, [], made.source)
        self.scales[self._node(y).name] = np.where(scale == 0.0, 1.0, np.abs(scale) / STEPS)
        if turned:
            y = self.builder.transpose(self.builder.view(y, (outer, inner, n)), (0, 2, 1), made.source)
        return self.builder.view(y, shape)

    def _node(self, tensor: str) -> Node:
        made = self.builder.producer(tensor)
        assert made is not None
        return made

    def _with_constant(self, source: str, made: Node, held: Format | None) -> str:
        """A sum or product with a constant, which is held in int8: as in the file, or in 127 steps here."""
        end = self._end(made, held)
        self._input(made)
        name = made.inputs[-1]
        value = self.builder.value(name)
        step = float(self.scales.get(made.name, np.zeros(1))[0])
        if not step:
            step = float(np.abs(value).max(initial=0)) / STEPS or 1.0
            if np.any(value != value.flat[0]):
                self.builder.notes.append(f"{made.source}: its float32 constant is held in int8")
        whole = np.rint(value / step)
        lo, hi = int(whole.min()), int(whole.max())
        zero = 127 - hi if hi > 127 else -128 - lo if lo < -128 else 0
        if (
            not -128 <= zero <= 127
            or lo + zero < -128
            or hi + zero > 127
            or np.abs(whole * step - value).max() > step
        ):
            raise CompileError(
                made.source, "its constant does not fit 8 bits", "quantise its constant to int8"
            )
        meaning = Scaled((step,), (zero,))
        self.builder.revalued(name, meaning.real(whole + zero))
        self.builder.hold(made.output, end, (Format("int8", meaning, -128, 127),), ONCE)
        return made.output

    @staticmethod
    def _end(made: Node, held: Format | None) -> Format:
        """The integers of an output; CompileError where the file says none."""
        if held is None:
            raise CompileError(
                made.source, "gives the network's output, and no QuantizeLinear behind it", FLOAT_SCALES
            )
        return held

    def _add(self, source: str, made: Node, held: Format | None) -> str:
        """A sum, or the difference, which comes as a sum with -1 times the second."""
        end, (x, y) = self._end(made, held), self.builder.data(made)
        turned = self._floating(y)
        if turned is not None and layer(turned.op).scales:
            scale, shift = self.builder.constants(turned)
            if np.all(scale == -1.0) and not np.any(shift):
                y = self.builder.view(self.builder.data(turned)[0], self.builder.shape(y))
                self.builder.rewired(made, [x, y], {**made.attrs, "subtract": 1})
        made = self._node(made.output)
        for i in (0, 1):
            self._input(made, i)
        self.builder.hold(made.output, end, (), ONCE)
        return made.output

    def _mul(self, source: str, made: Node, held: Format | None) -> str:
        end = self._end(made, held)
        for i in (0, 1):
            self._input(made, i)
        self.builder.hold(made.output, end, (), ONCE)
        return made.output

    def _prelu(self, source: str, made: Node, held: Format | None) -> str:
        """A slope a channel, in int8: in the file's steps, or in 127 of the largest."""
        end, value = self._end(made, held), self.builder.value(made.inputs[1])
        self._input(made)
        step = (
            float(self.scales.get(made.name, np.abs(value).max(keepdims=True).reshape(-1) / STEPS)[0]) or 1.0
        )
        meaning, whole = Scaled((step,)), _whole(made, np.rint(value / step) * step, np.array(step))
        self.builder.revalued(made.inputs[1], meaning.real(whole))
        self.builder.hold(made.output, end, (Format("int8", meaning, -128, 127),))
        return made.output


def _whole(made: Node, values: Rows, scales: Rows) -> Rows:
    """A weight's integers; CompileError where they are none, or none of int8."""
    near = values / scales
    whole = np.rint(near)
    if np.abs(near - whole).max(initial=0) > WHOLE:
        raise CompileError(
            made.source, "its weight is no whole number of its scale", "quantise the model again"
        )
    lo, hi = int(whole.min()), int(whole.max())
    if lo < -128 or hi > 127:
        what = f"its weight less its zero point is {lo} .. {hi}, beyond int8"
        raise CompileError(made.source, what, "quantise weights symmetrically, to int8")
    return np.asarray(whole, np.float64)


def _narrowed(c: NDArray[np.float64]) -> NDArray[np.float64]:
    """A constant with one element along each axis along which all are the same."""
    for i in range(c.ndim):
        first = np.take(c, [0], i)
        c = first if np.array_equal(np.broadcast_to(first, c.shape), c) else c
    return c
