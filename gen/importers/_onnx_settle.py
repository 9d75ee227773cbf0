"""How layers of a quantised ONNX file get its integers: what a Graph's node needs to end in a given format.

QuantizeLinear asks for a tensor in some integers (`Settler.settled`); the nodes that compute it, up to those
whose integers are known, then become ones of integers, or are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError, shown
from ..ir.format import Format, Scaled
from ..ir.graph import Node
from ..ops._folding import per_channel
from ..ops._requantise import ONCE
from ._layers import LayerBuilder, limits_of
from ._onnx_file import OnnxNode
from ._onnx_layers import Act, Const

FLOAT_SCALES = "put QuantizeLinear and DequantizeLinear around each operator, or export the float model"
WEIGHTED = ("conv2d", "dense")
MOVING = ("clip", "concat", "gather", "maxpool2d", "pad", "reshape", "transpose")
"""Ops whose output needs no other integers than their input."""
FINEST = 12  # n of the steps 2^-n that a softmax is computed in
BIAS_TOP = 2**31 - 1
WHOLE = 1e-2  # what is lost of a weight's integers between float32 and here is less

Rows = NDArray[np.float64]


class Settler:
    def __init__(self, builder: LayerBuilder) -> None:
        self.builder = builder
        self.scales: dict[str, Rows] = {}  # by node: of the rows of its weight, or of its constant
        self.weights: list[str] = []  # nodes whose weights alone have scales, as the file calls them
        self.settling: Mapping[str, Callable[[str, Node, Format | None], str]] = {
            "add": self._add,
            "add_constant": self._with_constant,
            "affine": self._affine,
            "avgpool2d": self._avgpool,
            "clip": self._clip,
            "concat": self._concat,
            "conv2d": self._weighted,
            "dense": self._weighted,
            "mul": self._mul,
            "mul_constant": self._with_constant,
            "prelu": self._prelu,
            "softmax": self._softmax,
            "table": self._table,
            **dict.fromkeys(("gather", "maxpool2d", "pad", "reshape", "transpose"), self._moving),
        }

    def weighs(self, y: Act, weight: Const, node: OnnxNode, left: bool = False) -> None:
        """Keeps the scales of a constant for the layer that `node` has just become. left: of a product W x"""
        made = self.builder.producer(y.tensor)
        if weight.steps is None or made is None or node.op == "Div":  # 1 / c is no whole number of steps
            return
        along = {
            "Conv": 0,
            "Gemm": 0 if node.integer("transB", 0) else 1,
            "MatMul": -2 if left else -1,
        }.get(node.op)
        if made.op not in WEIGHTED or along is None:
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

    def settled(self, source: str, tensor: str, held: Format | None) -> str:
        """The values of `tensor` in the integers `held`, whatever is needed for it written: its own, or
        another tensor of the same shape. None: of the network's output, whose integers are ours.

        source: who asks
        """
        root = self.builder.root(tensor)
        given = self.builder.held(root)
        if given is not None:
            new = root if held in (None, given) else self._rescaled(source, root, given, held)
        else:
            new = self._made(source, root, held)
        return tensor if new == root else self.builder.view(new, self.builder.shape(tensor))

    def _rescaled(self, source: str, x: str, given: Format, held: Format | None) -> str:
        assert held is not None
        if given.meaning == held.meaning:
            lo, hi = held.meaning.real([held.lo, held.hi]).tolist()
            y = self.builder.clip(x, lo, hi, [], source)
        else:
            y = self.builder.table(x, "identity", [], source)
            self._even(y)
        self.builder.hold(y, held)
        return y

    def _even(self, tensor: str) -> None:
        """The table that gives `tensor` rounds as QuantizeLinear does."""
        made = self.builder.producer(tensor)
        assert made is not None
        self.builder.rewired(made, self.builder.data(made), {**made.attrs, "even": 1})

    def _made(self, source: str, root: str, held: Format | None) -> str:
        made = self.builder.producer(root)
        if made is None:
            if held is None:
                return root
            whole = Format("int8", held.meaning, -128, 127)
            self.builder.hold(root, whole)
            return self.settled(source, root, held)
        settle = self.settling.get(made.op)
        if settle is None:
            raise CompileError(made.source, "is not supported in integers", FLOAT_SCALES)
        return settle(source, made, held)

    def moved(self, made: Node) -> None:
        """Holds what a node only moves in the integers that it had before, if they are the same in all of it."""
        formats = {self.builder.held(i) for i in self.builder.data(made)}
        held = next(iter(formats)) if len(formats) == 1 else None
        if made.op in MOVING and held is not None and self._fits(made, held):
            self._moves(made, held)

    def _fits(self, made: Node, held: Format) -> bool:
        """Whether what a pad writes is one of these integers."""
        value = made.attrs.get("value", 0.0)
        if made.op != "pad" or value == -math.inf:
            return True
        units = float(held.meaning.real(held.meaning.units(value))) - float(value)  # type: ignore[arg-type]
        return abs(units) < WHOLE * held.meaning.step

    def _moves(self, made: Node, held: Format) -> None:
        if (limits := limits_of(made)) is not None:
            self.builder.rewired(made, self.builder.data(made), _on_grid(limits, held))
        self.builder.hold(made.output, held)

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

    def _moving(self, source: str, made: Node, held: Format | None) -> str:
        """What computes the input makes these integers; they are moved then."""
        x = self.builder.data(made)[0]
        if self.builder.held(x) is None:
            self._alone(made)
            new = self.settled(source, x, held)
            if new != x:
                self.builder.rewired(made, [new])
                made = self._node(made.output)
        if held is not None:
            if not self._fits(made, held):
                what = f"pads with {made.attrs['value']}, which is no number of its output"
                raise CompileError(made.source, what, "pad with 0")
            self._moves(made, held)
        return made.output

    def _clip(self, source: str, made: Node, held: Format | None) -> str:
        return self._moving(source, made, held)

    def _weighted(self, source: str, made: Node, held: Format | None) -> str:
        """A layer whose input and weight the file holds in integers; its bias is rounded to their products."""
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

    def _affine(self, source: str, made: Node, held: Format | None) -> str:
        """A scale and an offset behind sums become part of them; of integers, an operation on a constant."""
        scale, shift = self.builder.constants(made)
        first, x = made, self.builder.data(made)[0]
        while (before := self._floating(x)) is not None and before.op == "affine":
            self._alone(first)
            s, t = self.builder.constants(before)
            scale, shift = scale * s, scale * t + shift
            first, x = before, self.builder.data(before)[0]
        if self.builder.held(x) is not None:
            return self.settled(source, self._constant(made, x, scale, shift), held)
        if before is None or before.op not in WEIGHTED or not self._quantised(before):
            if held is None:
                return made.output
            raise CompileError(
                source, f"quantises what is computed in float32, by {made.source}", FLOAT_SCALES
            )
        self._alone(first)
        self._taken_in(made, before, scale, shift)
        return self.builder.view(self._made(source, before.output, held), self.builder.shape(made.output))

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
        """x * c, x + c or c - x of what is held, in the place of an affine; not yet held itself."""
        shape = self.builder.shape(self.builder.root(x))
        x = self.builder.root(x)
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
            step = float(np.abs(value).max(initial=0)) / 127 or 1.0
            if np.any(value != value.flat[0]):
                self.builder.notes.append(f"{made.source}: its float32 constant is held in int8")
        whole = np.rint(value / step)
        zero = 0 if -128 <= whole.min() and whole.max() <= 127 else -128 - int(whole.min())
        if not -128 <= zero <= 127 or whole.max() + zero > 127 or np.abs(whole * step - value).max() > step:
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
        if turned is not None and turned.op == "affine":
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

    def _concat(self, source: str, made: Node, held: Format | None) -> str:
        """Each part in the integers of the whole."""
        end = self._end(made, held)
        self.builder.rewired(made, [self.settled(source, part, end) for part in self.builder.data(made)])
        self.builder.hold(made.output, end)
        return made.output

    def _table(self, source: str, made: Node, held: Format | None) -> str:
        end = self._end(made, held)
        self._input(made)
        self._even(made.output)
        self.builder.hold(made.output, end)
        return made.output

    def _prelu(self, source: str, made: Node, held: Format | None) -> str:
        """A slope a channel, in int8: in the file's steps, or in 127 of the largest."""
        end, value = self._end(made, held), self.builder.value(made.inputs[1])
        self._input(made)
        step = float(self.scales.get(made.name, np.abs(value).max(keepdims=True).reshape(-1) / 127)[0]) or 1.0
        meaning, whole = Scaled((step,)), _whole(made, np.rint(value / step) * step, np.array(step))
        self.builder.revalued(made.inputs[1], meaning.real(whole))
        self.builder.hold(made.output, end, (Format("int8", meaning, -128, 127),))
        return made.output

    def _softmax(self, source: str, made: Node, held: Format | None) -> str:
        """In steps that are a power of two, and from these to the file's."""
        self._input(made)
        end = self._end(made, held)
        lo, hi = end.meaning.real([end.lo, end.hi]).tolist()
        reach, zero = (-lo, 127) if made.attrs["log"] else (min(hi, 1.0), -128)
        n = min(math.floor(math.log2(255 / max(reach, 2.0**-FINEST))), FINEST)
        self.builder.hold(made.output, Format("int8", Scaled((2.0**-n,), (zero,)), -128, 127))
        return self.settled(source, made.output, held)

    def _avgpool(self, source: str, made: Node, held: Format | None) -> str:
        """A mean; where windows are of several sizes, in the integers of its input, and from these to its own."""
        self._input(made)
        x = self.builder.data(made)[0]
        padding: tuple[int, int, int, int] = made.attrs["padding"]  # type: ignore[assignment]
        if any(padding) and made.attrs["count_padding"]:
            wider = self.builder.pad(x, padding, 0.0, [], made.source)
            self.builder.hold(wider, self.builder.held(x))
            self.builder.rewired(made, [wider], {**made.attrs, "padding": (0, 0, 0, 0), "count_padding": 0})
            padding = (0, 0, 0, 0)
        if not any(padding):
            self.builder.hold(made.output, held or self.builder.held(x), (), ONCE)
            return made.output
        self.builder.hold(made.output, self.builder.held(x), (), ONCE)
        return self.settled(source, made.output, held)

    def finish(self, where: str, output: str) -> str:
        """The output, all that it needs being held, but for the scores; or nothing held at all."""
        made = self.builder.producer(output)
        output = self.builder.flat(self.settled(made.source if made else where, output, None))
        self.builder.in_order(output)
        nodes = self.builder.nodes
        if not any(self.builder.held(i) for n in nodes for i in self.builder.data(n)):
            if self.weights:
                few = ", ".join(self.weights[:3]) + (", …" if len(self.weights) > 3 else "")
                self.builder.notes.append(
                    f"weights alone are quantised ({few}): taken as what they stand for"
                )
            return output
        for node in nodes:
            self._checked(node)
        return output

    def _checked(self, node: Node) -> None:
        """CompileError where a node computes in float32 in a network that computes in integers."""
        if self.builder.held(node.output) is not None:
            return
        if "rounds" in node.attrs:
            return
        given = [self.builder.held(i) for i in self.builder.data(node)]
        inputs = [i for i in self.builder.data(node) if self.builder.producer(i) is None]
        if any(g is not None for g in given):
            raise CompileError(node.source, "computes in float32 what it reads in int8", FLOAT_SCALES)
        if inputs:
            what = f'reads input "{shown(inputs[0])}" in float32, in a network that computes in int8'
            raise CompileError(node.source, what, FLOAT_SCALES)


def _on_grid(limits: tuple[float, float], held: Format) -> dict[str, float]:
    """Limits as the integers next to them have them, ties to even."""
    lo, hi = (v if math.isinf(v) else float(held.meaning.real(held.meaning.units(v))) for v in limits)
    return {"lo": lo, "hi": hi}


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
